import Learning

/// A user with what is known of them and what is to be predicted.
struct HeldOutUser: Sendable {
  let node: Int
  let history: InteractionHistory
  let items: [Int]
  let labels: [Float]

  /// - Throws: `LearningError` for what is no number of an item.
  init(node: Int, history: TrainingBatch?, heldOut: TrainingBatch) throws {
    self.node = node
    self.history =
      try history.map {
        try InteractionHistory(items: Self.items($0), labels: $0.labels)
      } ?? .empty
    items = try Self.items(heldOut)
    labels = heldOut.labels
  }

  private static func items(_ batch: TrainingBatch) throws(LearningError) -> [Int] {
    try batch.features.values.enumerated().map { row, value throws(LearningError) in
      guard let item = Int(exactly: value) else {
        throw .invalidSetting(
          name: "row \(row) of the interactions", reason: "its item must be a whole number")
      }
      return item
    }
  }
}

/// Exact metrics of a recommender: errors of predicted ratings, or the first ten of all items that the user does not
/// have, against those that the user took. Every user's factor is reconstructed from their own history.
struct RecommendationEvaluation: ModelEvaluation {
  private static let places = 10
  private let recommender: any Recommender
  private let users: [HeldOutUser]

  /// - Throws: `CentralRunError.nothingHeldOut` without users.
  init(recommender: any Recommender, users: [HeldOutUser]) throws {
    guard !users.isEmpty else { throw CentralRunError.nothingHeldOut }
    self.recommender = recommender
    self.users = users
  }

  private struct Measured: Sendable {
    var predictions: [Float] = []
    var ranking: RankingMetrics?
  }

  func measure(
    parameters: [Float], pool: WorkerPool, nodeName: ((Int) -> String)?
  ) throws -> (all: RunOutcome.Metrics, nodes: [RunOutcome.Node]) {
    let (recommender, users) = (recommender, users)
    let measured = try pool.map(users.count) { index in
      try Self.measure(users[index], recommender, parameters)
    }
    let all = metrics(Array(zip(users, measured)))
    guard let nodeName else { return (all, []) }
    let nodes = zip(users, measured).prefix(RunOutcome.maximumNodes).map { user, own in
      RunOutcome.Node(node: user.node, name: nodeName(user.node), metrics: metrics([(user, own)]))
    }
    return (all, nodes)
  }

  private static func measure(
    _ user: HeldOutUser, _ recommender: any Recommender, _ parameters: [Float]
  ) throws -> Measured {
    guard let ratings = recommender.ratings else {
      let ranked = try recommender.topItems(
        parameters: parameters, history: user.history, count: places, excluding: Set(user.history.items))
      let relevant = Set(zip(user.items, user.labels).filter { $0.1 > 0 }.map(\.0))
      return Measured(ranking: RankingMetrics(ranked: ranked, relevant: relevant, k: places))
    }
    let scores = try recommender.scores(
      parameters: parameters, history: user.history, candidates: user.items)
    return Measured(predictions: scores.map { min(max($0, ratings.lowerBound), ratings.upperBound) })
  }

  private func metrics(_ users: [(HeldOutUser, Measured)]) -> RunOutcome.Metrics {
    if recommender.ratings != nil {
      return RunOutcome.Metrics(
        objective: .squaredError, scores: users.flatMap(\.1.predictions), labels: users.flatMap(\.0.labels))
    }
    let rankings = users.compactMap(\.1.ranking)
    var metrics = RunOutcome.Metrics(records: rankings.count)
    let mean = RankingMetrics.mean(of: rankings)
    metrics.recallAt10 = mean?.recall
    metrics.ndcgAt10 = mean?.ndcg
    return metrics
  }
}
