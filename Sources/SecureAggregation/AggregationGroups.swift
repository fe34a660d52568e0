package import Cryptography
import Foundation

/// A cohort as G disjoint groups, each of which runs a secure aggregation of its own.
///
/// One participant that uploads garbage then spoils the sum of its group and no other, and the sums can be
/// compared (`RobustCombination`). Every contributor is in exactly one group, so the releases of a round
/// compose in parallel: together they cost a contributor what one release costs. Secure aggregation alone
/// is not differential privacy: each group's sum needs noise enough of its own, since it is published on
/// its own.
///
/// A participant's group follows from the session identifier and its identity, so everybody can check its
/// own group and that of every member. Nobody chooses it, but a server may try descriptors until it likes
/// the groups; `corruptLimit` allows for 2^40 tries.
package struct GroupPlan: Sendable, Hashable {
  /// Every group has at least this many members that are neither corrupt nor dropped: the sum of fewer
  /// would be somebody's input.
  package static let leastHonest = 2
  /// log2 of the probability that some group holds more corrupt members than `corruptLimit`: 2^-41 after
  /// 2^40 tries.
  package static let log2Failure = -81.0

  /// The session identifier of the whole round.
  package let sessionID: Digest
  /// The number of groups, G.
  package let groups: Int

  /// A plan of `groups` groups.
  ///
  /// - Throws: `groupCountOutOfRange` below 1 or above half of the largest cohort.
  package init(sessionID: Digest, groups: Int) throws(GraphParameterError) {
    self.sessionID = sessionID
    self.groups = groups
    try GroupPlan.check(groups: groups, cohort: GraphParameters.cohorts.upperBound)
  }

  /// The group of a participant: ⌊h·G/2^64⌋, h the first 8 bytes, little endian, of
  /// BLAKE2b("accord/secagg/1/group", sid, id). No group is likelier than another by more than 2^-64.
  package func group(of id: ParticipantID) -> Int {
    let digest = Hash.blake2b(domain: "accord/secagg/1/group", [sessionID.bytes, id.bytes])
    let word = digest.bytes.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    return Int(word.multipliedFullWidth(by: UInt64(groups)).high)
  }

  /// The session identifier of a group's own aggregation:
  /// BLAKE2b("accord/secagg/1/group-session", sid, G, g), numbers as 8 bytes, little endian.
  package func sessionID(ofGroup group: Int) -> Digest {
    precondition((0..<groups).contains(group), "a plan has sessions for its own groups")
    return Hash.blake2b(
      domain: "accord/secagg/1/group-session",
      [sessionID.bytes, GroupPlan.bytes(groups), GroupPlan.bytes(group)])
  }

  /// The members of every group, in the order given.
  package func partition(_ ids: [ParticipantID]) -> [[ParticipantID]] {
    var members = [[ParticipantID]](repeating: [], count: groups)
    for id in ids { members[group(of: id)].append(id) }
    return members
  }

  private static func bytes(_ number: Int) -> [UInt8] {
    withUnsafeBytes(of: UInt64(number).littleEndian) { Array($0) }
  }

  private static func check(groups: Int, cohort: Int) throws(GraphParameterError) {
    let maximum = cohort / leastHonest
    guard (1...maximum).contains(groups) else {
      throw .groupCountOutOfRange(count: groups, maximum: maximum)
    }
  }

  /// What a group of a certain size needs, so that it is safe on its own.
  package struct Requirement: Sendable, Hashable {
    /// Members of the group, m.
    package let groupSize: Int
    /// The most corrupt members, c.
    package let corruptLimit: Int
    /// c as a fraction of the group in thousandths, rounded up: the corrupt fraction with which the
    /// group's own quorum is computed.
    package let corruptPermille: Int
    /// T_min of the group: m less the drop-outs.
    package let minimumSurvivors: Int
    /// Survivors whose noise counts: T_min - c. Each adds the total variance divided by this number.
    package let honestSurvivors: Int
  }

  /// The smallest c such that a group of `groupSize` holds more than c corrupt members with probability at
  /// most 2^-81/G.
  ///
  /// Group and corrupt members are independent, so their number is hypergeometric: `groupSize` drawn from
  /// the cohort, ⌊gamma·n⌋ of it corrupt. That holds if the server could not pick the cohort by group:
  /// if everybody who is enrolled is invited, or the invitations precede the session identifier. Otherwise
  /// it could leave out honest members of one group, or invite the corrupt of one group. For that case
  /// give `enrolled`: whatever the selection, group g then has at most as many corrupt members as there
  /// are among all enrolled, a binomial number of ⌊gamma·enrolled⌋ with 1/G each; the larger limit counts.
  ///
  /// - Parameters:
  ///   - groupSize: members of the group, at most `cohort`.
  ///   - cohort: members of all groups, n.
  ///   - corruptPermille: gamma in thousandths, 0 to 333.
  ///   - groups: G.
  ///   - enrolled: identities among which the server chooses, at least `cohort`; nil if it does not.
  /// - Throws: `cohortOutOfRange`, `fractionOutOfRange`, `groupCountOutOfRange`.
  package static func corruptLimit(
    groupSize: Int, cohort: Int, corruptPermille: Int, groups: Int, enrolled: Int? = nil
  ) throws(GraphParameterError) -> Int {
    let law = try GroupLaw(
      cohort: cohort, corruptPermille: corruptPermille, groups: groups, enrolled: enrolled)
    try checkSize(groupSize, cohort: cohort)
    return law.limit(groupSize: groupSize)
  }

  /// Checks that a group is safe, and says what it needs.
  ///
  /// Safe means: fewer than a third of it can be corrupt (so that ⌊2m/3⌋ + 1 shares are beyond them), the
  /// survivors reach the quorum, and at least `leastHonest` of them are honest. A group that is larger than
  /// the complete graph allows needs parameters of its own with `corruptPermille`.
  ///
  /// - Parameters:
  ///   - group: the group's number, for the error.
  ///   - dropoutPermille: how much of a group may drop out, in thousandths, 0 to 333.
  /// - Throws: `groupTooSmall` and what `corruptLimit` throws.
  package static func requirement(
    group: Int, groupSize: Int, cohort: Int, corruptPermille: Int, dropoutPermille: Int, groups: Int,
    enrolled: Int? = nil
  ) throws(GraphParameterError) -> Requirement {
    let law = try GroupLaw(
      cohort: cohort, corruptPermille: corruptPermille, groups: groups, enrolled: enrolled)
    try checkDropout(dropoutPermille)
    try checkSize(groupSize, cohort: cohort)
    if let found = law.requirement(groupSize: groupSize, dropoutPermille: dropoutPermille) { return found }
    let limit = law.limit(groupSize: groupSize)
    let needed = law.minimumSize(dropoutPermille: dropoutPermille) ?? cohort + 1
    throw .groupTooSmall(
      group: group, count: groupSize, corruptLimit: limit, needed: max(needed, groupSize + 1))
  }

  /// n_min of every group: the smallest size that is safe. A larger one may still fall short where c is
  /// rounded up, so members check the size that their group has with `requirement`.
  ///
  /// - Throws: `groupTooSmall` if not even the whole cohort as one of `groups` groups is, and what
  ///   `corruptLimit` throws.
  package static func minimumGroupSize(
    cohort: Int, corruptPermille: Int, dropoutPermille: Int, groups: Int, enrolled: Int? = nil
  ) throws(GraphParameterError) -> Int {
    let law = try GroupLaw(
      cohort: cohort, corruptPermille: corruptPermille, groups: groups, enrolled: enrolled)
    try checkDropout(dropoutPermille)
    guard let size = law.minimumSize(dropoutPermille: dropoutPermille) else {
      throw .groupTooSmall(
        group: 0, count: cohort, corruptLimit: law.limit(groupSize: cohort), needed: cohort + 1)
    }
    return size
  }

  private static func checkSize(_ size: Int, cohort: Int) throws(GraphParameterError) {
    guard (0...cohort).contains(size) else {
      throw .cohortOutOfRange(count: size, minimum: 0, maximum: cohort)
    }
  }

  private static func checkDropout(_ permille: Int) throws(GraphParameterError) {
    let maximum = GraphParameters.maximumPermille
    guard (0...maximum).contains(permille) else {
      throw .fractionOutOfRange(.dropout, permille: permille, maximum: maximum)
    }
  }

  /// How many members of a group are corrupt.
  private struct GroupLaw {
    let cohort: Int
    let corrupt: Int
    let bound: Double
    let factorials: LogFactorials
    /// The limit that holds for every selection of the cohort, 0 if the server does not select.
    let selected: Int

    init(
      cohort: Int, corruptPermille: Int, groups: Int, enrolled: Int?
    ) throws(GraphParameterError) {
      let cohorts = GraphParameters.cohorts
      for (count, minimum) in [(cohort, cohorts.lowerBound), (enrolled ?? cohort, cohort)] {
        guard (minimum...max(minimum, cohorts.upperBound)).contains(count), cohorts.contains(count) else {
          throw .cohortOutOfRange(count: count, minimum: minimum, maximum: cohorts.upperBound)
        }
      }
      let maximum = GraphParameters.maximumPermille
      guard (0...maximum).contains(corruptPermille) else {
        throw .fractionOutOfRange(.corrupt, permille: corruptPermille, maximum: maximum)
      }
      try GroupPlan.check(groups: groups, cohort: cohort)
      self.cohort = cohort
      corrupt = cohort * corruptPermille / 1000
      bound = GroupPlan.log2Failure * (1 + 1e-9) * log(2) - log(Double(groups))
      factorials = LogFactorials(upTo: enrolled ?? cohort)
      selected =
        enrolled.map { [factorials, bound] in
          GroupLaw.binomialQuantile(
            count: $0 * corruptPermille / 1000, groups: groups, bound: bound, factorials: factorials)
        } ?? 0
    }

    func limit(groupSize: Int) -> Int {
      let drawn = Hypergeometric(
        population: cohort, marked: corrupt, draws: groupSize, factorials: factorials
      ).upperQuantile(bound)
      return min(groupSize, max(drawn, min(selected, corrupt)))
    }

    func requirement(groupSize size: Int, dropoutPermille: Int) -> Requirement? {
      guard size > 0 else { return nil }
      let limit = limit(groupSize: size)
      let permille = (1000 * limit + size - 1) / size
      let survivors = size - size * dropoutPermille / 1000
      // The quorum as the group computes it, from the fraction that was rounded up.
      let quorum = (size + size * permille / 1000) / 2 + 1
      guard permille <= GraphParameters.maximumPermille, survivors >= quorum,
        survivors - limit >= GroupPlan.leastHonest
      else { return nil }
      return Requirement(
        groupSize: size, corruptLimit: limit, corruptPermille: permille, minimumSurvivors: survivors,
        honestSurvivors: survivors - limit)
    }

    /// Sizes are doubled up to one that is safe; the answer lies in the interval before it, since safety
    /// only wavers with the rounding of c.
    func minimumSize(dropoutPermille: Int) -> Int? {
      func isSafe(_ size: Int) -> Bool {
        requirement(groupSize: size, dropoutPermille: dropoutPermille) != nil
      }
      var size = GroupPlan.leastHonest
      while !isSafe(size) {
        guard size < cohort else { return nil }
        size = min(2 * size, cohort)
      }
      return (size / 2...size).first(where: isSafe)
    }

    /// The smallest c such that more than c of `count` fall into one of `groups` with a probability whose
    /// logarithm is at most `bound`.
    static func binomialQuantile(
      count: Int, groups: Int, bound: Double, factorials: LogFactorials
    ) -> Int {
      guard groups > 1 else { return count }
      let inside = -log(Double(groups))
      let outside = log1p(-1 / Double(groups))
      var sum = LogSum()
      for value in stride(from: count, through: 0, by: -1) {
        sum.add(factorials.choose(count, value) + Double(value) * inside + Double(count - value) * outside)
        if sum.value > bound { return value }
      }
      return 0
    }
  }
}
