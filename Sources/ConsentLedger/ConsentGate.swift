package import Consent
package import Cryptography
package import MerkleLog
import Synchronization

/// What the gate answers: the consented batch, and what it was decided on. It comes only from
/// `ConsentGate.batch`; there is no other way to make one.
package struct GatedBatch<Record: Sendable>: Sendable {
  /// The permitted customers with their records: what training takes.
  package let consented: ConsentedBatch<Record>
  /// Under which regime.
  package let regime: Regime
  /// The decisions about all candidates who have a tag in the log, permitted or not. Stays on the node.
  package let evidence: DecisionEvidence
  /// The checkpoint of the log that was decided on.
  package let checkpoint: SignedCheckpoint
  /// Its age at the decision, in seconds.
  package let checkpointAgeSeconds: Int64

  /// The permitted customers, in the order in which they first came.
  package var subjects: [ConsentedBatch<Record>.Subject] { consented.subjects }
  /// What for.
  package var purpose: Purpose { consented.purpose }
  /// The root for the round's record.
  package var evidenceRoot: Digest { evidence.root }

  fileprivate init(
    consented: ConsentedBatch<Record>, regime: Regime, evidence: DecisionEvidence,
    checkpoint: SignedCheckpoint, checkpointAgeSeconds: Int64
  ) {
    self.consented = consented
    self.regime = regime
    self.evidence = evidence
    self.checkpoint = checkpoint
    self.checkpointAgeSeconds = checkpointAgeSeconds
  }
}

/// The only way from the store to a batch: decides about every customer from the node's own copy of the log,
/// and refuses altogether when that copy is too old.
package final class ConsentGate: Sendable {
  /// How old the newest checkpoint may be, in seconds.
  package let maximumCheckpointAgeSeconds: Int64
  private let mirror: LedgerMirror
  private let vault: SubjectVault
  private let recorder: VerifyingKey
  private let policy: ConsentPolicy
  private let random: Mutex<RandomStream>

  /// A gate over a node's mirror and vault.
  /// - Parameters:
  ///   - recorder: the node's own key: only consent that it recorded permits.
  ///   - random: draws the salts of the evidence; tests pass a stream from a seed.
  package init(
    mirror: LedgerMirror, vault: SubjectVault, recorder: VerifyingKey,
    maximumCheckpointAgeSeconds: Int64 = 60,
    policy: ConsentPolicy = ConsentPolicy(), random: RandomStream = .system()
  ) {
    self.mirror = mirror
    self.vault = vault
    self.recorder = recorder
    self.maximumCheckpointAgeSeconds = maximumCheckpointAgeSeconds
    self.policy = policy
    self.random = Mutex(random)
  }

  /// The records of those candidates who permit the purpose now, grouped by customer.
  ///
  /// Candidates without a key in the vault have no event in the log: absent under opt-in, given a key under
  /// opt-out so that their evidence can be opened. Throws `staleCheckpoint` when the log's copy is too old.
  package func batch<Record: Sendable>(
    candidates: [(subjectID: String, record: Record)], purpose: Purpose, regime: Regime, nowMs: Int64
  ) throws(LedgerError) -> GatedBatch<Record> {
    // The checkpoint first: events that arrive between the two reads can only make the decision newer.
    let signed = try requireCurrent(nowMs: nowMs)
    var order: [String] = []
    var records: [String: [Record]] = [:]
    for candidate in candidates {
      if records[candidate.subjectID] == nil { order.append(candidate.subjectID) }
      records[candidate.subjectID, default: []].append(candidate.record)
    }
    let tags = try vault.tags(for: order, create: regime == .optOut)
    let events = try mirror.events(for: Array(tags.values), grantor: recorder)
    let consented = admit(
      order.map { id in
        Candidate(
          subjectID: id, tag: tags[id], events: tags[id].flatMap { events[$0] } ?? [],
          records: records[id, default: []])
      }, purpose: purpose, regime: regime, nowMs: nowMs, policy: policy)
    let items = tags.values.map { tag in
      DecisionEvidence.Item(
        tag: tag,
        decision: decide(
          events: events[tag, default: []], purpose: purpose, regime: regime, nowMs: nowMs, policy: policy))
    }
    return GatedBatch(
      consented: consented, regime: regime,
      evidence: DecisionEvidence(items, salt: random.withLock { $0.secret(32) }), checkpoint: signed,
      checkpointAgeSeconds: max(0, nowMs / 1000 - Int64(signed.timestampSeconds)))
  }

  /// The newest checkpoint, young enough and with everything in it that the log has acknowledged to this node.
  private func requireCurrent(nowMs: Int64) throws(LedgerError) -> SignedCheckpoint {
    let signed = try mirror.freshCheckpoint(
      nowMs: nowMs, maximumAgeSeconds: maximumCheckpointAgeSeconds)
    let acknowledged = try vault.acknowledgedSize()
    guard signed.checkpoint.size >= acknowledged else {
      throw .behindReceipt(acknowledged: acknowledged, verified: signed.checkpoint.size)
    }
    return signed
  }

  /// Asks again before an upload: the customers of the batch who no longer permit its purpose. Anyone here
  /// means that the update has to be computed again without them. Throws `staleCheckpoint` like `batch`.
  package func recheck<Record: Sendable>(
    _ batch: GatedBatch<Record>, nowMs: Int64
  ) throws(LedgerError) -> [String] {
    _ = try requireCurrent(nowMs: nowMs)
    // The vault too: a customer who was erased meanwhile has no key any more.
    let tags = try vault.tags(for: batch.subjects.map(\.subjectID), create: false)
    let events = try mirror.events(for: batch.subjects.map(\.tag), grantor: recorder)
    return batch.subjects.compactMap { subject in
      let decision = decide(
        events: events[subject.tag, default: []], purpose: batch.purpose, regime: batch.regime, nowMs: nowMs,
        policy: policy)
      return tags[subject.subjectID] == subject.tag && decision.permitted ? nil : subject.subjectID
    }
  }
}
