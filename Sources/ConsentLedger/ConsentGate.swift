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
  /// The policy that was in force.
  package let policyHash: Digest
  /// The decisions about all candidates who have a tag in the log, permitted or not. Stays on the node.
  package let evidence: DecisionEvidence
  /// The tags of all candidates who have one, permitted or not. Stays on the node.
  package let tags: [String: SubjectTag]
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
    consented: ConsentedBatch<Record>, regime: Regime, policyHash: Digest,
    evidence: DecisionEvidence, tags: [String: SubjectTag], checkpoint: SignedCheckpoint,
    checkpointAgeSeconds: Int64
  ) {
    self.consented = consented
    self.regime = regime
    self.policyHash = policyHash
    self.evidence = evidence
    self.tags = tags
    self.checkpoint = checkpoint
    self.checkpointAgeSeconds = checkpointAgeSeconds
  }
}

/// The only way from the store to a batch: decides about every customer from the node's own copy of the log and
/// the policy in force there, and refuses altogether when that copy is too old or too few witnesses saw it.
package final class ConsentGate: Sendable {
  /// How old the newest checkpoint may be, in seconds; the policy in force may ask for less.
  package let maximumCheckpointAgeSeconds: Int64
  /// How many other witnesses must have seen the same log, each no longer ago than the checkpoint's age.
  package let witnessQuorum: Int
  private let mirror: LedgerMirror
  private let vault: SubjectVault
  private let recorder: VerifyingKey
  private let random: Mutex<RandomStream>

  /// A gate over a node's mirror and vault.
  /// - Parameters:
  ///   - recorder: the node's own key: only consent that it recorded permits.
  ///   - random: draws the salts of the evidence; tests pass a stream from a seed.
  package init(
    mirror: LedgerMirror, vault: SubjectVault, recorder: VerifyingKey,
    maximumCheckpointAgeSeconds: Int64 = 60, witnessQuorum: Int = 0, random: RandomStream = .system()
  ) {
    self.mirror = mirror
    self.vault = vault
    self.recorder = recorder
    self.maximumCheckpointAgeSeconds = maximumCheckpointAgeSeconds
    self.witnessQuorum = witnessQuorum
    self.random = Mutex(random)
  }

  /// The records of those candidates who permit the purpose now, grouped by customer.
  ///
  /// Candidates without a key in the vault have no event in the log: absent, unless silence may be taken for
  /// an answer: then they are given a key, so that their evidence can be opened.
  /// - Parameter regime: `optOut` admits also whom an opt-out regime of the policy permits without an answer.
  /// - Throws: `staleCheckpoint` when the log's copy is too old, `noQuorum`, `noPolicy`.
  package func batch<Record: Sendable>(
    candidates: [(subjectID: String, record: Record)], purpose: Purpose, regime: Regime, nowMs: Int64
  ) throws(LedgerError) -> GatedBatch<Record> {
    // The checkpoint first: events that arrive between the two reads can only make the decision newer.
    let (signed, policy) = try requireCurrent(nowMs: nowMs)
    var order: [String] = []
    var records: [String: [Record]] = [:]
    for candidate in candidates {
      if records[candidate.subjectID] == nil { order.append(candidate.subjectID) }
      records[candidate.subjectID, default: []].append(candidate.record)
    }
    let acceptsSilence = regime == .optOut
    let tags = try vault.tags(for: order, create: acceptsSilence)
    let events = try mirror.events(for: Array(tags.values), grantor: recorder)
    let consented = admit(
      order.map { id in
        Candidate(
          subjectID: id, tag: tags[id], events: tags[id].flatMap { events[$0] } ?? [],
          records: records[id, default: []])
      }, purpose: purpose, policy: policy.policy, acceptsSilence: acceptsSilence, nowMs: nowMs)
    let items = tags.values.map { tag in
      DecisionEvidence.Item(
        tag: tag,
        decision: decision(
          events[tag, default: []], purpose, policy, acceptsSilence: acceptsSilence, nowMs: nowMs))
    }
    return GatedBatch(
      consented: consented, regime: regime, policyHash: policy.digest,
      evidence: DecisionEvidence(items, salt: random.withLock { $0.secret(32) }), tags: tags,
      checkpoint: signed,
      checkpointAgeSeconds: max(0, nowMs / 1000 - Int64(signed.timestampSeconds)))
  }

  private func decision(
    _ events: [IndexedEvent], _ purpose: Purpose, _ policy: LoggedPolicy, acceptsSilence: Bool, nowMs: Int64
  ) -> ConsentDecision {
    let decision = decide(events: events, purpose: purpose, policy: policy.policy, nowMs: nowMs)
    return acceptsSilence ? decision : decision.withoutSilence
  }

  /// The newest checkpoint, young enough, seen by enough witnesses and with everything in it that the log has
  /// acknowledged to this node; and the policy in force there.
  private func requireCurrent(nowMs: Int64) throws(LedgerError) -> (SignedCheckpoint, LoggedPolicy) {
    if let doubt = mirror.doubt { throw doubt }
    guard let policy = mirror.rules.current else { throw .noPolicy }
    let maximumAge = min(maximumCheckpointAgeSeconds, Int64(policy.policy.limits.maximumCheckpointAgeSeconds))
    let signed = try mirror.freshCheckpoint(nowMs: nowMs, maximumAgeSeconds: maximumAge)
    let witnesses = mirror.witnesses(nowMs: nowMs, maximumAgeSeconds: maximumAge)
    let others = witnesses.filter { $0.key != recorder }
    guard others.count >= witnessQuorum else { throw .noQuorum(found: others.count, required: witnessQuorum) }
    if let acknowledged = try vault.acknowledged() {
      guard signed.checkpoint.size >= acknowledged.size else {
        throw .behindReceipt(acknowledged: acknowledged.size, verified: signed.checkpoint.size)
      }
      // A longer log that is not the one of the receipt.
      guard try mirror.root(size: acknowledged.size) == acknowledged.root else {
        throw .forked(size: acknowledged.size)
      }
    }
    return (signed, policy)
  }

  /// Whether one customer permits the purpose now: what serving asks, and the canary.
  package func decision(
    subjectID: String, purpose: Purpose, regime: Regime, nowMs: Int64
  ) throws(LedgerError) -> ConsentDecision {
    let (_, policy) = try requireCurrent(nowMs: nowMs)
    let tag = try vault.tag(for: subjectID, create: false)
    let events = try tag.map { tag throws(LedgerError) in
      try mirror.events(for: [tag], grantor: recorder)[tag, default: []]
    }
    return decision(events ?? [], purpose, policy, acceptsSilence: regime == .optOut, nowMs: nowMs)
  }

  /// Asks again before an upload: the customers of the batch who no longer permit its purpose. Anyone here
  /// means that the update has to be computed again without them. Throws like `batch`.
  package func recheck<Record: Sendable>(
    _ batch: GatedBatch<Record>, nowMs: Int64
  ) throws(LedgerError) -> [String] {
    let (_, policy) = try requireCurrent(nowMs: nowMs)
    // The vault too: a customer who was erased meanwhile has no key any more.
    let tags = try vault.tags(for: batch.subjects.map(\.subjectID), create: false)
    let events = try mirror.events(for: batch.subjects.map(\.tag), grantor: recorder)
    return batch.subjects.compactMap { subject in
      let decision = decision(
        events[subject.tag, default: []], batch.purpose, policy, acceptsSilence: batch.regime == .optOut,
        nowMs: nowMs)
      return tags[subject.subjectID] == subject.tag && decision.permitted ? nil : subject.subjectID
    }
  }
}
