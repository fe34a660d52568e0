import Cryptography

/// Checks signatures in place: the item and its path are hashed for every leaf, Ed25519 once a batch.
struct ScannedBatch {
  private static let item = PrefixedHash([0] + Hash.framed(domain: EntryKind.consent.domain, []))
  /// Signature and signer of the last batch that was right, in hexadecimal, and its root and size.
  private var known: [UInt8] = []
  private var knownSize = 0
  private var knownRoot: [UInt8] = []
  /// Room for a node and its two children.
  private var nodes = [UInt8](repeating: 0, count: 96)
  private var path = [UInt8](repeating: 0, count: 32 * 9)

  /// Whether the signature of a consent is right.
  mutating func isSigned(_ bytes: [UInt8], _ frame: LeafFrame) -> Bool {
    Self.item.hash(bytes, in: frame.content, countFirst: true, to: &nodes, at: 64)
    if frame.batchSize > 1 {
      guard let count = Base64Text.decode(bytes, frame.path, into: &path), climb(frame, count) else {
        return false
      }
    } else if !frame.path.isEmpty {
      return false
    }
    if knownSize == frame.batchSize, isKnown(bytes, frame) { return true }
    return verify(bytes, frame)
  }

  private func isKnown(_ bytes: [UInt8], _ frame: LeafFrame) -> Bool {
    knownRoot[...] == nodes[64...] && known[..<128] == bytes[frame.signature]
      && known[128...] == bytes[frame.signer]
  }

  private mutating func verify(_ bytes: [UInt8], _ frame: LeafFrame) -> Bool {
    guard let signature = Hex.decodeLowercase(bytes[frame.signature]),
      let key = Hex.decodeLowercase(bytes[frame.signer])
    else { return false }
    let signer = VerifyingKey(unchecked: key)
    let root = Array(nodes[64...])
    let message = SignedStatement.message(
      root: Digest(unchecked: root), count: frame.batchSize, signer: signer)
    guard signer.verifies(Signature(unchecked: signature), of: message) else { return false }
    known = Array(bytes[frame.signature]) + bytes[frame.signer]
    knownSize = frame.batchSize
    knownRoot = root
    return true
  }

  /// From the item to the batch's root (RFC 9162, 2.1.3.2); false if the path has another length.
  private mutating func climb(_ frame: LeafFrame, _ count: Int) -> Bool {
    var position = frame.batchIndex
    var last = frame.batchSize - 1
    for sibling in 0..<count {
      guard last != 0 else { return false }
      let isRight = position & 1 == 1 || position == last
      for byte in 0..<32 {
        nodes[(isRight ? 32 : 0) &+ byte] = nodes[64 &+ byte]
        nodes[(isRight ? 0 : 32) &+ byte] = path[32 &* sibling &+ byte]
      }
      Hash.sha256Nodes(&nodes, from: 0, count: 1, to: 64)
      if isRight {
        while position & 1 == 0, position != 0 {
          position >>= 1
          last >>= 1
        }
      }
      position >>= 1
      last >>= 1
    }
    return last == 0
  }
}

extension Hex {
  static func decodeLowercase(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var output: [UInt8] = []
    output.reserveCapacity(text.count / 2)
    var high: UInt8?
    for byte in text {
      let value = hexValues[Int(byte)]
      guard value < 16 else { return nil }
      if let first = high {
        output.append(first << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    return high == nil ? output : nil
  }
}

/// Strict base64 of whole digests, in place.
enum Base64Text {
  private static let values: [UInt8] = {
    var values = [UInt8](repeating: 255, count: 256)
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for (value, character) in alphabet.utf8.enumerated() { values[Int(character)] = UInt8(value) }
    return values
  }()

  /// The number of digests of 32 bytes, or nil if the text is no canonical base64 of whole digests or does not
  /// fit the output.
  static func decode(_ bytes: [UInt8], _ range: Range<Int>, into output: inout [UInt8]) -> Int? {
    guard range.count.isMultiple(of: 4), !range.isEmpty else { return nil }
    let padding =
      (bytes[range.upperBound - 1] == 0x3d ? 1 : 0) + (bytes[range.upperBound - 2] == 0x3d ? 1 : 0)
    let count = range.count / 4 * 3 - padding
    guard count.isMultiple(of: 32), count <= output.count - 2 else { return nil }
    var target = 0
    var place = range.lowerBound
    let whole = range.upperBound - (padding > 0 ? 4 : 0)
    while place < whole {
      let a = values[Int(bytes[place])]
      let b = values[Int(bytes[place &+ 1])]
      let c = values[Int(bytes[place &+ 2])]
      let d = values[Int(bytes[place &+ 3])]
      guard a | b | c | d < 64 else { return nil }
      output[target] = a &<< 2 | b &>> 4
      output[target &+ 1] = b &<< 4 | c &>> 2
      output[target &+ 2] = c &<< 6 | d
      target &+= 3
      place &+= 4
    }
    guard padding > 0 else { return count / 32 }
    let a = values[Int(bytes[place])]
    let b = values[Int(bytes[place + 1])]
    let c = padding == 1 ? values[Int(bytes[place + 2])] : 0
    // Leftover bits are zero in the canonical form.
    guard a | b | c < 64, padding == 1 ? c & 3 == 0 : b & 15 == 0 else { return nil }
    output[target] = a << 2 | b >> 4
    if padding == 1 { output[target + 1] = b << 4 | c >> 2 }
    return count / 32
  }
}
