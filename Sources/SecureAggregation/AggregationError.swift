package import Cryptography

/// Why a step of secure aggregation was refused. Payloads are identifiers, positions and counts, never
/// keys, shares or inputs. Nothing was sent and no state changed when one of these is thrown.
package enum AggregationError: Error, Equatable, Sendable {
  /// A field of `AggregationParameters`.
  package enum Parameter: String, Sendable {
    case sessionID = "session identifier length"
    case dimension
    case ringBits = "ring width"
    case minimumCohort = "minimum cohort"
    case minimumSurvivors = "minimum number of survivors"
    case corruptPermille = "corrupt fraction in thousandths"
    case degree = "degree of the sparse graph"
    case threshold = "threshold of the sparse graph"
  }

  /// What is wrong with the form of a message.
  package enum Defect: String, Sendable {
    case wrongSize = "a field has the wrong size"
    case wrongEntries = "its entries are not exactly those that belong there"
    case indexOutOfRange = "an index lies outside the roster"
    case notAscending = "its indices are not strictly ascending"
    case selfAddressed = "it contains a share that is addressed to its own sender"
    case nonCanonicalScalar = "a share is not a canonical scalar"
    case nonZeroPadding = "the unused bits at its end are not zero"
  }

  /// A parameter lies outside its range: correct the round descriptor.
  case invalidParameter(Parameter, value: Int, minimum: Int, maximum: Int)
  /// A call that does not belong to the current step.
  case wrongStep(called: AggregationStep, current: AggregationStep)
  /// Secrets were wiped by `abort()`: this session is over for this participant.
  case aborted
  /// A repeated call with another argument than the first time: answering it would void the masks.
  case conflictingRetry(AggregationStep)
  /// The roster is smaller than n_min.
  case cohortTooSmall(count: Int, minimum: Int)
  /// The roster is larger than the graph allows.
  case cohortTooLarge(count: Int, maximum: Int)
  /// Degree and threshold do not protect a cohort of this size with the probability that is demanded.
  case graphTooWeak(cohort: Int, degree: Int, threshold: Int)
  /// A call or message of the other graph.
  case graphMismatch
  /// More participants drew the one named than an honest draw gives: somebody is being crowded.
  case inDegreeTooLarge(ParticipantID, count: Int, maximum: Int)
  /// The processor has no instructions for the key-stream suite of the descriptor.
  case suiteUnavailable(KeyStreamSuite)
  /// Fewer participants are alive at a step than the threshold or T_min asks for.
  case tooFewAlive(AggregationStep, count: Int, needed: Int)
  /// Fewer valid signatures on the survivor list than the quorum.
  case quorumTooSmall(count: Int, needed: Int)
  /// The signatures shown are not those that the server's claim committed to.
  case quorumNotCommitted
  /// A participant that the operator did not enrol.
  case notEnrolled(ParticipantID)
  /// A participant that is not in the roster, or not alive at this step.
  case unknownParticipant(ParticipantID, AggregationStep)
  /// An identity occurs twice in the roster.
  case duplicateParticipant(ParticipantID)
  /// The roster is not sorted by identity; the participant named is out of place.
  case rosterNotSorted(ParticipantID)
  /// The root published with the roster is not the root of its members.
  case rosterRootMismatch
  /// An opened advertisement is not that of the participant named.
  case openingRejected(ParticipantID)
  /// The roster lacks this participant's own advertisement.
  case ownAdvertisementMissing
  /// The roster contains another advertisement under this participant's identity.
  case ownAdvertisementSubstituted
  /// A list lacks this participant although its message of the step was sent.
  case ownEntryMissing(AggregationStep)
  /// A list contains something under this participant's identity that it did not send.
  case ownEntrySubstituted(AggregationStep)
  /// A signature does not verify.
  case badSignature(ParticipantID, AggregationStep)
  /// A public key that no honest participant has: a point of small order, an encoding that is not canonical,
  /// or somebody else's key.
  case unusableKey(ParticipantID)
  /// A message was made for another roster.
  case wrongRoster(ParticipantID)
  /// A message of a participant is malformed.
  case malformed(ParticipantID, AggregationStep, Defect)
  /// A list sent by the server is malformed.
  case malformedList(AggregationStep, Defect)
  /// A sealed share does not open: it was changed, or sealed for somebody else or another session.
  case shareRejected(ParticipantID)
  /// The server declares a survivor that never shared (roster index).
  case survivorNotSharer(index: Int)
  /// The server names other sharers at the end than when the input was masked.
  case sharersChanged
  /// A second, different message of the same step.
  case conflictingDuplicate(ParticipantID, AggregationStep)
  /// A message that arrived after its step was closed: it is discarded.
  case late(ParticipantID, AggregationStep)
  /// An input or an upload of another length than the parameters ask for.
  case wrongInputLength(expected: Int, actual: Int)
  /// An input value outside the ring.
  case inputOutOfRing(index: Int)
  /// A packed input has non-zero bits behind its last value.
  case nonZeroPadding
  /// Too few consistent shares to recover a secret of the participant named: the round is lost.
  case unrecoverable(dealer: ParticipantID, shares: Int, needed: Int)
  /// No ring of up to 32 bits can hold the sum without a risk of wrapping.
  case ringTooNarrow(neededMagnitude: Int64)
  /// A bound, variance or dimension from which no ring width can be chosen.
  case invalidBound
}

