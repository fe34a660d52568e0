import Foundation
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The directory of a sweep's results: `runs/<digest>.json` as they finish, then the three results files.
///
/// A run's file is written beside its name, flushed, and renamed: after a crash it is whole or absent. One
/// process at a time may use the directory.
package final class RunStore: Sendable {
  /// The directory.
  package let directory: String
  private let lock: Int32

  /// What a sweep writes into its directory; `--overwrite` removes these and nothing else.
  static let ours = ["runs", "results.csv", "results.json", "report.html", "lock"]

  /// Opens or makes the directory.
  ///
  /// - Parameter overwrite: removes what an earlier sweep left there.
  package init(_ directory: String, overwrite: Bool = false) throws(ScenarioError) {
    self.directory = directory
    let files = FileManager.default
    var isDirectory: ObjCBool = false
    if files.fileExists(atPath: directory, isDirectory: &isDirectory) {
      guard isDirectory.boolValue else {
        throw .output(directory: directory, reason: "this is a file; name a directory for the results")
      }
      let content = ((try? files.contentsOfDirectory(atPath: directory)) ?? []).filter { !$0.hasPrefix(".") }
      guard content.isEmpty || content.contains("runs") else {
        throw .output(
          directory: directory, reason: "the directory holds other files; choose a new or empty one")
      }
    }
    do { try files.createDirectory(atPath: directory + "/runs", withIntermediateDirectories: true) } catch {
      throw .output(
        directory: directory,
        reason: "the directory cannot be made: \((error as NSError).localizedDescription)")
    }
    lock = open(directory + "/lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
    guard lock >= 0 else { throw .output(directory: directory, reason: "the directory cannot be written to") }
    guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
      close(lock)
      throw .output(
        directory: directory, reason: "another simulation is writing here; wait for it or stop it")
    }
    if overwrite { try clear() }
  }

  deinit { close(lock) }

  private func clear() throws(ScenarioError) {
    let files = FileManager.default
    do {
      for name in Self.ours where name != "lock" && files.fileExists(atPath: directory + "/" + name) {
        try files.removeItem(atPath: directory + "/" + name)
      }
      try files.createDirectory(atPath: directory + "/runs", withIntermediateDirectories: true)
    } catch {
      throw .output(
        directory: directory,
        reason: "the old results cannot be removed: \((error as NSError).localizedDescription)")
    }
  }

  private func path(_ digest: String) -> String { "\(directory)/runs/\(digest).json" }

  /// A finished run; nil if there is none or its file is not whole, so that it is computed again.
  package func load(_ digest: String) -> RunRecord? {
    guard let bytes = try? DurableFile.read(path(digest), limit: 1 << 28),
      let record = try? ResultsJSON.decoder().decode(RunRecord.self, from: Data(bytes)),
      record.digest == digest
    else { return nil }
    return record
  }

  /// Keeps a finished run.
  package func save(_ record: RunRecord) throws(ScenarioError) {
    do {
      let bytes = Array(try ResultsJSON.encoder().encode(record))
      try DurableFile.write(bytes, to: path(record.digest))
    } catch {
      throw .output(directory: directory, reason: "a run cannot be written: \(error)")
    }
  }

  /// Writes one of the results files.
  package func write(_ text: [UInt8], name: String) throws(ScenarioError) {
    do {
      try DurableFile.write(text, to: directory + "/" + name)
      // Results are to be shown; nothing in them is secret.
      try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: directory + "/" + name)
    } catch {
      throw .output(directory: directory, reason: "\(name) cannot be written: \(error)")
    }
  }
}
