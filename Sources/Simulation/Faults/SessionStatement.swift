import Consent
import ConsentLedger
import Cryptography
import Federation
import MerkleLog
import Privacy

/// The record of a session for the ledger, as `AggregationServer/SessionRecord.swift` writes it.
struct SessionStatement {
  let task: any TaskTerms
  let number: UInt64
  let sessionID: Digest
  let startedAt: UInt64
  let endedAt: UInt64
  let checkpoint: SignedCheckpoint
  let policy: Digest?
  let model: Digest

  func completed(
    _ sum: ReleasedSum, modelOut: Digest, evidence: [Digest], key: SigningKey
  ) throws -> [UInt8] {
    try statement(
      modelOut: modelOut, cohort: sum.cohort.count, survivors: sum.survivors.count, evidence: evidence,
      result: .completed, transcript: sum.transcript, key: key)
  }

  func aborted(_ reason: String, key: SigningKey) throws -> [UInt8] {
    let line = String(reason.map { $0.isNewline ? " " : $0 }.prefix(200))
    return try statement(
      modelOut: nil, cohort: 0, survivors: 0, evidence: [], result: .aborted(reason: line), transcript: nil,
      key: key)
  }

  private func statement(
    modelOut: Digest?, cohort: Int, survivors: Int, evidence: [Digest], result: RoundResult,
    transcript: Digest?, key: SigningKey
  ) throws -> [UInt8] {
    let record = RoundRecord(
      sessionID: sessionID, round: number, taskID: task.id, kind: "statistics", modelIn: model,
      modelOut: modelOut, purpose: task.consentPurpose, checkpointSize: checkpoint.checkpoint.size,
      checkpointRoot: checkpoint.checkpoint.root,
      checkpointAgeSeconds: max(0, Int64(startedAt / 1000) - Int64(checkpoint.timestampSeconds)),
      participants: cohort, survivors: survivors, dropped: cohort - survivors, noisedEligible: nil,
      evidenceRoots: evidence, policyHash: policy, epsilon: .infinity, delta: 1e-5,
      unit: task.unit.rawValue, mechanism: "none", startedMs: Int64(startedAt), endedMs: Int64(endedAt),
      result: result, transcriptDigest: transcript)
    return try SignedStatement.sign(.round(record), key: key).bytes
  }
}
