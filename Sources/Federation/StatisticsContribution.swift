package import Consent
package import Cryptography
import Privacy

/// The segment of one question.
enum StatisticsShape {
  /// The segment, without noise, on a grid of `scale` units per unit of the query.
  static func segment(
    _ index: Int, query: StatisticsQuery, task: StatisticsSpecification, scale: Int64
  ) throws(FederationError) -> Segment {
    guard let sensitivity = query.sensitivity.scaled(by: scale) else {
      throw .invalidTask(
        field: "question \(task.questions[index].name)",
        reason: "lets a contributor add too much; lower recordsPerContributor or resolution")
    }
    return Segment(
      name: .query(index), length: query.dimension, population: task.population,
      clipNorm: Double(query.sensitivity.l2Squared).squareRoot(), scale: Double(scale), noiseVariance: 0,
      sensitivity: sensitivity)
  }

  /// The sessions that a query still needs.
  static func rounds(_ query: StatisticsQuery) -> Int {
    guard case .heavyHitters(let search) = query else { return 1 }
    return search.totalRounds - search.round
  }

  /// The most coordinates that a query's vector has in any session.
  static func largestDimension(_ query: StatisticsQuery) -> Int {
    guard case .heavyHitters(let search) = query else { return query.dimension }
    return search.maximumPrefixes << search.bitsPerRound
  }
}

/// Builds the vector of a statistics task: per contributor and question a vector of bounded integers
/// (`StatisticsQuery`), summed over the node's contributors.
package struct StatisticsContribution: ContributionBuilding {
  private let task: StatisticsSpecification
  private let descriptor: RoundDescriptor
  private let queries: [StatisticsQuery]

  /// Checks that the descriptor's vector is the one that task and state ask for, and that its noise does not
  /// cost more than the operator's budget.
  package init(
    task: StatisticsSpecification, descriptor: RoundDescriptor, state: StatisticsState
  ) throws(FederationError) {
    self.task = task
    self.descriptor = descriptor
    var queries: [StatisticsQuery] = []
    for segment in descriptor.segments {
      guard case .query(let index) = segment.name, index < task.questions.count else {
        throw SegmentShape.foreign(segment.name)
      }
      guard let query = try state.pending(index, of: task) else {
        throw .mismatch(
          what: "segment \(segment.name.rawValue)", expected: "an open question", actual: "answered already")
      }
      guard let scale = Int64(exactly: segment.scale), scale >= 1 else {
        throw .mismatch(
          what: "the scale of segment \(segment.name.rawValue)", expected: "a whole number",
          actual: "\(segment.scale)")
      }
      var expected = try StatisticsShape.segment(index, query: query, task: task, scale: scale)
      expected.noiseVariance = segment.noiseVariance
      guard expected == segment else {
        throw .mismatch(
          what: "segment \(segment.name.rawValue)", expected: "\(expected)", actual: "\(segment)")
      }
      queries.append(query)
    }
    self.queries = queries
    try Self.checkCost(descriptor, task)
  }

  /// No session may cost more than the whole task.
  private static func checkCost(
    _ descriptor: RoundDescriptor, _ task: StatisticsSpecification
  ) throws(FederationError) {
    do {
      var account = BudgetAccount(budget: task.budget)
      for segment in descriptor.segments { try account.debit(segment.privacyEvent()) }
    } catch {
      throw .policy(
        .weaker(
          parameter: "the noise of the statistics", offered: "\(error)",
          required: "epsilon \(task.budget.epsilon) at delta \(task.budget.delta)"))
    }
  }

  /// The node's integer sums over the whole vector, without noise.
  package func build(
    training: ConsentedBatch<LabelledRecord>?, heldOut: ConsentedBatch<LabelledRecord>?,
    random: inout RandomStream
  ) throws(FederationError) -> [Int64] {
    let contributors = Contributors(
      terms: task, maximum: descriptor.maximumContributors, training: training, heldOut: heldOut)
    try contributors.checkPurpose()
    // One choice for all questions: an answer about the same people.
    let subjects = try contributors.records(of: task.population, random: &random)
    var vector: [Int64] = []
    vector.reserveCapacity(descriptor.dimension)
    for (segment, query) in zip(descriptor.segments, queries) {
      guard case .query(let index) = segment.name else { continue }
      let question = task.questions[index]
      let scale = Int64(segment.scale)
      var sums = [Int64](repeating: 0, count: segment.length)
      for subject in subjects {
        let records = question.records(of: subject.map(\.values), schema: task.schema)
        let contribution = try component("question \(question.name)") {
          try query.encode(records, random: &random)
        }
        for index in sums.indices { sums[index] += contribution[index] * scale }
      }
      vector.append(contentsOf: sums)
    }
    return vector
  }
}
