package import Cryptography
package import ConsentLedger
import Federation
import Foundation
package import MerkleLog
import Messages

/// Sends signed statements to the ledger and checks what comes back.
package enum LedgerSubmission {
  /// What an author keeps: where an entry stands, proven.
  package struct Proven: Sendable {
    /// The entry's position.
    package let index: UInt64
    /// When the ledger took it, ms of UTC since 1970.
    package let recordedMs: Int64
    /// The entry as it stands in the log.
    package let leaf: [UInt8]
    /// The proof that it does.
    package let proof: InclusionProof
    /// The signed checkpoint that the proof leads to.
    package let noteText: String

    /// The size of the tree that the proof is for.
    package var treeSize: UInt64 { proof.size }
    /// The receipt as a file (C2SP tlog-proof).
    package var text: String {
      TransparencyProof(extra: leaf, index: index, path: proof.path, checkpointNote: noteText).encoded
    }
  }

  /// Appends statements; every receipt's inclusion proof is checked against the signed checkpoint.
  package static func send(
    _ statements: [SignedStatement], client: FederationClient, key: SigningKey
  ) async throws -> [Proven] {
    var append = WireLedgerAppend()
    append.statements = statements.map { Data($0.bytes) }
    let bytes = try await client.sendUntilAnswered(
      .ledgerAppend, to: "v1/ledger/append", payload: encodeMessage(append), key: key)
    let answer = try wireMessage(
      WireLedgerAppended.self, bytes, peer: "the server", limit: MessageLimits.entries)
    guard answer.receipts.count == statements.count else {
      throw EdgeNodeError.badAnswer(
        what: "receipts",
        reason: "\(statements.count) entries were sent, \(answer.receipts.count) acknowledged")
    }
    let keys = try client.trust.keys()
    do {
      let verifiers = try CheckpointVerifiers(
        origin: client.trust.federation, logKey: keys.log, freshnessKey: keys.freshness)
      let signed = try SignedCheckpoint.verify(answer.checkpoint, verifiers)
      return try zip(statements, answer.receipts).map { statement, receipt in
        guard receipt.treeSize == signed.checkpoint.size, receipt.recordedMs <= UInt64(Int64.max) else {
          throw MerkleLogError.wrongProof("inclusion")
        }
        let leaf = try leaf(of: statement, receipt)
        let proof = InclusionProof(
          index: receipt.index, size: receipt.treeSize, path: try receipt.proof.map { try Digest(Array($0)) })
        try proof.verify(leafHash: MerkleTree.leafHash(leaf), root: signed.checkpoint.root)
        return Proven(
          index: receipt.index, recordedMs: Int64(receipt.recordedMs), leaf: leaf, proof: proof,
          noteText: answer.checkpoint)
      }
    } catch {
      throw EdgeNodeError.badAnswer(what: "receipt", reason: "\(error)")
    }
  }

  /// The leaf that a receipt is for: the statement itself, or one with the same words and a right signature.
  private static func leaf(
    of statement: SignedStatement, _ receipt: WireLedgerReceipt
  ) throws(LedgerError) -> [UInt8] {
    guard !receipt.leaf.isEmpty else { return try statement.leaf(recordedMs: Int64(receipt.recordedMs)) }
    let leaf = Array(receipt.leaf)
    let entry = try LedgerEntry(leaf: leaf)
    guard entry.statement.saysTheSame(as: statement) else {
      throw .conflictingEntry(identity: statement.kind.rawValue)
    }
    return leaf
  }

  /// Brings a mirror up to the newest checkpoint.
  /// - Parameter size: waits a few seconds for the log to be larger than this; nil does not wait.
  package static func synchronise(
    _ mirror: LedgerMirror, client: FederationClient, waitingFor size: UInt64? = nil,
    clock: @escaping @Sendable () -> UInt64
  ) async throws {
    let query = size.map { "?after=\($0)" } ?? ""
    let note = try await client.get("v1/ledger/checkpoint\(query)", limit: 65_536)
    var failure: (any Error)?
    do {
      try await mirror.advance(
        noteText: String(decoding: note, as: UTF8.self), nowMs: Int64(clock()), now: { Int64(clock()) }
      ) { range throws(LedgerError) in
        do {
          let bytes = try await client.get(
            "v1/ledger/entries?start=\(range.lowerBound)&count=\(range.count)", limit: MessageLimits.entries)
          let page = try wireMessage(
            WireLedgerEntries.self, bytes, peer: "the server", limit: MessageLimits.entries)
          return page.leaves.map { Array($0) }
        } catch {
          failure = error
          throw .wrongAnswer(requested: UInt64(range.count), received: 0)
        }
      }
    } catch {
      switch error {
      // An older note than the one held changes nothing: the gate judges the age of the one held. Another
      // task of this process that was faster did the same work.
      case .outdatedCheckpoint, .concurrentAdvance: return
      default: throw failure ?? error
      }
    }
  }
}

extension LedgerMirror {
  /// Checks that this copy of the log has reached the checkpoint that a session is bound to. The note must
  /// be signed by the pinned keys; at the same size it must show the same root.
  func requireReached(_ note: String) throws(FederationError) {
    let signed: SignedCheckpoint
    do { signed = try SignedCheckpoint.verify(note, verifiers) } catch {
      throw .policy(.checkpoint("the session's checkpoint cannot be used: \(error)"))
    }
    let required = signed.checkpoint
    guard let held = checkpoint?.checkpoint, held.size >= required.size else {
      throw .policy(
        .checkpoint("the session is bound to \(required.size) ledger entries, this node has verified \(size)")
      )
    }
    guard held.size > required.size || held.root == required.root else {
      throw .policy(.checkpoint("the session is bound to another history of the ledger: it was forked"))
    }
  }
}
