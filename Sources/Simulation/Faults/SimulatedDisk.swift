import ConsentLedger
import Foundation
import Storage
import Synchronization

/// The process or its machine stopped here.
struct SimulatedCrash: Error {}

/// Where in a write a crash comes.
enum CrashPlace: Sendable {
  case before, within, after
}

/// A crash that waits for a write.
struct ArmedCrash: Sendable {
  /// Writes that still succeed.
  var writesLeft: Int
  var place: CrashPlace
  var isPowerLoss: Bool
  /// How much of a torn write is there, 0 to 1.
  var fraction: Double
  /// Where in a commit of the ledger.
  var step: CommitStep
}

/// The disk of one party: a directory in memory for the files of the deployed parts, rows for what only the
/// deployed hosts keep. A crash copies the files as they are at that instant, before any object is closed, and
/// the next life begins with the copy. What SQLite had not synced (a torn commit, the ledger's unsynced history)
/// is cut off or torn in the copy.
final class SimulatedDisk {
  private(set) var directory: String
  private let base: String
  private var generation = 0
  private var image: String?
  /// The crash that is to come.
  var armed: ArmedCrash?
  /// What a commit of the ledger calls at each step.
  let trap = LedgerTrap()

  init(base: String) throws {
    self.base = base
    directory = base + "/0"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    trap.directory.withLock { [directory] in $0 = directory }
  }

  func path(_ name: String) -> String { directory + "/" + name }

  /// One durable write of a deployed part.
  func write<Result>(_ body: () throws -> Result) throws -> Result {
    guard let crash = due() else { return try body() }
    if crash.place == .before { return try stop(crash) }
    let sizes = try logSizes()
    _ = try body()
    return try stop(crash, torn: crash.place == .within ? sizes : nil)
  }

  /// The same for what suspends.
  func write<Result>(_ body: () async throws -> Result) async throws -> Result {
    guard let crash = due() else { return try await body() }
    if crash.place == .before { return try stop(crash) }
    let sizes = try logSizes()
    _ = try await body()
    return try stop(crash, torn: crash.place == .within ? sizes : nil)
  }

  /// A commit of the ledger, which can be stopped at each of its steps.
  func commit<Result>(_ body: () throws -> Result) throws -> Result {
    guard let crash = due() else { return try body() }
    let image = nextImage()
    trap.arm(crash, image: image)
    defer { trap.disarm() }
    let outcome = Swift.Result { try body() }
    if trap.hasCopied {
      self.image = image
      if crash.isPowerLoss { try loseUnsynced(image, crash.fraction) }
      throw SimulatedCrash()
    }
    // Nothing was new, so no step was passed: the crash comes after it.
    let result = try outcome.get()
    _ = result
    return try stop(crash)
  }

  /// A transaction on rows of a host's own: there completely or not at all.
  func rows(_ body: () -> Void) throws {
    guard let crash = due() else { return body() }
    if crash.place == .after || crash.place == .within && crash.fraction > 0.5 { body() }
    let _: Never = try stop(crash)
  }

  private func due() -> ArmedCrash? {
    guard var crash = armed else { return nil }
    guard crash.writesLeft > 0 else {
      armed = nil
      return crash
    }
    crash.writesLeft -= 1
    armed = crash
    return nil
  }

  private func stop<Result>(_ crash: ArmedCrash, torn: [String: Int]? = nil) throws -> Result {
    try halt(isPowerLoss: crash.isPowerLoss, fraction: crash.fraction)
    if let torn, let image { try Self.tear(image, torn, crash.fraction) }
    throw SimulatedCrash()
  }

  /// Keeps the files as they are now for the next life.
  func halt(isPowerLoss: Bool, fraction: Double) throws {
    armed = nil
    let image = nextImage()
    try Self.copy(directory, to: image)
    if isPowerLoss { try loseUnsynced(image, fraction) }
    self.image = image
  }

  /// For a planted mistake: the next life finds older copies of these files.
  func replaceImage(by older: String, files: [String]) throws {
    guard let image else { return }
    for name in files {
      try? FileManager.default.removeItem(atPath: image + "/" + name)
      if FileManager.default.fileExists(atPath: older + "/" + name) {
        try FileManager.default.copyItem(atPath: older + "/" + name, toPath: image + "/" + name)
      }
    }
  }

  /// The next life begins; every object on the old files is gone.
  func restart() throws {
    guard let image else { return }
    try FileManager.default.removeItem(atPath: directory)
    directory = image
    self.image = nil
    trap.directory.withLock { $0 = image }
  }

  private func nextImage() -> String {
    generation += 1
    return base + "/\(generation)"
  }

  // MARK: Files