extension AggregationError: CustomStringConvertible {
  /// A sentence for people.
  package var description: String {
    switch self {
    case .invalidParameter(let parameter, let value, let minimum, let maximum):
      "the \(parameter.rawValue) is \(value) but must be \(minimum) to \(maximum)"
        + (parameter == .ringBits ? ", one of \(RingWidth.all)" : "")
    case .wrongStep(let called, let current):
      "a call of step “\(called.rawValue)” is not possible in step “\(current.rawValue)”"
    case .aborted: "this aggregation was aborted and its secrets are wiped; wait for the next round"
    case .conflictingRetry(let step):
      "step “\(step.rawValue)” was repeated with other contents than the first time and is refused"
    case .cohortTooSmall(let count, let minimum):
      "the cohort has \(count) participants but at least \(minimum) are required"
    case .cohortTooLarge(let count, let maximum):
      "the cohort has \(count) participants but at most \(maximum) are possible"
    case .tooFewAlive(let step, let count, let needed):
      "only \(count) participants are alive in step “\(step.rawValue)” but \(needed) are needed"
    case .quorumTooSmall(let count, let needed):
      "only \(count) participants signed the same survivor list but \(needed) are needed"
    case .graphTooWeak(let cohort, let degree, let threshold):
      "a graph of degree \(degree) with threshold \(threshold) does not protect a cohort of \(cohort)"
        + " well enough; ask for the parameters of that size or a larger cohort"
    case .quorumNotCommitted:
      "the signatures on the survivor list are not those that the server had committed to"
    case .graphMismatch: "the message belongs to another kind of neighbour graph than this session's"
    case .suiteUnavailable(let suite):
      "this processor has no instructions for the key stream \(suite.rawValue); use chacha20"
    case .ringTooNarrow(let magnitude):
      "the sum can reach \(magnitude), which no ring of up to 32 bits holds: lower the scale, clip or cohort"
    case .invalidBound: "a ring width needs a bound ≥ 0, a finite variance ≥ 0 and a dimension ≥ 1"
    case .wrongInputLength(let expected, let actual):
      "the input must have \(expected) bytes or values but has \(actual)"
    case .inputOutOfRing(let index): "the input value at position \(index) does not fit the ring"
    case .nonZeroPadding: "the packed input has non-zero bits after its last value"
    default: peerDescription
    }
  }

  private var peerDescription: String {
    switch self {
    case .notEnrolled(let id): "participant \(short(id)) is not enrolled"
    case .unknownParticipant(let id, let step):
      "participant \(short(id)) does not take part in step “\(step.rawValue)”"
    case .duplicateParticipant(let id): "participant \(short(id)) occurs twice in the roster"
    case .rosterNotSorted(let id): "the roster is not sorted at participant \(short(id))"
    case .rosterRootMismatch: "the roster's root does not belong to its members"
    case .openingRejected(let id):
      "the opened advertisement of participant \(short(id)) belongs to somebody else"
    case .inDegreeTooLarge(let id, let count, let maximum):
      "\(count) participants drew \(short(id)) as neighbour but at most \(maximum) can by chance"
    case .ownAdvertisementMissing: "the roster lacks our own advertisement"
    case .ownAdvertisementSubstituted: "the roster contains a forged advertisement in our name"
    case .ownEntryMissing(let step): "the server's list of step “\(step.rawValue)” lacks our own entry"
    case .ownEntrySubstituted(let step):
      "the server's list of step “\(step.rawValue)” contains a forged entry in our name"
    case .badSignature(let id, let step):
      "the signature of participant \(short(id)) in step “\(step.rawValue)” does not verify"
    case .unusableKey(let id):
      "participant \(short(id)) advertised an unusable key: of small order, not canonical or taken"
    case .wrongRoster(let id): "participant \(short(id)) answered to another roster"
    case .malformed(let id, let step, let defect):
      "the message of participant \(short(id)) in step “\(step.rawValue)” is malformed: \(defect.rawValue)"
    case .malformedList(let step, let defect):
      "the server's list of step “\(step.rawValue)” is malformed: \(defect.rawValue)"
    case .shareRejected(let id): "the sealed share of participant \(short(id)) does not open"
    case .survivorNotSharer(let index): "roster index \(index) is declared a survivor but never shared"
    case .sharersChanged: "the server changed the list of sharers after inputs were masked"
    case .conflictingDuplicate(let id, let step):
      "participant \(short(id)) sent two different messages in step “\(step.rawValue)”"
    case .late(let id, let step):
      "the message of participant \(short(id)) arrived after step “\(step.rawValue)” was closed"
    case .unrecoverable(let id, let shares, let needed):
      "the secrets of participant \(short(id)) cannot be recovered: no \(needed) consistent shares"
        + " among \(shares); abort the round"
    default: "secure aggregation was refused"
    }
  }

  private func short(_ id: ParticipantID) -> String { "\(id.hex.prefix(16))…" }
}
