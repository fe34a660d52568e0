import Consent
import ConsentLedger
import Cryptography
import Federation
import MerkleLog
import Privacy
import SecureAggregation

/// The checkpoint that a session was bound to.
struct CheckpointInForce: Sendable {
  let note: String
  let size: UInt64
  let root: Digest
  let ageSeconds: Int64
  /// The policy that was in force.
  let policy: Digest?

  init(_ signed: SignedCheckpoint, policy: Digest?, nowMilliseconds: UInt64) {
    self.policy = policy
    note = signed.noteText
    size = signed.checkpoint.size
    root = signed.checkpoint.root
    ageSeconds = max(0, Int64(nowMilliseconds / 1000) - Int64(signed.timestampSeconds))
  }
}

/// Everything about a session that goes into its ledger record, however it ended.
struct SessionFacts: Sendable {
  let task: any TaskTerms
  let number: UInt64
  let sessionID: Digest
  let kind: String
  let round: Int
  let checkpoint: CheckpointInForce
  /// Epsilon per population after the session's debit.
  let spent: [Population: Double]
  let startedAt: UInt64
  let endedAt: UInt64
}

/// Builds the signed statements for the ledger that say what a session did.
enum SessionRecord {
  /// The record of a session that released a sum.
  static func completed(
    _ facts: SessionFacts, sum: ReleasedSum, modelBefore: Digest, modelAfter: Digest,
    eligible: Double?, evidence: [Digest], key: SigningKey
  ) throws -> [UInt8] {
    try statement(
      facts, modelIn: modelBefore, modelOut: modelAfter, cohort: sum.cohort.count,
      survivors: sum.survivors.count, eligible: eligible.map { Int64($0) }, evidence: evidence.sorted(),
      result: .completed,
      transcript: sum.transcript, key: key)
  }

  /// The record of a session that released nothing.
  static func aborted(
    _ facts: SessionFacts, model: Digest, reason: String, key: SigningKey
  ) throws -> [UInt8] {
    try statement(
      facts, modelIn: model, modelOut: nil, cohort: 0, survivors: 0, eligible: nil, evidence: [],
      result: .aborted(reason: oneLine(reason)), transcript: nil, key: key)
  }

  /// A reason as the ledger takes it: one line of at most 480 bytes.
  static func oneLine(_ reason: String) -> String {
    var line = ""
    for character in reason {
      let next = character.isNewline ? " " : character
      guard line.utf8.count + next.utf8.count <= 480 else { break }
      line.append(next)
    }
    return line.isEmpty ? "no reason given" : line
  }

  private static func statement(
    _ facts: SessionFacts, modelIn: Digest, modelOut: Digest?, cohort: Int, survivors: Int,
    eligible: Int64?, evidence: [Digest], result: RoundResult, transcript: Digest?, key: SigningKey
  ) throws -> [UInt8] {
    let task = facts.task
    // Whose budget the record tells of: a training session spends that of both populations.
    let budgets = task.populationBudgets
    let population: Population =
      facts.kind == SessionKind.evaluation.rawValue || budgets[.training] == nil ? .heldOut : .training
    let isListed = evidence.count <= RoundRecord.maximumEvidenceRoots
    let record = RoundRecord(
      sessionID: facts.sessionID, round: facts.number, taskID: task.id,
      kind: facts.round > 0 ? "\(facts.kind) \(facts.round)" : facts.kind, modelIn: modelIn,
      modelOut: modelOut, purpose: task.consentPurpose,
      checkpointSize: facts.checkpoint.size, checkpointRoot: facts.checkpoint.root,
      checkpointAgeSeconds: facts.checkpoint.ageSeconds, participants: cohort, survivors: survivors,
      dropped: cohort - survivors, noisedEligible: eligible,
      evidenceRoot: isListed ? nil : DecisionEvidence.root(over: evidence),
      evidenceRoots: isListed ? evidence : [], policyHash: facts.checkpoint.policy,
      epsilon: facts.spent[population] ?? 0,
      delta: budgets[population]?.delta ?? 0,
      unit: task.unit.rawValue, mechanism: task.isNoised(population) ? "skellam/distributed" : "none",
      startedMs: Int64(facts.startedAt), endedMs: Int64(facts.endedAt), result: result,
      transcriptDigest: transcript)
    return try SignedStatement.sign(.round(record), key: key).bytes
  }
}
