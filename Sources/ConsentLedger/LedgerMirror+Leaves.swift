package import Consent
import GRDB
import Storage

extension LedgerMirror {
  /// Verified leaves at some positions, verbatim, in that order.
  package func leaves(at positions: [UInt64]) throws(LedgerError) -> [[UInt8]] {
    let size = size
    return try database.ledgerRead { try LedgerTables($0).leaves(at: positions, below: size) }
  }

  /// Which of the identifiers stand for a verified entry already.
  package func known(_ identifiers: [EventID]) throws(LedgerError) -> Set<EventID> {
    let size = size
    return try database.ledgerRead { try LedgerTables($0).known(identifiers, below: size) }
  }
}
