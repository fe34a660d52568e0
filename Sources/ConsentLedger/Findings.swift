import Foundation
import GRDB
import Consent
import Storage
import Synchronization

/// Something that is wrong with a ledger.
struct Finding: Error {
  let text: String
  var entry: UInt64?

  init(_ text: String, entry: UInt64? = nil) {
    self.text = text
    self.entry = entry
  }
}

/// What is wrong, as several threads find it: the finding about the lowest entry counts, and before it none that
/// concerns no entry.
final class Findings: Sendable {
  private let first: Mutex<Finding?> = Mutex(nil)

  /// Entries from this one on need not be looked at any more.
  var bound: UInt64 { first.withLock { $0?.entry ?? .max } }
  var isEmpty: Bool { first.withLock { $0 == nil } }

  func add(_ finding: Finding) {
    first.withLock { first in
      guard let known = first else { return first = finding }
      if let entry = finding.entry, entry < known.entry ?? .max { first = finding }
    }
  }

  /// An error of whatever kind; `entry` if it is known which entry could not be read.
  func add(_ error: any Error, path: String, entry: UInt64? = nil) {
    switch error {
    case let finding as Finding: add(finding)
    case let error as LedgerError: add(Finding(error.description, entry: entry))
    case let error as StorageError: add(Finding(error.description, entry: entry))
    case let error as any CustomStringConvertible where !(error is DatabaseError):
      add(Finding(error.description, entry: entry))
    default: add(Finding(DurableDatabase.translate(error, path).description, entry: entry))
    }
  }

  func write(to report: inout LedgerVerification) {
    guard let finding = first.withLock({ $0 }) else { return }
    report.firstProblem = finding.text
    report.firstBadEntry = finding.entry.map { LeafIndex($0) }
  }
}
