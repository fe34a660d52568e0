/// Records that may be used for one purpose now. The only way to one is `admit`, which decides for every
/// subject from its events: training takes nothing else.
package struct ConsentedBatch<Record: Sendable>: Sendable {
  /// A subject whose consent is in force, with its records.
  package struct Subject: Sendable {
    /// The node's own name for the subject.
    package let subjectID: String
    /// The subject's tag in the log.
    package let tag: SubjectTag
    /// Why it was admitted.
    package let decision: ConsentDecision
    /// Its records, at least one.
    package let records: [Record]
  }

  /// What the records may be used for.
  package let purpose: Purpose
  /// When it was decided, ms of UTC since 1970.
  package let decidedAtMs: Int64
  /// The admitted subjects, in the order of the candidates.
  package let subjects: [Subject]
  /// How many candidates were not admitted.
  package let deniedCount: Int

  fileprivate init(purpose: Purpose, decidedAtMs: Int64, subjects: [Subject], deniedCount: Int) {
    self.purpose = purpose
    self.decidedAtMs = decidedAtMs
    self.subjects = subjects
    self.deniedCount = deniedCount
  }
}

/// A subject that asks to be admitted: its events in the log, and its records.
package struct Candidate<Record: Sendable>: Sendable {
  /// The node's own name for the subject.
  package let subjectID: String
  /// The subject's tag; nil when nothing was ever recorded about it.
  package let tag: SubjectTag?
  /// Everything that the log says about the tag.
  package let events: [IndexedEvent]
  /// The subject's records.
  package let records: [Record]
  /// What the node knows about the subject beside the log.
  package let circumstances: Circumstances

  /// Names a subject with everything that is known about it.
  package init(
    subjectID: String, tag: SubjectTag?, events: [IndexedEvent], records: [Record],
    circumstances: Circumstances = Circumstances()
  ) {
    self.subjectID = subjectID
    self.tag = tag
    self.events = events
    self.records = records
    self.circumstances = circumstances
  }
}

/// The gate: admits exactly the candidates whose events permit the purpose under the policy now. A candidate
/// without a tag or with events of another subject is denied.
/// - Parameter acceptsSilence: whether those take part whom an opt-out regime permits without an answer.
package func admit<Record: Sendable>(
  _ candidates: [Candidate<Record>], purpose: Purpose, policy: Policy, acceptsSilence: Bool = true,
  nowMs: Int64
) -> ConsentedBatch<Record> {
  var decider = PolicyDecider(policy: policy, purpose: purpose)
  return admit(candidates, purpose: purpose, nowMs: nowMs) { candidate in
    let decision = decider.decide(
      events: candidate.events, circumstances: candidate.circumstances, nowMs: nowMs)
    return acceptsSilence ? decision : decision.withoutSilence
  }
}

/// The gate for callers that know the regime and have no policy: rules 2 to 5 alone.
package func admit<Record: Sendable>(
  _ candidates: [Candidate<Record>], purpose: Purpose, regime: Regime, nowMs: Int64,
  policy: DecisionRules = DecisionRules()
) -> ConsentedBatch<Record> {
  admit(candidates, purpose: purpose, nowMs: nowMs) { candidate in
    decide(events: candidate.events, purpose: purpose, regime: regime, nowMs: nowMs, policy: policy)
  }
}

private func admit<Record: Sendable>(
  _ candidates: [Candidate<Record>], purpose: Purpose, nowMs: Int64,
  deciding decision: (Candidate<Record>) -> ConsentDecision
) -> ConsentedBatch<Record> {
  var subjects: [ConsentedBatch<Record>.Subject] = []
  for candidate in candidates where !candidate.records.isEmpty {
    guard let tag = candidate.tag, candidate.events.allSatisfy({ $0.event.subject == tag }) else {
      continue
    }
    let decision = decision(candidate)
    guard decision.permitted else { continue }
    subjects.append(
      ConsentedBatch.Subject(
        subjectID: candidate.subjectID, tag: tag, decision: decision, records: candidate.records))
  }
  return ConsentedBatch(
    purpose: purpose, decidedAtMs: nowMs, subjects: subjects,
    deniedCount: candidates.count - subjects.count)
}
