import Learning
import Privacy

/// The records of a population as `aggregation: off` uses them: features by exact statistics, each node's
/// records encoded when they are needed, or once if they fit into memory and will be needed more than once.
struct CentralData: NodeBatches {
  /// The largest encoded population that is kept, in bytes of features.
  static let largestKept = 512 << 20
  /// The most nodes that the feature statistics are taken from: more hardly move a quantile.
  static let statisticsNodes = 20_000
  /// About how many records the feature statistics are taken from.
  static let statisticsRecords = 200_000
  /// The most nodes whose held-out records are measured.
  static let evaluationNodes = 50_000

  /// The agreed features.
  let pipeline: FeaturePipeline
  /// What is trained.
  let model: Model
  /// What was sampled instead of taken whole.
  let notes: [String]
  private let population: any VirtualPopulation
  private let unit: PrivacyUnit
  /// Who validates instead of training; nil for nobody.
  private let split: ValidationSplit?
  /// Encoded nodes; nil for a population that is not kept.
  private let kept: [TrainingBatch?]?

  init(
    setup: RunSetup, population: any VirtualPopulation, cohort: Int, pool: WorkerPool, reducer: any SumReducer
  )
    throws
  {
    var notes: [String] = []
    let perNode = max(1, population.approximateRecordCount / max(1, population.nodeCount))
    let sample = CohortSampler(seed: setup.seed ^ 0x7374_6174_6973_7473, nodeCount: population.nodeCount)
      .cohort(round: 0, size: min(Self.statisticsNodes, max(100, Self.statisticsRecords / perNode)))
    if sample.count < population.nodeCount {
      notes.append("Features were fitted on a random \(sample.count) of \(population.nodeCount) nodes.")
    }
    if population.nodeCount > Self.evaluationNodes {
      notes.append(
        "Metrics are those of the held-out records of \(Self.evaluationNodes) of \(population.nodeCount) nodes, "
          + "the same in every run.")
    }
    let words = population.schema.columns.filter { $0.kind == .text }.map(\.name)
    if setup.architecture.layout == .bins, !words.isEmpty {
      notes.append("Trees do not learn from columns of words: \(words.joined(separator: ", ")).")
    }
    let split = setup.validationPermille.map {
      ValidationSplit(seed: setup.seed, permille: $0, unit: setup.unit)
    }
    self.split = split
    pipeline =
      setup.architecture.layout == .items
      ? try .items(schema: population.schema)
      : try ExactFeatures(
        population: population, nodes: sample, split: split, pool: pool, reducer: reducer
      ).pipeline(quantileBins: setup.quantileBins)
    model = try Model(architecture: setup.architecture, pipeline: pipeline)
    self.population = population
    unit = setup.unit
    let bytes = population.approximateRecordCount * (model.shape.columns + 1) * 4
    let uses = setup.rounds.multipliedReportingOverflow(by: cohort)
    let isReused = uses.overflow || uses.partialValue >= population.nodeCount
    if bytes <= Self.largestKept, isReused {
      let (pipeline, model, unit) = (pipeline, model, setup.unit)
      kept = try pool.map(population.nodeCount) { node in
        try Self.encode(population.trainingRecords(of: node, split: split), pipeline, model, unit)
      }
      guard kept?.contains(where: { $0 != nil }) == true else { throw CentralRunError.nothingToTrainOn }
    } else {
      kept = nil
    }
    self.notes = notes
  }

  func training(of node: Int) throws -> TrainingBatch? {
    if let kept { return kept[node] }
    return try Self.encode(population.trainingRecords(of: node, split: split), pipeline, model, unit)
  }

  /// The validation records of a node; nil if it has none.
  func validation(of node: Int) throws -> TrainingBatch? {
    guard let split else { return nil }
    let records = try population.records(of: node).filter { !$0.isHeldOut }
    return try Self.encode(split.parts(of: records, node: node).validation, pipeline, model, .node)
  }

  /// The nodes of the population.
  var nodeCount: Int { population.nodeCount }

  /// Contributors that train, on all nodes.
  func contributorCount(pool: WorkerPool) throws -> Int {
    try pool.map(nodeCount) { try training(of: $0)?.contributorCount ?? 0 }.reduce(0, +)
  }

  /// The held-out records of the nodes, or of a sample of them if there are many: the same for every run on the
  /// population, so that the points of a sweep are measured on the same people.
  func heldOut(pool: WorkerPool) throws -> any ModelEvaluation {
    let (pipeline, model, population, nodes) = (pipeline, model, population, evaluationNodes)
    if let recommender = model.implementation as? any Recommender {
      let users = try pool.map(nodes.count) { index -> HeldOutUser? in
        let records = try population.records(of: nodes[index])
        guard let heldOut = try Self.encode(records.filter(\.isHeldOut), pipeline, model, .node) else {
          return nil
        }
        let history = try Self.encode(records.filter { !$0.isHeldOut }, pipeline, model, .node)
        return try HeldOutUser(node: nodes[index], history: history, heldOut: heldOut)
      }.compactMap { $0 }
      return try RecommendationEvaluation(recommender: recommender, users: users)
    }
    let batches = try pool.map(nodes.count) { index -> TrainingBatch? in
      try Self.encode(population.records(of: nodes[index]).filter(\.isHeldOut), pipeline, model, .node)
    }
    return try HeldOutRecords(nodes: nodes, batches: batches, model: model)
  }

