#if canImport(Glibc)
  import Glibc
#endif

/// Computes users' contributions on one thread: see `NeuralRecommender`.
final class NeuralRecommenderWorker: ContributionWorker {
  private let model: NeuralRecommender
  private let layout: NeuralRecommenderLayout
  private let reconstruction: UserReconstruction
  private var rows: InteractionRows
  private let contribution: UnsafeMutableBufferPointer<Float>
  private var positions: [Int32] = []

  init(model: NeuralRecommender) {
    self.model = model
    layout = model.layout
    reconstruction = UserReconstruction(model: model)
    rows = InteractionRows(model: model)
    let count = layout.contributionLength
    contribution = UnsafeMutableBufferPointer(start: VectorKernels.allocate(count), count: count)
  }

  deinit { contribution.deallocate() }

  var support: [Int32]? { positions }

  /// - Throws: `LearningError` for rows of another shape, unknown items or impossible labels, before any
  ///   contributor was handed out.
  func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    guard parameters.count == layout.parameterCount, let values = parameters.baseAddress else {
      throw LearningError.wrongCount(
        what: "the parameter vector", expected: layout.parameterCount, actual: parameters.count)
    }
    try batch.check(shape: model.shape, objective: model.objective)
    precondition(
      contributors.lowerBound >= 0 && contributors.upperBound <= batch.contributorCount,
      "contributors are positions in the batch")
    guard !contributors.isEmpty else { return }
    let offsets = batch.contributorOffsets
    try model.checkInteractions(
      items: batch.features.values, labels: batch.labels,
      rows: offsets[contributors.lowerBound]..<offsets[contributors.upperBound])
    for contributor in contributors {
      rows.read(
        items: batch.features.values, labels: batch.labels,
        range: offsets[contributor]..<offsets[contributor + 1], seed: seed)
      rows.divide(queryShare: model.settings.queryShare)
      clear()
      collectSupport()
      contribution[layout.shareOffset] = NeuralRecommender.shareScale
      addGradient(values)
      try body(contributor, contribution)
    }
  }

  /// Zeros wherever the vector before this one was not.
  private func clear() {
    for position in positions { contribution[Int(position)] = 0 }
    positions.removeAll(keepingCapacity: true)
  }

  /// The initial user, the items of the query rows, the perceptron and the constant.
  private func collectSupport() {
    positions.append(contentsOf: 0..<Int32(layout.width))
    rows.forEachQueryItem { item in
      let start = Int32(layout.itemOffset(item))
      positions.append(contentsOf: start..<start + Int32(layout.width))
    }
    positions.append(contentsOf: Int32(layout.networkOffset)...Int32(layout.shareOffset))
  }

  private func addGradient(_ parameters: UnsafePointer<Float>) {
    guard rows.count > 0, let target = contribution.baseAddress else { return }
    let settings = model.settings
    rows.withSupportAndQuery { support, query in
      reconstruction.solve(parameters: parameters, rows: support)
      let (user, errors) = (reconstruction.user, reconstruction.errors)
      let scale = pow(Float(query.count), -settings.rowExponent)
      for index in 0..<layout.width {
        let ridge = index == 0 ? settings.userBiasRegularization : settings.userRegularization
        target[index] = scale * ridge * (user[index] - parameters[index])
      }
      for first in stride(from: 0, to: query.count, by: InteractionBlock.capacity) {
        let count = min(InteractionBlock.capacity, query.count - first)
        reconstruction.evaluate(parameters, query, first: first, at: user)
        reconstruction.block.differentiate(parameters: parameters)
        VectorKernels.scale(errors, count: count, by: scale)
        reconstruction.block.addGradient(
          parameters: parameters, user: user, items: query.items + first, errors: errors, to: target)
      }
    }
  }
}

/// One user's rows with what they ask the model to predict, and for implicit feedback drawn items besides.
struct InteractionRows {
  private let model: NeuralRecommender
  private var items: [Int32] = []
  private var targets: [Float] = []
  private var generator = SplitMix64(seed: 0)
  /// Where the query rows begin; those before are for reconstruction. 0: all are for both.
  private var queryStart = 0
  /// The last mark of each item.
  private var marks: [UInt32]
  private var mark: UInt32 = 0

  init(model: NeuralRecommender) {
    self.model = model
    marks = [UInt32](repeating: 0, count: model.items)
  }

  /// How many there are.
  var count: Int { items.count }

  /// Takes the rows of one user, which are valid.
  ///
  /// - Parameter seed: of the drawn items and of the division; mixed with the rows, so that users draw
  ///   different ones.
  mutating func read(items numbers: [Float], labels: [Float], range: Range<Int>, seed: UInt64) {
    items.removeAll(keepingCapacity: true)
    targets.removeAll(keepingCapacity: true)
    queryStart = 0
    var mixed = seed
    for row in range {
      var step = SplitMix64(seed: mixed ^ UInt64(numbers[row].bitPattern))
      mixed = step.next()
    }
    generator = SplitMix64(seed: mixed)
    switch model.settings.feedback {
    case .explicit:
      let (center, halfWidth) = model.settings.ratingScale
      for row in range {
        items.append(Int32(numbers[row]))
        targets.append((labels[row] - center) / halfWidth)
      }
    case .implicit(let negatives):
      nextMark()
      for row in range where labels[row] > 0 {
        items.append(Int32(numbers[row]))
        targets.append(1)
        marks[Int(numbers[row])] = mark
      }
      for _ in 0..<negatives * items.count {
        let item = Int(generator.next().multipliedFullWidth(by: UInt64(marks.count)).high)
        guard marks[item] != mark else { continue }
        items.append(Int32(item))
        targets.append(0)
      }
    }
  }

  /// Shuffles the rows and keeps the share, rounded, for the query; at least one row on either side, but none
  /// of a single row.
  mutating func divide(queryShare: Float) {
    guard queryShare > 0, count > 1 else { return }
    for last in stride(from: count - 1, to: 0, by: -1) {
      let pick = Int(generator.next().multipliedFullWidth(by: UInt64(last + 1)).high)
      items.swapAt(last, pick)
      targets.swapAt(last, pick)
    }
    let query = Int((Float(count) * queryShare).rounded())
    queryStart = count - min(max(query, 1), count - 1)
  }

  /// Each item of the query rows once.
  mutating func forEachQueryItem(_ body: (Int) -> Void) {
    nextMark()
    for item in items[queryStart...] where marks[Int(item)] != mark {
      marks[Int(item)] = mark
      body(Int(item))
    }
  }

  func withSupportAndQuery(_ body: (UserReconstruction.Rows, UserReconstruction.Rows) -> Void) {
    items.withUnsafeBufferPointer { items in
      targets.withUnsafeBufferPointer { targets in
        guard let items = items.baseAddress, let targets = targets.baseAddress else { return }
        let query = UserReconstruction.Rows(
          items: items + queryStart, targets: targets + queryStart, count: count - queryStart)
        let support = UserReconstruction.Rows(
          items: items, targets: targets, count: queryStart == 0 ? count : queryStart)
        body(support, query)
      }
    }
  }

  private mutating func nextMark() {
    if mark == .max {
      for index in marks.indices { marks[index] = 0 }
      mark = 0
    }
    mark += 1
  }
}
