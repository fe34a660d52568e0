import Consent
import Cryptography

/// A round's record as it stands in the log (see the remark in EntryContents.swift).
struct RoundContent: Codable {
  let checkpoint_age: Int64
  let checkpoint_root: String
  let checkpoint_size: UInt64
  let delta: Double
  let dropped: Int
  let ended: Int64
  let epsilon: LossContent
  let evidence_root: String?
  let evidence_roots: [String]
  let kind: String
  let mechanism: String
  let model_in: String?
  let model_out: String?
  let noised_eligible: Int64?
  let participants: Int
  let policy: String?
  let purpose: String
  let purpose_version: Int
  let result: String
  let round: UInt64
  let session: String
  let started: Int64
  let survivors: Int
  let task: String
  let transcript: String?
  let unit: String
}

/// An epsilon in the log: a number, or the string "inf" where nothing is guaranteed. JSON has no infinity.
struct LossContent: Codable {
  let value: Double

  init(value: Double) { self.value = value }

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let number = try? container.decode(Double.self) {
      value = number
      return
    }
    guard try container.decode(String.self) == "inf" else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "neither a number nor inf")
    }
    value = .infinity
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if value.isFinite { try container.encode(value) } else { try container.encode("inf") }
  }
}

extension RoundRecord {
  /// Records with more evidence roots are refused: a leaf has 16 KiB.
  package static let maximumEvidenceRoots = 128

  func canonicalContent() throws(LedgerError) -> [UInt8] {
    try validate()
    return try EntryCoding.encode(
      RoundContent(
        checkpoint_age: checkpointAgeSeconds, checkpoint_root: checkpointRoot.hex,
        checkpoint_size: checkpointSize, delta: delta, dropped: dropped, ended: endedMs,
        epsilon: LossContent(value: epsilon),
        evidence_root: evidenceRoot?.hex, evidence_roots: evidenceRoots.map(\.hex), kind: kind,
        mechanism: mechanism, model_in: modelIn?.hex,
        model_out: modelOut?.hex, noised_eligible: noisedEligible, participants: participants,
        policy: policyHash?.hex,
        purpose: purpose.id, purpose_version: purpose.version, result: result.text, round: round,
        session: sessionID.hex, started: startedMs, survivors: survivors, task: taskID,
        transcript: transcriptDigest?.hex, unit: unit))
  }

  func validate() throws(LedgerError) {
    try Field.check(taskID, "task", maximum: 128)
    try Field.check(kind, "kind", maximum: 64)
    try Field.check(purpose.id, "purpose", maximum: 64)
    try Field.check(unit, "unit", maximum: 64)
    try Field.check(mechanism, "mechanism", maximum: 512)
    try Field.check(result.text, "result", maximum: 512)
    try Field.check(startedMs, "start")
    try Field.check(endedMs, "end")
    let limit = 100_000_000
    let counts = [participants, survivors, dropped]
    guard counts.allSatisfy({ (0...limit).contains($0) }), survivors + dropped <= participants,
      (1...1_000_000).contains(purpose.version), (0...Int64(limit)).contains(checkpointAgeSeconds),
      checkpointSize <= 1 << 48, round <= UInt64(limit), evidenceRoots.count <= Self.maximumEvidenceRoots
    else { throw .malformedEntry("a count of the round is out of range") }
    guard !epsilon.isNaN, epsilon >= 0, delta.isFinite, (0...1).contains(delta) else {
      throw .malformedEntry("epsilon or delta of the round is out of range")
    }
    // A reason that reads like the other result would make two records look the same.
    if case .aborted(let reason) = result { try Field.check(reason, "reason", maximum: 500) }
  }
}

extension RoundResult {
  /// `completed` or `aborted: reason`.
  package var text: String {
    switch self {
    case .completed: "completed"
    case .aborted(let reason): "aborted: \(reason)"
    }
  }

  /// Reads the text form.
  package init?(text: String) {
    if text == "completed" {
      self = .completed
    } else if text.hasPrefix("aborted: "), text.utf8.count > 9 {
      self = .aborted(reason: String(text.dropFirst(9)))
    } else {
      return nil
    }
  }
}

extension RoundContent {
  func record() throws(LedgerError) -> RoundRecord {
    guard let result = RoundResult(text: result) else { throw .malformedEntry("its result is unknown") }
    var roots: [Digest] = []
    for root in evidence_roots { roots.append(try digest(root)) }
    let record = RoundRecord(
      sessionID: try digest(session), round: round, taskID: task, kind: kind,
      modelIn: try optionalDigest(model_in), modelOut: try optionalDigest(model_out),
      purpose: Purpose(id: purpose, version: purpose_version), checkpointSize: checkpoint_size,
      checkpointRoot: try digest(checkpoint_root), checkpointAgeSeconds: checkpoint_age,
      participants: participants, survivors: survivors, dropped: dropped, noisedEligible: noised_eligible,
      evidenceRoot: try optionalDigest(evidence_root), evidenceRoots: roots,
      policyHash: try optionalDigest(policy), epsilon: epsilon.value, delta: delta, unit: unit,
      mechanism: mechanism,
      startedMs: started, endedMs: ended, result: result,
      transcriptDigest: try optionalDigest(transcript))
    try record.validate()
    return record
  }

  private func digest(_ text: String) throws(LedgerError) -> Digest {
    Digest(unchecked: try Field.bytes(text, 32, "digest"))
  }

  private func optionalDigest(_ text: String?) throws(LedgerError) -> Digest? {
    guard let text else { return nil }
    return try digest(text)
  }
}