  /// The nodes' own models before the first round.
  func personalModels(
    _ method: Personalization, setup: RunSetup, pool: WorkerPool
  ) throws -> any PersonalModels {
    var shares: [Float]?
    if method.descent.isBalanced {
      let (population, split) = (population, split)
      let labels = try pool.map(evaluationNodes.count) { [nodes = evaluationNodes] index in
        try population.trainingRecords(of: nodes[index], split: split).map(\.label)
      }
      shares = try PersonalSettings.classShares(of: labels.joined(), objective: model.objective)
    }
    return try method.models(
      PersonalContext(
        model: model, descent: method.descent, classShares: shares, seed: setup.seed,
        nodeCount: population.nodeCount, clipNorm: setup.clipNorm))
  }

  /// Measures the models of every node that has training and held-out records.
  func measure(
    _ models: any PersonalModels, parameters: [Float], pool: WorkerPool
  ) throws -> PersonalOutcome {
    let (pipeline, model, population, nodes) = (pipeline, model, population, evaluationNodes)
    let split = split
    let outcomes = try pool.map(nodes.count) { index -> PersonalNode? in
      let records = try population.records(of: nodes[index])
      guard
        let training = try Self.encode(
          population.trainingRecords(of: nodes[index], split: split), pipeline, model, .node),
        let heldOut = try Self.encode(records.filter(\.isHeldOut), pipeline, model, .node)
      else { return nil }
      let own = try models.own(of: nodes[index], records: training, global: parameters)
      return PersonalNode(
        global: try model.scores(parameters: parameters, features: heldOut.features),
        personal: try model.scores(parameters: own.parameters, features: heldOut.features),
        labels: heldOut.labels, choice: own.choice)
    }.compactMap { $0 }
    return PersonalNode.outcome(outcomes, objective: model.objective)
  }

  /// The nodes whose held-out records are measured: the same in every run on the population.
  private var evaluationNodes: [Int] {
    CohortSampler(seed: 0x6576_616c_7561_7465, nodeCount: population.nodeCount)
      .cohort(round: 0, size: Self.evaluationNodes)
  }

  /// The contributors of a node's records: adjacent records of one subject, each record, or all together.
  private static func encode(
    _ records: [StoreRecord], _ pipeline: FeaturePipeline, _ model: Model, _ unit: PrivacyUnit
  ) throws -> TrainingBatch? {
    guard !records.isEmpty else { return nil }
    var offsets = [0]
    for index in 1..<records.count {
      let isBoundary =
        switch unit {
        case .customer: records[index].subject != records[index - 1].subject
        case .record: true
        case .node: false
        }
      if isBoundary { offsets.append(index) }
    }
    offsets.append(records.count)
    return try TrainingBatch(
      features: pipeline.encode(records.map(\.values), as: model.shape.layout),
      labels: model.objective.isSegmentation
        ? [Float](repeating: 0, count: records.count) : records.map(\.label),
      contributorOffsets: offsets, objective: model.objective)
  }
}

/// Feature statistics without noise, added up exactly: the same on any number of workers and processes.
struct ExactFeatures {
  let population: any VirtualPopulation
  let nodes: [Int]
  let split: ValidationSplit?
  let pool: WorkerPool
  let reducer: any SumReducer

  /// Standardised values, bins and kept categories, from the training records of the nodes.
  func pipeline(quantileBins: Int) throws -> FeaturePipeline {
    let coarse = CoarseStatistics(schema: population.schema)
    let first = try sum(dimension: coarse.dimension) { try coarse.contribution(of: $0) }
    guard first[coarse.dimension - 1] > 0 else { throw CentralRunError.nothingToTrainOn }
    let bounds = try coarse.decode(sum: first, noiseStdDev: 0, quantileBins: max(quantileBins, 1))
    let fine = try FineStatistics(schema: population.schema, bounds: bounds)
    let second = try sum(dimension: fine.dimension) { try fine.contribution(of: $0) }
    return try fine.decode(sum: second, noiseStdDev: 0, quantileBins: max(quantileBins, 1))
  }

  private func sum(
    dimension: Int, _ contribution: @escaping @Sendable ([RawRecord]) throws -> [Float]
  ) throws -> [Double] {
    let share = Array(nodes.share(of: reducer.rank, among: reducer.ranks))
    let (population, split) = (population, split)
    // Every coordinate is an average of zeros and ones.
    let sums = try pool.map(pool.workers) { _ in SharedSum(dimension: dimension) }
    try pool.run(share.count, chunk: 16) { worker, items in
      for item in items {
        let records = try population.trainingRecords(of: share[item], split: split)
        var first = 0
        for index in records.indices
        where index + 1 == records.count || records[index + 1].subject != records[index].subject {
          let vector = try contribution(records[first...index].map(\.values))
          vector.withUnsafeBufferPointer { sums[worker].sum.add($0) }
          first = index + 1
        }
      }
    }
    for other in sums.dropFirst() { sums[0].sum.add(other.sum) }
    var integers = sums[0].sum.integers
    try reducer.allReduce(&integers)
    return integers.map(sums[0].sum.value)
  }

  private final class SharedSum: @unchecked Sendable {
    // Used by the worker of its number alone, and by the caller when all have returned.
    let sum: ExactSum
    init(dimension: Int) { sum = ExactSum(count: dimension, bound: 2) }
  }
}
