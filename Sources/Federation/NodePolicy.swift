package import Consent
package import Cryptography
package import Privacy
import SecureAggregation

/// A node's own rules, in its `policy.json`. A session with weaker parameters is refused whatever the
/// server or the operator says.
package struct NodePolicy: Codable, Sendable, Equatable {
  /// Purposes that this node trains for.
  package var purposes: Set<String>
  /// Regimes under which this node trains. Opt-out would train on those who never answered.
  package var regimes: Set<Regime>
  /// Most that any of this node's contributors may spend, over all tasks and purposes.
  package var budget: PrivacyBudget
  /// Fewest nodes in a cohort.
  package var minimumCohort: Int
  /// Fewest nodes in a released sum.
  package var minimumSurvivors: Int
  /// Smallest fraction of colluding nodes, in thousandths, that noise must be sized for.
  package var minimumCorruptPermille: Int
  /// Fewest consenting contributors of this node before it takes part.
  package var minimumContributors: Int
  /// Oldest consent checkpoint, seconds.
  package var maximumCheckpointAgeSeconds: Int
  /// Other witnesses that must lately have seen the ledger as this node sees it; nil means none.
  package var witnessQuorum: Int?
  /// Seconds between two canaries: a made-up customer agrees, withdraws, and must be denied in time. Nil means
  /// an hour, 0 none.
  package var canarySeconds: Int?
  /// Key-stream suites that this node masks with; nil allows all that its processor has.
  package var keyStreams: Set<String>?

  package init(
    purposes: Set<String>, regimes: Set<Regime> = [.optIn], budget: PrivacyBudget, minimumCohort: Int = 3,
    minimumSurvivors: Int = 2,
    minimumCorruptPermille: Int = 0, minimumContributors: Int = 1,
    maximumCheckpointAgeSeconds: Int = 60, witnessQuorum: Int? = nil, canarySeconds: Int? = nil,
    keyStreams: Set<String>? = nil
  ) {
    self.purposes = purposes
    self.regimes = regimes
    self.budget = budget
    self.minimumCohort = minimumCohort
    self.minimumSurvivors = minimumSurvivors
    self.minimumCorruptPermille = minimumCorruptPermille
    self.minimumContributors = minimumContributors
    self.maximumCheckpointAgeSeconds = maximumCheckpointAgeSeconds
    self.witnessQuorum = witnessQuorum
    self.canarySeconds = canarySeconds
    self.keyStreams = keyStreams
  }

  /// The suites that this node can and may mask with.
  package var suites: [KeyStreamSuite] {
    KeyStreamSuite.allCases.filter { $0.isAvailable && keyStreams?.contains($0.rawValue) != false }
  }

  /// Checks what does not depend on data or budget. `now` in milliseconds.
  package func check(
    _ descriptor: RoundDescriptor, task: any TaskTerms, federation: String, lastSession: UInt64,
    now: UInt64
  ) throws(FederationError) {
    guard descriptor.federation == federation else {
      throw .mismatch(
        what: "the federation", expected: federation, actual: descriptor.federation)
    }
    guard purposes.contains(task.purpose) else { throw .policy(.purpose(task.purpose)) }
    guard regimes.contains(task.regime) else {
      throw .policy(
        .weaker(
          parameter: "the regime of consent", offered: task.regime.rawValue,
          required: regimes.map(\.rawValue).sorted().joined(separator: " or ")))
    }
    guard descriptor.sessionNumber > lastSession else {
      throw .policy(.replayedSession(number: descriptor.sessionNumber, last: lastSession))
    }
    let issued = descriptor.issuedAtMilliseconds
    // The server may have written any number: the difference is taken so that none of them overflows.
    let age = now > issued ? now - issued : issued - now
    guard age <= SignedRequest.clockToleranceMilliseconds else {
      throw .policy(
        .weaker(
          parameter: "the age of the descriptor", offered: "\(now > issued ? "" : "-")\(age / 1000) s",
          required: "\(SignedRequest.clockToleranceMilliseconds / 1000) s"))
    }
    try atLeast("minimumCohort", descriptor.minimumCohort, minimumCohort)
    try atLeast("minimumSurvivors", descriptor.minimumSurvivors, minimumSurvivors)
    try atLeast("corruptPermille", descriptor.corruptPermille, minimumCorruptPermille)
    guard suites.contains(descriptor.suite) else {
      throw .policy(
        .weaker(
          parameter: "the key stream", offered: descriptor.suite.rawValue,
          required: suites.isEmpty
            ? "key streams, none of which this processor has (keyStreams in policy.json: "
              + "\((keyStreams ?? []).sorted().joined(separator: ", ")))"
            : suites.map(\.rawValue).joined(separator: " or ")))
    }
    try checkAgainst(task, descriptor)
  }

  /// The server must run the task that the operator signed, not a weaker one.
  private func checkAgainst(
    _ task: any TaskTerms, _ descriptor: RoundDescriptor
  ) throws(FederationError) {
    try atLeast("minimumCohort", descriptor.minimumCohort, task.minimumCohort)
    try atLeast("minimumSurvivors", descriptor.minimumSurvivors, task.minimumSurvivors)
    try atLeast("corruptPermille", descriptor.corruptPermille, task.corruptPermille)
    guard descriptor.groups == task.groups ?? 1 else {
      throw .mismatch(
        what: "the number of groups", expected: "\(task.groups ?? 1)", actual: "\(descriptor.groups)")
    }
    guard descriptor.unit == task.unit else {
      throw .mismatch(
        what: "the unit of privacy", expected: task.unit.rawValue, actual: descriptor.unit.rawValue)
    }
    guard descriptor.maximumContributors == task.maximumContributors else {
      throw .mismatch(
        what: "maximumContributors", expected: "\(task.maximumContributors)",
        actual: "\(descriptor.maximumContributors)")
    }
    // No cohort is smaller than this one, so an honest server's ring holds at least this much.
    let smallest = max(descriptor.minimumCohort, descriptor.graph.minimumCohort)
    try checkRing(descriptor, cohort: smallest)
  }

  /// The ring must hold the real cohort; asked again when the roster is known.
  package func checkRing(_ descriptor: RoundDescriptor, cohort: Int) throws(FederationError) {
    let needed = try VectorPlan(descriptor.segments).ringBits(
      cohort: cohort, maximumContributors: descriptor.maximumContributors,
      minimumSurvivors: try descriptor.assuredSurvivors(cohort: cohort),
      corruptPermille: descriptor.corruptPermille)
    try atLeast("ringBits", descriptor.ringBits, needed)
  }

  /// A group of a cohort may hold a larger corrupt fraction than the cohort: the descriptor's must be at
  /// least what a group of this size needs when the server chooses among `enrolled` nodes.
  package func checkGroup(
    _ descriptor: RoundDescriptor, task: any TaskTerms, size: Int, enrolled: Int
  ) throws(FederationError) {
    guard descriptor.groups > 1 else { return }
    let needed = try component("groups") {
      try GroupPlan.requirement(
        group: 0, groupSize: size, cohort: max(enrolled, size),
        corruptPermille: max(task.corruptPermille, minimumCorruptPermille),
        dropoutPermille: task.dropoutPermille, groups: descriptor.groups, enrolled: max(enrolled, size))
    }
    try atLeast("corruptPermille", descriptor.corruptPermille, needed.corruptPermille)
  }

  private func atLeast(_ name: String, _ offered: Int, _ required: Int) throws(FederationError) {
    guard offered >= required else {
      throw .policy(.weaker(parameter: name, offered: "\(offered)", required: "\(required)"))
    }
  }
}
