package import Consent
package import Cryptography

/// How a round ended.
package enum RoundResult: Hashable, Sendable {
  /// A sum was released.
  case completed
  /// Nothing was released, for this reason.
  case aborted(reason: String)
}

/// What a round did and what it spent, for the log. Counts are those that the server may know.
package struct RoundRecord: Hashable, Sendable {
  /// The round's session identifier.
  package var sessionID: Digest
  /// The session's number, which increases over all tasks of a server.
  package var round: UInt64
  /// The task.
  package var taskID: String
  /// What kind of task, such as `training` or `statistics`.
  package var kind: String
  /// The model that participants started from; nil for tasks without a model.
  package var modelIn: Digest?
  /// The model that came out; nil if none did.
  package var modelOut: Digest?
  /// What for.
  package var purpose: Purpose
  /// The size of the log that participants checked consent against.
  package var checkpointSize: UInt64
  /// Its root.
  package var checkpointRoot: Digest
  /// How old that checkpoint was when the round began, in seconds.
  package var checkpointAgeSeconds: Int64
  /// Nodes that took part.
  package var participants: Int
  /// Nodes whose input is in the sum.
  package var survivors: Int
  /// Nodes that dropped out.
  package var dropped: Int
  /// The noised number of customers with consent; nil if none was released.
  package var noisedEligible: Int64?
  /// The root over the participants' evidence roots if there are too many to list.
  package var evidenceRoot: Digest?
  /// The participants' evidence roots in ascending order, if they sent them and there are few enough.
  package var evidenceRoots: [Digest]
  /// The policy that was in force when the round began.
  package var policyHash: Digest?
  /// What the population of this round has spent after it; infinite when noise is off.
  package var epsilon: Double
  /// Failure probability of the guarantee.
  package var delta: Double
  /// What epsilon protects, such as `user` or `example`.
  package var unit: String
  /// The mechanism, in words that an accountant recognises.
  package var mechanism: String
  /// When the round began, ms of UTC since 1970.
  package var startedMs: Int64
  /// When it ended.
  package var endedMs: Int64
  /// How it ended.
  package var result: RoundResult
  /// The digest of the round's public transcript; nil if it ended before there was one.
  package var transcriptDigest: Digest?

  /// Puts a record together.
  package init(
    sessionID: Digest, round: UInt64, taskID: String, kind: String, modelIn: Digest?, modelOut: Digest?,
    purpose: Purpose, checkpointSize: UInt64, checkpointRoot: Digest, checkpointAgeSeconds: Int64,
    participants: Int, survivors: Int, dropped: Int, noisedEligible: Int64?,
    evidenceRoot: Digest? = nil, evidenceRoots: [Digest] = [], policyHash: Digest? = nil,
    epsilon: Double, delta: Double, unit: String, mechanism: String, startedMs: Int64, endedMs: Int64,
    result: RoundResult, transcriptDigest: Digest?
  ) {
    self.sessionID = sessionID
    self.round = round
    self.taskID = taskID
    self.kind = kind
    self.modelIn = modelIn
    self.modelOut = modelOut
    self.purpose = purpose
    self.checkpointSize = checkpointSize
    self.checkpointRoot = checkpointRoot
    self.checkpointAgeSeconds = checkpointAgeSeconds
    self.participants = participants
    self.survivors = survivors
    self.dropped = dropped
    self.noisedEligible = noisedEligible
    self.evidenceRoot = evidenceRoot
    self.evidenceRoots = evidenceRoots
    self.policyHash = policyHash
    self.epsilon = epsilon
    self.delta = delta
    self.unit = unit
    self.mechanism = mechanism
    self.startedMs = startedMs
    self.endedMs = endedMs
    self.result = result
    self.transcriptDigest = transcriptDigest
  }
}
