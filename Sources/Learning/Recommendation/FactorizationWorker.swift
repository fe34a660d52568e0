/// Computes users' contributions on one thread: see `MatrixFactorization`.
final class FactorizationWorker: ContributionWorker {
  private let model: MatrixFactorization
  private let layout: FactorizationLayout
  private let solver: UserSolver
  private let contribution: UnsafeMutableBufferPointer<Float>

  init(model: MatrixFactorization) {
    self.model = model
    layout = model.layout
    solver = UserSolver(model: model)
    let most = max(layout.contributionLength(isStart: false), layout.contributionLength(isStart: true))
    contribution = UnsafeMutableBufferPointer(start: VectorKernels.allocate(most), count: most)
  }

  deinit { contribution.deallocate() }

  /// - Throws: `LearningError` for rows of another shape, unknown items or impossible labels, before any
  ///   contributor was handed out.
  func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    guard parameters.count == layout.parameterCount else {
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
    let isStart = parameters[layout.stageOffset] < Float(model.settings.startRounds)
    if !isStart { solver.prepare(parameters: parameters) }
    try batch.features.values.withUnsafeBufferPointer { items in
      try batch.labels.withUnsafeBufferPointer { labels in
        for contributor in contributors {
          let first = offsets[contributor]
          let rows = Rows(
            items: items.baseAddress! + first, labels: labels.baseAddress! + first,
            count: offsets[contributor + 1] - first)
          let length = layout.contributionLength(isStart: isStart)
          let vector = UnsafeMutableBufferPointer(rebasing: contribution[..<length])
          vector.update(repeating: 0)
          if isStart {
            addStart(of: rows, to: vector)
          } else {
            try addGradient(of: rows, parameters, to: vector)
          }
          try body(contributor, vector)
        }
      }
    }
  }

  /// A user's rows.
  private struct Rows {
    let items: UnsafePointer<Float>
    let labels: UnsafePointer<Float>
    let count: Int
  }

  /// The weight of each item, the sum of its ratings, and the constant.
  private func addStart(of rows: Rows, to vector: UnsafeMutableBufferPointer<Float>) {
    vector[layout.startShareOffset] = MatrixFactorization.startScale
    for row in 0..<rows.count {
      let item = Int(rows.items[row])
      let (weight, target) = model.settings.weightAndTarget(label: rows.labels[row])
      vector[item] += MatrixFactorization.startScale * weight
      if layout.isExplicit { vector[layout.items + item] += MatrixFactorization.startScale * target }
    }
  }

  /// Minus the gradient by the items of the user's interactions, and the Gram entry.
  private func addGradient(
    of rows: Rows, _ parameters: UnsafeBufferPointer<Float>, to vector: UnsafeMutableBufferPointer<Float>
  ) throws(LearningError) {
    guard solver.solve(parameters: parameters, items: rows.items, labels: rows.labels, rows: rows.count)
    else {
      throw .nonFiniteValue(what: "a reconstructed user factor")
    }
    let (user, width) = (solver.user, layout.width)
    for row in 0..<rows.count {
      let (weight, target) = model.settings.weightAndTarget(label: rows.labels[row])
      guard weight > 0 else { continue }
      let item = Int(rows.items[row])
      let values = parameters.baseAddress! + layout.itemOffset + item * width
      var error = target - parameters[layout.meanOffset] - user[0] - values[0]
      for index in 1..<width { error -= user[index] * values[index] }
      let gradient = vector.baseAddress! + item * width
      gradient[0] += weight * error
      for index in 1..<width { gradient[index] += weight * error * user[index] }
    }
    // With √2 off the diagonal the entries have the matrix's own (Frobenius) norm.
    var index = layout.gramOffset
    for row in 0..<width {
      let left: Float = row == 0 ? 1 : user[row]
      for column in row..<width {
        let right: Float = column == 0 ? 1 : user[column]
        vector[index] = left * right * (row == column ? 1 : Float(2).squareRoot())
        index += 1
      }
    }
  }
}
