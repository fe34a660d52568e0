package import Cryptography
package import ConsentLedger
import Federation
import Foundation
import MerkleLog
import Messages

/// Sends signed leaves to the ledger and checks what comes back.
package enum LedgerSubmission {
  /// Where a leaf stands, proven.
  package struct Proven: Sendable {
    /// The leaf's index.
    package let index: UInt64
    /// The size of the tree that the proof is for.
    package let treeSize: UInt64
  }

  /// Appends leaves; every receipt's inclusion proof is checked against the signed checkpoint.
  package static func send(
    _ leaves: [[UInt8]], client: FederationClient, key: SigningKey
  ) async throws -> [Proven] {
    var append = WireLedgerAppend()
    append.leaves = leaves.map { Data($0) }
    let bytes = try await client.sendUntilAnswered(
      .ledgerAppend, to: "v1/ledger/append", payload: encodeMessage(append), key: key)
    let answer = try wireMessage(WireLedgerAppended.self, bytes, peer: "the server")
    guard answer.receipts.count == leaves.count else {
      throw EdgeNodeError.badAnswer(
        what: "receipts", reason: "\(leaves.count) entries were sent, \(answer.receipts.count) acknowledged")
    }
    let keys = try client.trust.keys()
    do {
      let verifiers = try CheckpointVerifiers(
        origin: client.trust.federation, logKey: keys.log, freshnessKey: keys.freshness)
      let signed = try SignedCheckpoint.verify(answer.checkpoint, verifiers)
      return try zip(leaves, answer.receipts).map { leaf, receipt in
        guard receipt.treeSize == signed.checkpoint.size else {
          throw MerkleLogError.wrongProof("inclusion")
        }
        let proof = InclusionProof(
          index: receipt.index, size: receipt.treeSize, path: try receipt.proof.map { try Digest(Array($0)) })
        try proof.verify(leafHash: MerkleTree.leafHash(leaf), root: signed.checkpoint.root)
        return Proven(index: receipt.index, treeSize: receipt.treeSize)
      }
    } catch {
      throw EdgeNodeError.badAnswer(what: "receipt", reason: "\(error)")
    }
  }

  /// Brings a mirror up to the newest checkpoint.
  package static func synchronise(
    _ mirror: LedgerMirror, client: FederationClient, nowMilliseconds: UInt64
  ) async throws {
    let note = try await client.get("v1/ledger/checkpoint", limit: 65_536)
    var failure: (any Error)?
    do {
      try await mirror.advance(
        noteText: String(decoding: note, as: UTF8.self), nowMs: Int64(nowMilliseconds)
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
      // An older note than the one held changes nothing: the gate judges the age of the one held.
      case .outdatedCheckpoint: return
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
