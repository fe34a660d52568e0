import Cryptography
import Foundation
package import MerkleLog
import Storage

extension LedgerReports {
  /// The proof of an entry under the checkpoint of the answers (C2SP tlog-proof; protocol/CONSENT-LEDGER.md,
  /// section 7), with the leaf in it.
  package func proof(of index: UInt64) throws(LedgerError) -> TransparencyProof {
    let proof = try reader.inclusionProof(index)
    return TransparencyProof(
      extra: try reader.leaf(index), index: index, path: proof.path,
      checkpointNote: reader.checkpoint.noteText)
  }

  /// Writes the proofs of the entries that an answer rests on, one file an entry, and the checkpoint.
  /// - Returns: the files' names, in the order of the log.
  package func writeProofs(of answer: ReportAnswer, to directory: String) throws(LedgerError) -> [String] {
    do {
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    } catch { throw .storage(.noDirectory(path: directory)) }
    var names = ["checkpoint"]
    try Self.write(reader.checkpoint.noteText, to: directory + "/checkpoint")
    for index in answer.evidence {
      let name = "entry-\(index).tlog-proof"
      try Self.write(try proof(of: index).encoded, to: directory + "/" + name)
      names.append(name)
    }
    return names
  }

  static func write(_ text: String, to path: String) throws(LedgerError) {
    do { try DurableFile.write(Array(text.utf8), to: path) } catch { throw .storage(error) }
  }
}
