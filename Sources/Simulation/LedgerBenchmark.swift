import ConsentLedger
import Consent
import Cryptography
import Dispatch
import Foundation
import MerkleLog
import Synchronization

/// Measures the consent ledger on this machine: the product's own store, proofs and verifier with all their checks.
///
/// Statements are signed before the clock starts, because their authors sign elsewhere; form, rules and signatures
/// are checked inside. Everything that is acknowledged was made durable.
package struct LedgerBenchmark {
  /// What to measure.
  package struct Options: Sendable {
    /// Entries of the log that is verified.
    package var entries = 1_000_000
    /// Statements under one signature.
    package var signedTogether = 64
    /// Entries of one append in the batched run.
    package var appendSize = 4_096
    /// Entries of the batched run.
    package var batchedEntries = 200_000
    /// Callers at the same time.
    package var callers = 64
    /// Appends of every caller, of one entry each.
    package var appendsPerCaller = 400
    /// Proofs to verify.
    package var proofs = 50_000
    /// How often each is measured.
    package var repetitions = 3
    /// Threads of the verifier.
    package var cores = 2
    /// Where the files go for the time of the run.
    package var directory: String

    /// The defaults, in a directory.
    package init(directory: String) { self.directory = directory }
  }

  /// What came out: medians over the repetitions.
  package struct Report: Codable, Sendable {
    /// `PRAGMA synchronous` of the writer as read back: 2 is FULL.
    package var synchronousLevel = 0
    /// The mode in words.
    package var durability = "SQLite write-ahead log, synchronous=FULL: fsync before every acknowledgement"
    /// Cores of the machine.
    package var cores = 0
    /// How often each was measured.
    package var repetitions = 0
    /// Statements under one signature.
    package var signedTogether = 0
    /// Entries a second in appends of `appendSize`.
    package var batchedAppendsPerSecond = 0.0
    /// Entries of one append there.
    package var appendSize = 0
    /// Entries a second, of one entry an append, from `callers` tasks.
    package var concurrentAppendsPerSecond = 0.0
    /// Tasks at the same time.
    package var callers = 0
    /// Half of these were acknowledged within this time, milliseconds.
    package var acknowledgementP50Ms = 0.0
    /// 99 of 100 were.
    package var acknowledgementP99Ms = 0.0
    /// Inclusion proofs verified a second on one core.
    package var proofsPerSecondAndCore = 0.0
    /// Siblings of each of these proofs.
    package var proofLength = 0
    /// Entries of the verified log.
    package var verifiedEntries: UInt64 = 0
    /// Seconds to fill it.
    package var fillSeconds = 0.0
    /// Entries a second while it was filled.
    package var fillPerSecond = 0.0
    /// Bytes of its database.
    package var databaseBytes = 0
    /// Seconds to verify everything in it.
    package var verificationSeconds = 0.0
    /// Processor seconds of that.
    package var verificationCoreSeconds = 0.0
    /// Threads of the verifier.
    package var verificationCores = 0
    /// Microseconds of a core an entry.
    package var verificationMicrosecondsPerEntry = 0.0
    /// The first thing that was wrong; nil if nothing was.
    package var firstProblem: String?
  }

  private let options: Options
  private let progress: @Sendable (String) -> Void
  private var parties: LedgerParties

  /// - Parameter progress: told what is being done.
  package init(_ options: Options, progress: @escaping @Sendable (String) -> Void) {
    self.options = options
    self.progress = progress
    parties = LedgerParties(seed: 1)
  }

  /// Measures everything. The directory's files are removed again.
  package mutating func run() async throws -> Report {
    var report = Report()
    report.cores = ProcessInfo.processInfo.activeProcessorCount
    report.repetitions = options.repetitions
    report.signedTogether = options.signedTogether
    report.appendSize = options.appendSize
    report.callers = options.callers
    report.verificationCores = options.cores
    try batched(&report)
    try await concurrent(&report)
    try proofs(&report)
    try verification(&report)
    return report
  }

  private func directory(_ name: String) throws -> String {
    let path = options.directory + "/" + name
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return path
  }

  private static func median(_ values: [Double]) -> Double {
    values.isEmpty ? 0 : values.sorted()[values.count / 2]
  }

  private static func seconds(_ body: () throws -> Void) rethrows -> Double {
    let duration = try ContinuousClock().measure(body)
    return Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
  }

  // MARK: Appending

  private mutating func batched(_ report: inout Report) throws {
    progress("signing \(options.batchedEntries) statements")
    let statements = try parties.consents(options.batchedEntries, batchSize: options.signedTogether)
    var rates: [Double] = []
    for repetition in 0..<options.repetitions {
      progress("appending in batches, \(repetition + 1) of \(options.repetitions)")
      let path = try directory("batched")
      defer { try? FileManager.default.removeItem(atPath: path) }
      let store = try parties.open(path)
      report.synchronousLevel = try store.synchronousLevel()
      let time = try Self.seconds {
        for start in stride(from: 0, to: statements.count, by: options.appendSize) {
          _ = try store.append(
            Array(statements[start..<min(start + options.appendSize, statements.count)]),
            nowMs: LedgerParties.startMs)
        }
      }
      rates.append(Double(statements.count) / time)
      try store.close()
    }
    report.batchedAppendsPerSecond = Self.median(rates)
  }

  private mutating func concurrent(_ report: inout Report) async throws {
    let count = options.callers * options.appendsPerCaller
    progress("signing \(count) statements one by one")
    let statements = try parties.consents(count, batchSize: 1)
    var rates: [Double] = []
    var p50: [Double] = []
    var p99: [Double] = []
    for repetition in 0..<options.repetitions {
      progress("\(options.callers) callers, \(repetition + 1) of \(options.repetitions)")
      let path = try directory("concurrent")
      defer { try? FileManager.default.removeItem(atPath: path) }
      let store = try parties.open(path)
      let each = options.appendsPerCaller
      let clock = ContinuousClock()
      let start = clock.now
      let latencies = try await withThrowingTaskGroup(of: [Double].self) { group in
        for caller in 0..<options.callers {
          let mine = Array(statements[(caller * each)..<((caller + 1) * each)])
          group.addTask {
            var latencies: [Double] = []
            latencies.reserveCapacity(each)
            for statement in mine {
              let asked = clock.now
              _ = try await store.append(group: [statement], nowMs: LedgerParties.startMs)
              latencies.append(Self.milliseconds(asked.duration(to: clock.now)))
            }
            return latencies
          }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }.sorted()
      rates.append(Double(count) / (Self.milliseconds(start.duration(to: clock.now)) / 1000))
      p50.append(latencies[latencies.count / 2])
      p99.append(latencies[min(latencies.count - 1, latencies.count * 99 / 100)])
      try store.close()
    }
    report.concurrentAppendsPerSecond = Self.median(rates)
    report.acknowledgementP50Ms = Self.median(p50)
    report.acknowledgementP99Ms = Self.median(p99)
  }

  private static func milliseconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) * 1e3 + Double(duration.components.attoseconds) * 1e-15
  }

  // MARK: Proofs

  private func proofs(_ report: inout Report) throws {
    progress("verifying \(options.proofs) inclusion proofs")
    var tree = TileTree()
    var tiles: [TilePosition: Tile] = [:]
    let size: UInt64 = 1 << 20
    var hashes: [UInt8] = []
    for index in 0..<size {
      withUnsafeBytes(of: index.littleEndian) { hashes += Hash.sha256(Array($0)).bytes }
    }
    tree.append(leafHashes: hashes) { tiles[$0.position] = $0 }
    for tile in tree.partialTiles() { tiles[tile.position] = tile }
    let root = tree.root
    let made = (0..<min(options.proofs, 4096)).map { number -> (Digest, InclusionProof) in
      let index = UInt64(number) * 2_654_435_761 % size
      let leaf = Digest(unchecked: Array(hashes[(32 * Int(index))..<(32 * Int(index) + 32)]))
      return (leaf, InclusionProof(index: index, size: size) { tiles[$0, default: Self.none(tiles)] })
    }
    report.proofLength = made.first?.1.path.count ?? 0
    var rates: [Double] = []
    for _ in 0..<options.repetitions {
      let time = try Self.seconds {
        for number in 0..<options.proofs {
          let (leaf, proof) = made[number % made.count]
          try proof.verify(leafHash: leaf, root: root)
        }
      }
      rates.append(Double(options.proofs) / time)
    }
    report.proofsPerSecondAndCore = Self.median(rates)
  }

  private static func none(_ tiles: [TilePosition: Tile]) -> Tile {
    guard let tile = tiles.values.first else { preconditionFailure("the tree has tiles") }
    return tile
  }

  // MARK: Verifying

  private mutating func verification(_ report: inout Report) throws {
    let path = try directory("verified")
    defer { try? FileManager.default.removeItem(atPath: path) }
    let store = try parties.open(path)
    let piece = 1 << 14
    var fill = 0.0
    for start in stride(from: 0, to: options.entries, by: piece) {
      if start % (piece * 32) == 0 { progress("filling a log: \(start) of \(options.entries)") }
      let statements = try parties.consents(
        min(piece, options.entries - start), batchSize: options.signedTogether)
      fill += try Self.seconds {
        for first in stride(from: 0, to: statements.count, by: options.appendSize) {
          _ = try store.append(
            Array(statements[first..<min(first + options.appendSize, statements.count)]),
            nowMs: LedgerParties.startMs + Int64(start / piece))
        }
      }
    }
    report.fillSeconds = fill
    report.fillPerSecond = Double(options.entries) / fill
    try store.close()
    let size = try FileManager.default.attributesOfItem(atPath: path + "/ledger.sqlite")[.size] as? Int
    report.databaseBytes = size ?? 0
    var walls: [Double] = []
    var cores: [Double] = []
    for repetition in 0..<options.repetitions {
      progress("verifying, \(repetition + 1) of \(options.repetitions)")
      let before = Self.processorSeconds
      var result: LedgerVerification?
      walls.append(Self.seconds { result = LedgerVerifier.verify(directory: path, cores: options.cores) })
      cores.append(Self.processorSeconds - before)
      report.firstProblem = result?.firstProblem
      report.verifiedEntries = result?.size ?? 0
    }
    report.verificationSeconds = Self.median(walls)
    report.verificationCoreSeconds = Self.median(cores)
    report.verificationMicrosecondsPerEntry =
      Self.median(cores) / Double(max(1, report.verifiedEntries)) * 1e6
  }

  private static var processorSeconds: Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}
