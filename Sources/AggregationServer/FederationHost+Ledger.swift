import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import Messages

/// What nodes, operators, officers and witnesses ask of the ledger.
extension FederationHost {
  /// The longest that a request waits for the log to grow, milliseconds: checkpoints must stay fresh.
  static let growthPollMilliseconds: UInt64 = 5_000

  /// Appends statements that a node, an officer or the operator signed. Does not hold the host up: appends that
  /// arrive together share one flush of the disk.
  nonisolated func append(_ request: SignedRequest) async throws -> WireLedgerAppended {
    if request.sender != keys.operatorKey { try requireEnrolled(request.sender) }
    let message = try wireMessage(
      WireLedgerAppend.self, request.payload, peer: request.sender.peerName)
    guard (1...MessageLimits.leavesPerMessage).contains(message.statements.count) else {
      throw HostRefusal(
        .malformed,
        "an append holds 1 to \(MessageLimits.leavesPerMessage) statements, not \(message.statements.count)")
    }
    var answer = WireLedgerAppended()
    do {
      let statements = try message.statements.map { bytes throws(LedgerError) in
        try SignedStatement(parsing: Array(bytes))
      }
      let now = Int64(clock())
      if message.compact {
        let receipt = try await ledger.append(runs: statements, nowMs: now)
        answer.checkpoint = receipt.checkpoint.noteText
        answer.receipts = Self.receipts(receipt)
      } else {
        let receipts = try await ledger.append(group: statements, nowMs: now)
        answer.checkpoint = receipts.first?.checkpoint.noteText ?? ""
        answer.receipts = receipts.map {
          Self.receipt(
            LedgerPlace(index: $0.index, recordedMs: $0.recordedMs, earlierLeaf: $0.earlierLeaf),
            size: $0.proof.size, $0.proof.path)
        }
      }
    } catch {
      switch error {
      // Whether the entries are in the log is not known: that is no refusal.
      case .commitUncertain:
        await fail("\(error)")
        throw HostRefusal(.internalError, "\(error)")
      case .storage: throw HostRefusal(.internalError, "\(error)")
      default: throw HostRefusal(.refused, "\(error)")
      }
    }
    await announceChange()
    return answer
  }

  private nonisolated static func receipts(_ receipt: RunReceipt) -> [WireLedgerReceipt] {
    let size = receipt.checkpoint.checkpoint.size
    var wires: [WireLedgerReceipt] = []
    wires.reserveCapacity(receipt.places.count)
    for (run, proof) in zip(LedgerPlace.runs(receipt.places.map(\.index.value)), receipt.runs) {
      for place in run {
        let path =
          place == run.lowerBound ? proof.first.path : place == run.upperBound - 1 ? proof.last.path : []
        wires.append(Self.receipt(receipt.places[place], size: size, path))
      }
    }
    return wires
  }

  private nonisolated static func receipt(
    _ place: LedgerPlace, size: UInt64, _ path: [Digest]
  ) -> WireLedgerReceipt {
    var wire = WireLedgerReceipt()
    wire.index = place.index.value
    wire.treeSize = size
    wire.proof = path.map { Data($0.bytes) }
    wire.recordedMs = UInt64(place.recordedMs)
    wire.leaf = Data(place.earlierLeaf ?? [])
    return wire
  }

  /// The server stops: what happened after the last acknowledgement is not known.
  func fail(_ reason: String) { failure = failure ?? reason }

  /// A fresh checkpoint as a signed note, with the cosignatures of whoever saw exactly this tree. With `size`,
  /// the answer waits until the log is larger, for at most `growthPollMilliseconds`.
  func checkpointNote(largerThan size: UInt64?) async throws -> String {
    if let size {
      let limit = clock() + Self.growthPollMilliseconds
      while ledger.size <= size, !isStopping, !Task.isCancelled, clock() < limit { await nextChange() }
    }
    let signed = try ledger.checkpoint(nowMs: Int64(clock()))
    let seen = witnesses.filter { $0.value.checkpoint == signed.checkpoint }
    guard !seen.isEmpty else { return signed.noteText }
    return try SignedNote(parsing: signed.noteText)
      .merging(seen.values.map(\.note), witnesses: Array(seen.keys)).encoded
  }

  /// A page of leaves.
  nonisolated func leaves(from start: UInt64, count: Int) throws -> WireLedgerEntries {
    let size = ledger.size
    guard start <= size else {
      throw HostRefusal(.malformed, "the log has \(size) entries; entry \(start) does not exist")
    }
    var page = WireLedgerEntries()
    let end = min(size, start + UInt64(min(count, Int(LedgerStore.maximumEntriesPerAnswer))))
    page.leaves = try ledger.entries(start..<end).map { Data($0) }
    return page
  }

  // MARK: Witnesses

  /// What a witness saw last.
  struct Sighting: Sendable {
    let checkpoint: Checkpoint
    let timestampSeconds: UInt64
    let note: SignedNote
  }

  /// Takes a node's cosignature of a checkpoint of this log.
  func cosigned(_ request: SignedRequest) throws {
    try requireEnrolled(request.sender)
    let message = try wireMessage(WireCosigned.self, request.payload, peer: request.sender.peerName)
    let sighting: Sighting
    do {
      let note = try SignedNote(parsing: message.note)
      let checkpoint = try Checkpoint(text: note.text)
      try note.verify(ledger.verifiers.log)
      let verifier = try Witness.verifier(origin: ledger.origin, key: request.sender)
      guard checkpoint.origin == ledger.origin, let time = try note.verify(verifier) else {
        throw MerkleLogError.otherLog(expected: ledger.origin, actual: checkpoint.origin)
      }
      sighting = Sighting(checkpoint: checkpoint, timestampSeconds: time, note: note)
    } catch {
      throw HostRefusal(.refused, "\(request.sender.peerName): \(error)")
    }
    if let known = witnesses[request.sender], known.timestampSeconds > sighting.timestampSeconds { return }
    witnesses[request.sender] = sighting
  }

  /// What every witness saw last: so that nodes can compare.
  func sightings() -> WireWitnesses {
    var message = WireWitnesses()
    message.sightings = witnesses.sorted { $0.key < $1.key }.map { key, sighting in
      var wire = WireWitnessSighting()
      wire.key = Data(key.bytes)
      wire.note = sighting.note.encoded
      return wire
    }
    return message
  }
}
