import Cryptography

/// What happened, line by line, and a digest of it that two runs have in common exactly if they went the same
/// way.
struct FaultTrace {
  private let hash = StreamingHash(domain: "accord/v1/fault-trace")
  private let isKept: Bool
  private(set) var lines: [String] = []
  private(set) var count = 0

  init(isKept: Bool) { self.isKept = isKept }

  mutating func add(_ timeMs: UInt64, _ line: String) {
    count += 1
    let text = "\(timeMs) \(line)"
    hash.update(Array(text.utf8))
    hash.update([10])
    if isKept { lines.append(Self.padded(timeMs) + "  " + line) }
  }

  func digest() -> Digest { hash.finalize() }

  private static func padded(_ timeMs: UInt64) -> String {
    let text = "\(timeMs)"
    return String(repeating: " ", count: max(0, 8 - text.count)) + text
  }
}
