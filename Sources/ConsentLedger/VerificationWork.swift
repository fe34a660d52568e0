import Cryptography
import Foundation
import GRDB
import MerkleLog
import Storage
import Synchronization

/// What a range of entries turned out to be.
struct VerifiedChunk: Sendable {
  let range: Range<UInt64>
  var firstMs: Int64 = 0
  var lastMs: Int64 = 0
  /// The roots of its full tiles of level 0.
  var tileRoots: [UInt8] = []
}

/// What all ranges together turned out to be.
struct VerificationTotals: Sendable {
  var counts = LedgerVerification.Counts()
  /// In the order of the log.
  var chunks: [VerifiedChunk] = []
  /// The identities of the entries, as a sum that does not depend on the order, and what their index holds.
  var identities = KeyedSum()
  var identityIndex = KeyedSum()
  /// The same for the subjects of the lookup table.
  var subjects = KeyedSum()
  var subjectIndex = KeyedSum()
  /// Which shared texts the lookup table uses.
  var circumstances: Set<Int64> = []
  /// How many of its rows were compared, by table.
  var rows: [String: Int] = [:]

  /// The roots of the first full tiles of level 0.
  func tileRoots(count: Int) -> [UInt8] {
    var roots: [UInt8] = []
    roots.reserveCapacity(32 * count)
    for chunk in chunks { roots += chunk.tileRoots }
    return Array(roots.prefix(32 * count))
  }
}

/// A keyed sum over pairs of bytes and a position: equal sums mean equal sets, whatever the order. Who changes the
/// files does not know the key, which is drawn anew for every verification.
struct KeyedSum: Equatable, Sendable {
  private var low: UInt64 = 0
  private var high: UInt64 = 0
  private var count: UInt64 = 0

  mutating func add(_ bytes: [UInt8], _ index: UInt64, _ key: KeyedSumKey) {
    var a = key.words[0] ^ index &* 0x9e37_79b9_7f4a_7c15
    var b = key.words[1] &+ index
    // The last bytes, and how many there are.
    var tail = UInt64(bytes.count)
    for byte in bytes[(bytes.count & ~7)...] { tail = tail << 8 | UInt64(byte) }
    a ^= tail &* 0xff51_afd7_ed55_8ccd
    bytes.withUnsafeBytes { bytes in
      var start = 0
      var word = 2
      while start + 8 <= bytes.count {
        let value = bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)
        let product = (a ^ value).multipliedFullWidth(by: key.words[word & 7] ^ b | 1)
        a = product.low ^ b
        b = product.high &+ value
        start += 8
        word += 1
      }
    }
    let product = (a ^ key.words[6]).multipliedFullWidth(by: b ^ key.words[7])
    low &+= product.low ^ a
    high &+= product.high ^ b
    count += 1
  }

  mutating func add(_ other: KeyedSum) {
    low &+= other.low
    high &+= other.high
    count += other.count
  }
}

struct KeyedSumKey: Sendable {
  let words: [UInt64]

  init() {
    var random = RandomStream.system()
    words = (0..<8).map { _ in random.word() }
  }
}

/// The work of a verification, taken piece by piece by any number of threads.
final class VerificationWork: Sendable {
  /// Entries of one piece: whole tiles.
  static let chunkSize: UInt64 = 32 * 256
  /// Indexes of large logs are read in parts, so that all threads have some.
  private var indexParts: Int { plan.bound > 100_000 ? 16 : 1 }

  let plan: DatabaseVerification.Plan
  let path: String
  let schema: DurableDatabase.Schema
  let index: IndexVerification?
  let findings: Findings
  let key = KeyedSumKey()
  let totals: Mutex<VerificationTotals> = Mutex(VerificationTotals())
  private let next = Atomic<Int>(0)

  init(
    plan: DatabaseVerification.Plan, path: String, schema: DurableDatabase.Schema, index: IndexVerification?,
    findings: Findings
  ) {
    self.plan = plan
    self.path = path
    self.schema = schema
    self.index = index
    self.findings = findings
  }

  private enum Job {
    case structure(String)
    case indexStructure(String)
    case chunk(Range<UInt64>)
    case identities(Int)
    case subjects(Int)
  }

  /// SQLite's own checks first, because they take longest.
  private func job(_ number: Int) -> Job? {
    var number = number
    // Whether index and table agree is checked here for the small ones, by sums for the large ones.
    let structure = ["quick_check(leaf)"] + ["log", "tile", "checkpoint"].map { "integrity_check(\($0))" }
    if number < structure.count { return .structure(structure[number]) }
    number -= structure.count
    if let index {
      let checks = index.structureChecks
      if number < checks.count { return .indexStructure(checks[number]) }
      number -= checks.count
    }
    let chunks = Int((plan.bound + Self.chunkSize - 1) / Self.chunkSize)
    if number < chunks {
      let start = UInt64(number) * Self.chunkSize
      return .chunk(start..<min(plan.bound, start + Self.chunkSize))
    }
    number -= chunks
    if number < indexParts { return .identities(number) }
    number -= indexParts
    return index != nil && number < indexParts ? .subjects(number) : nil
  }

  /// Takes pieces until none is left.
  func run() {
    do {
      let queue = try DurableDatabase.openReadOnly(path, schema)
      let indexQueue = try index?.open()
      var worker = VerificationWorker(self)
      defer { worker.finish() }
      while let job = job(next.wrappingAdd(1, ordering: .relaxed).oldValue) {
        switch job {
        case .structure(let check): structure(queue, check, path)
        case .indexStructure(let check):
          if let index, let indexQueue { structure(indexQueue, check, index.path) }
        case .chunk(let range):
          if range.lowerBound < findings.bound { worker.check(range, queue, indexQueue) }
        case .identities(let part): worker.identities(queue, part, of: indexParts)
        case .subjects(let part):
          if let indexQueue { worker.subjects(indexQueue, part, of: indexParts) }
        }
      }
    } catch { findings.add(error, path: path) }
  }

  private func structure(_ queue: DatabaseQueue, _ check: String, _ path: String) {
    do {
      let answer = try queue.unsafeRead { try String.fetchAll($0, sql: "PRAGMA \(check)") }
      if answer != ["ok"] { findings.add(Finding("\(path) is damaged: \(answer.first ?? "no answer")")) }
    } catch { findings.add(error, path: path) }
  }
}
