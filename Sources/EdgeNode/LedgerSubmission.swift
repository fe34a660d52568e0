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
    /// Its root.
    package let root: Digest

    /// The size of the tree that the proof is for.
    package var treeSize: UInt64 { proof.size }
    /// The receipt as a file (C2SP tlog-proof).
    package var text: String {
      TransparencyProof(extra: leaf, index: index, path: proof.path, checkpointNote: noteText).encoded
    }
  }

  /// The code with which the server says that the ledger took nothing of an append.
  static let refusalCode = "refused"

  /// Appends statements; every receipt's inclusion proof is checked against the signed checkpoint.
  package static func send(
    _ statements: [SignedStatement], client: FederationClient, key: SigningKey
  ) async throws -> [Proven] {
    let (answer, signed) = try await append(statements, isCompact: false, client: client, key: key)
    return try checking {
      try zip(statements, answer.receipts).map { statement, receipt in
        let leaf = try leaf(of: statement, receipt)
        let proof = try proof(receipt)
        try proof.verify(leafHash: MerkleTree.leafHash(leaf), root: signed.checkpoint.root)
        return Proven(
          index: receipt.index, recordedMs: Int64(receipt.recordedMs), leaf: leaf, proof: proof,
          noteText: answer.checkpoint, root: signed.checkpoint.root)
      }
    }
  }

  /// An answer about many entries that was not checked yet.
  package struct Unchecked: Sendable {
    fileprivate let statements: [SignedStatement]
    fileprivate let answer: WireLedgerAppended
    fileprivate let signed: SignedCheckpoint
  }

  /// Appends statements, with one proof for each run of consecutive entries.
  package static func sendRuns(
    _ statements: [SignedStatement], client: FederationClient, key: SigningKey
  ) async throws -> Unchecked {
    let (answer, signed) = try await append(statements, isCompact: true, client: client, key: key)
    return Unchecked(statements: statements, answer: answer, signed: signed)
  }

  /// Checks that all entries stand in the tree of the signed checkpoint.
  /// - Returns: the tree.
  package static func check(_ sent: Unchecked) throws -> (size: UInt64, root: Digest) {
    let receipts = sent.answer.receipts
    return try checking {
      for run in LedgerPlace.runs(receipts.map(\.index)) {
        var hashes: [UInt8] = []
        hashes.reserveCapacity(32 * run.count)
        for place in run {
          hashes += MerkleTree.leafHash(try leaf(of: sent.statements[place], receipts[place])).bytes
        }
        try RunProof(first: proof(receipts[run.lowerBound]), last: proof(receipts[run.upperBound - 1]))
          .verify(leafHashes: hashes, root: sent.signed.checkpoint.root)
      }
      return (sent.signed.checkpoint.size, sent.signed.checkpoint.root)
    }
  }

  private static func proof(_ receipt: WireLedgerReceipt) throws -> InclusionProof {
    InclusionProof(
      index: receipt.index, size: receipt.treeSize, path: try receipt.proof.map { try Digest(Array($0)) })
  }

  private static func append(
    _ statements: [SignedStatement], isCompact: Bool, client: FederationClient, key: SigningKey
  ) async throws -> (answer: WireLedgerAppended, signed: SignedCheckpoint) {
    var append = WireLedgerAppend()
    append.statements = statements.map { Data($0.bytes) }
    append.compact = isCompact
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
    return try checking {
      let verifiers = try CheckpointVerifiers(
        origin: client.trust.federation, logKey: keys.log, freshnessKey: keys.freshness)
      let signed = try SignedCheckpoint.verify(answer.checkpoint, verifiers)
      for receipt in answer.receipts
      where receipt.treeSize != signed.checkpoint.size || receipt.recordedMs > UInt64(Int64.max) {
        throw MerkleLogError.wrongProof("inclusion")
      }
      return (answer, signed)
    }
  }

  private static func checking<Value>(_ body: () throws -> Value) throws -> Value {
    do { return try body() } catch { throw EdgeNodeError.badAnswer(what: "receipt", reason: "\(error)") }
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
  /// be signed by the pinned keys, and this copy must begin with its tree.
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
    // A larger copy has to begin with the session's tree, or its members decide on different logs.
    let isSame: Bool
    do { isSame = try contains(required) } catch {
      throw .policy(.checkpoint("the session's checkpoint cannot be compared: \(error)"))
    }
    guard isSame else {
      throw .policy(.checkpoint("the session is bound to another history of the ledger: it was forked"))
    }
  }
}
