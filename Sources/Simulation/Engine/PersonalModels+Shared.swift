import Learning

/// One body for all nodes and a head for each.
final class SharedBodyModels: PersonalModels, @unchecked Sendable {
  // `shared` and `heads` are changed between parallel work alone.
  private let context: PersonalContext
  private let headEpochs: Int?
  private let body: Range<Int>
  /// The body, and the head that nodes start from.
  private var shared: [Float]
  private var heads: [Int: [Float]] = [:]

  init(_ context: PersonalContext, headEpochs: Int?) throws {
    self.context = context
    self.headEpochs = headEpochs
    body = try context.trainer(part: .body).trained
    shared = context.model.initialParameters(seed: context.seed)
    try context.checkMemory(parametersPerNode: shared.count - body.count)
  }

  func train(
    round: Int, cohort: [Int], global: [Float], batches: some NodeBatches, pool: WorkerPool
  ) throws {
    let (context, headEpochs, body) = (context, headEpochs, body)
    let (shared, heads) = (shared, heads)
    let seed = context.seed(round: round)
    let moved = try context.map(cohort, batches, pool) { node, batch -> (body: [Float], head: [Float]) in
      var own = Array(shared[body]) + (heads[node] ?? Array(shared[body.upperBound...]))
      let anchor = shared
      if let headEpochs {
        own = try context.trainer(part: .head, epochs: headEpochs)
          .adapt(from: own, anchor: anchor, batch: batch, seed: seed)
        own = try context.trainer(part: .body).adapt(from: own, anchor: anchor, batch: batch, seed: seed &+ 1)
      } else {
        own = try context.trainer(part: .all).adapt(from: own, anchor: anchor, batch: batch, seed: seed)
      }
      return (body.map { own[$0] - shared[$0] }, Array(own[body.upperBound...]))
    }
    for (node, own) in moved where own.head.allSatisfy(\.isFinite) { self.heads[node] = own.head }
    self.shared = context.moved(shared, by: moved.map(\.result.body), in: body)
  }

  /// The final body with the node's head, trained once more against it.
  func own(
    of node: Int, records: TrainingBatch, global: [Float]
  ) throws -> (parameters: [Float], choice: String) {
    let start = Array(shared[body]) + (heads[node] ?? Array(shared[body.upperBound...]))
    let own = try context.trainer(part: .head, epochs: headEpochs)
      .adapt(from: start, anchor: start, batch: records, seed: context.seed(round: 0))
    return own.allSatisfy(\.isFinite) ? (own, "own") : (start, "own")
  }
}

/// Several models; each node belongs to the one that fits its records best.
final class ClusteredModels: PersonalModels, @unchecked Sendable {
  /// How far the models of a linear kind, which start from zeros, are from each other.
  private static let spread: Float = 0.05
  // `clusters` is changed between parallel work alone.
  private let context: PersonalContext
  private var clusters: [[Float]]

  init(_ context: PersonalContext, count: Int) {
    self.context = context
    clusters = (0..<count).map { cluster in
      var generator = SplitMix64(seed: context.seed ^ 0x636c_7573_7465_7273 &+ UInt64(cluster))
      let start = context.model.initialParameters(seed: generator.next())
      return start.allSatisfy { $0 == 0 } ? start.map { _ in Self.spread * generator.nextSymmetric() } : start
    }
  }

  /// The model with the lowest loss, the first of equals.
  private static func best(
    _ clusters: [[Float]], _ batch: TrainingBatch, _ context: PersonalContext
  ) throws -> Int {
    var (best, lowest) = (0, Double.infinity)
    for (index, parameters) in clusters.enumerated() {
      let loss = try context.loss(parameters, batch)
      if loss < lowest { (best, lowest) = (index, loss) }
    }
    return best
  }

  func train(
    round: Int, cohort: [Int], global: [Float], batches: some NodeBatches, pool: WorkerPool
  ) throws {
    let (context, clusters) = (context, clusters)
    let seed = context.seed(round: round)
    let moved = try context.map(cohort, batches, pool) { _, batch -> (cluster: Int, displacement: [Float]) in
      let chosen = try Self.best(clusters, batch, context)
      let start = clusters[chosen]
      let own = try context.trainer().adapt(from: start, anchor: start, batch: batch, seed: seed)
      return (chosen, zip(own, start).map { $0 - $1 })
    }
    for index in clusters.indices {
      let own = moved.filter { $0.result.cluster == index }.map(\.result.displacement)
      self.clusters[index] = context.moved(clusters[index], by: own, in: clusters[index].indices)
    }
  }

  func own(
    of node: Int, records: TrainingBatch, global: [Float]
  ) throws -> (parameters: [Float], choice: String) {
    let chosen = try Self.best(clusters, records, context)
    return (clusters[chosen], "cluster \(chosen + 1)")
  }
}