  static func copy(_ source: String, to target: String) throws {
    let files = FileManager.default
    try files.createDirectory(atPath: target, withIntermediateDirectories: true)
    for name in try files.contentsOfDirectory(atPath: source) where isKept(name) {
      let bytes = try DurableFile.read(source + "/" + name, limit: 1 << 28) ?? []
      try Data(bytes).write(to: URL(fileURLWithPath: target + "/" + name))
    }
  }

  private static func isKept(_ name: String) -> Bool {
    name.hasSuffix(".sqlite") || name.hasSuffix(".sqlite-wal") || name.hasSuffix(".note")
  }

  private static func size(_ path: String) -> Int {
    (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? Int) ?? 0
  }

  private func logSizes() throws -> [String: Int] {
    var sizes: [String: Int] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: directory) where name.hasSuffix("-wal") {
      sizes[name] = Self.size(path(name))
    }
    return sizes
  }

  /// What was appended to a write-ahead log since it had its old size is there in part.
  private static func tear(_ image: String, _ sizes: [String: Int], _ fraction: Double) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: image) where name.hasSuffix("-wal") {
      try cut(image + "/" + name, after: sizes[name] ?? 0, fraction)
    }
  }

  /// Of the ledger's history, which is not synced, any part may be lost.
  private func loseUnsynced(_ image: String, _ fraction: Double) throws {
    let durable = trap.durable.withLock { $0 }
    guard durable > 0 else { return }
    try Self.cut(image + "/ledger.sqlite-wal", after: durable, fraction)
  }

  private static func cut(_ path: String, after old: Int, _ fraction: Double) throws {
    let now = size(path)
    // A log that was begun again writes over its old pages: then its size tells nothing.
    guard now > old else { return }
    guard let file = FileHandle(forWritingAtPath: path) else { return }
    defer { try? file.close() }
    try file.truncate(atOffset: UInt64(old + Int(Double(now - old) * fraction)))
  }
}

/// Stands at each step of the ledger's commits, copies the files when a crash is to come there, and lets the
/// commit fail.
final class LedgerTrap: Sendable {
  private struct State {
    var crash: ArmedCrash?
    var image = ""
    var signerBefore: [UInt8] = []
    var hasCopied = false
  }

  private let state = Mutex(State())
  let directory = Mutex("")
  /// The size of the ledger's write-ahead log when entries were last staged: what comes after it is not synced.
  let durable = Mutex(0)

  var hasCopied: Bool { state.withLock { $0.hasCopied } }

  func arm(_ crash: ArmedCrash, image: String) {
    state.withLock { $0 = State(crash: crash, image: image) }
  }

  func disarm() { state.withLock { $0 = State() } }

  func pass(_ step: CommitStep) throws {
    let directory = directory.withLock { $0 }
    let log = directory + "/ledger.sqlite-wal"
    let before = durable.withLock { $0 }
    if step == .afterStageCommit {
      let size = try FileManager.default.attributesOfItem(atPath: log)[.size] as? Int ?? 0
      durable.withLock { $0 = size }
    }
    try state.withLock { state in
      guard let crash = state.crash else { return }
      let signer = directory + "/ledger-signer.note"
      if step == .beforeSignerState { state.signerBefore = try SlotFile.read(signer) ?? [] }
      guard step == crash.step else { return }
      try SimulatedDisk.copy(directory, to: state.image)
      state.hasCopied = true
      if crash.place == .within, step == .afterStageCommit {
        // The commit itself was cut off: any part of what it appended is there.
        let whole = try Data(contentsOf: URL(fileURLWithPath: state.image + "/ledger.sqlite-wal"))
        let kept = before + Int(Double(max(0, whole.count - before)) * crash.fraction)
        try whole.prefix(kept).write(to: URL(fileURLWithPath: state.image + "/ledger.sqlite-wal"))
      }
      if crash.place == .within, step == .afterSignerState {
        try Self.tear(state.image + "/ledger-signer.note", before: state.signerBefore, crash.fraction)
      }
      throw SimulatedCrash()
    }
  }

  /// The slot that was written holds the beginning of the new note and the end of the old bytes.
  private static func tear(_ path: String, before: [UInt8], _ fraction: Double) throws {
    guard var bytes = try SlotFile.read(path), bytes.count == before.count,
      let first = bytes.indices.first(where: { bytes[$0] != before[$0] }),
      let last = bytes.indices.last(where: { bytes[$0] != before[$0] })
    else { return }
    let kept = first + Int(Double(last - first) * fraction)
    for index in kept...last { bytes[index] = before[index] }
    try Data(bytes).write(to: URL(fileURLWithPath: path))
  }
}
