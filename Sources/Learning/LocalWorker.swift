/// What one thread needs to compute a network's updates: allocated once, used for any number of contributors
/// and rounds.
///
/// An update depends on the parameters, the contributor's rows and the seed alone, never on the worker or on
/// what it computed before. Two machines with processors of different kinds may differ in the last bit of a
/// product, since OpenBLAS chooses its kernels by the processor.
package final class LocalWorker: ContributionWorker {
  private let model: NetworkModel
  private let descent: LocalDescent?
  private var gradients: Gradients?

  /// Refuses impossible settings of the algorithm.
  package init(model: NetworkModel, algorithm: LocalAlgorithm) throws(LearningError) {
    try algorithm.validate()
    self.model = model
    descent = algorithm.descent.map { LocalDescent(model: model, settings: $0) }
  }

  /// The worker of a trainer whose model is a network; refuses others, which `LocalTrainer.makeWorker`
  /// serves.
  package convenience init(_ trainer: LocalTrainer) throws(LearningError) {
    guard let model = trainer.model.implementation as? NetworkModel else {
      throw .invalidSetting(name: "a gradient worker", reason: "the model has no gradients")
    }
    try self.init(model: model, algorithm: trainer.algorithm)
  }

  /// Hands the updates of the chosen contributors, in order, to `body`: see `LocalTrainer.forEachUpdate`.
  ///
  /// - Parameter contributors: positions in the batch.
  package func forEachUpdate(
    parameters: [Float], batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try parameters.withUnsafeBufferPointer {
      try forEachContribution(
        parameters: $0, batch: batch, contributors: contributors, seed: seed, body: body)
    }
  }

  /// The same for parameters that are not in an array: threads that share one would spend their time counting
  /// its references.
  package func forEachUpdate(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try forEachContribution(
      parameters: parameters, batch: batch, contributors: contributors, seed: seed, body: body)
  }

  /// Refuses parameters of another length, and batches of another shape or objective.
  package func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try forEachContribution(
      parameters: parameters, batch: batch, contributors: contributors, seed: seed, correction: nil,
      body: body)
  }

  /// The same with a correction of every local step, for SCAFFOLD.
  ///
  /// - Parameter correction: gives what is added to the parameters with every step of a contributor, times the
  ///   learning rate; as many values as parameters, valid until `body` is called for the contributor.
  func forEachContribution(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    correction: ((Int) -> UnsafePointer<Float>)?,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try model.check(count: parameters.count)
    try batch.check(shape: model.shape, objective: model.objective)
    precondition(
      contributors.lowerBound >= 0 && contributors.upperBound <= batch.contributorCount,
      "contributors are positions in the batch")
    guard !contributors.isEmpty, let start = parameters.baseAddress else { return }
    try batch.features.withInputRows { input in
      try batch.labels.withUnsafeBufferPointer { labels in
        try batch.contributorOffsets.withUnsafeBufferPointer { offsets in
          let rows = Rows(input: input, labels: labels.baseAddress!, offsets: offsets, seed: seed)
          guard let descent else { return try forEachGradient(start, rows, contributors, body) }
          for contributor in contributors {
            let first = offsets[contributor]
            let update = descent.displacement(
              from: start, input: input.dropFirst(first), labels: rows.labels + first,
              rows: offsets[contributor + 1] - first, seed: seed, correction: correction?(contributor))
            try body(contributor, update)
          }
        }
      }
    }
  }

  /// The rows of a batch.
  private struct Rows {
    let input: InputRows
    let labels: UnsafePointer<Float>
    let offsets: UnsafeBufferPointer<Int>
    let seed: UInt64
  }

  /// Computes blocks of contributors together, since all of them start from the same parameters.
  private func forEachGradient(
    _ parameters: UnsafePointer<Float>, _ rows: Rows, _ contributors: Range<Int>,
    _ body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    let offsets = rows.offsets
    for block in Self.blocks(offsets: Array(offsets), contributors: contributors) {
      let first = offsets[block.lowerBound]
      let count = offsets[block.upperBound] - first
      let buffers = gradients(rows: count)
      let input = rows.input.dropFirst(first)
      buffers.labels.update(from: rows.labels + first, count: count)
      let keys = model.settings.dropout > 0 ? Self.keys(of: block, rows) : []
      keys.withUnsafeBufferPointer {
        _ = buffers.workspace.forward(parameters: parameters, input: input, rows: count, keys: $0.baseAddress)
      }
      buffers.workspace.backward(parameters: parameters, labels: buffers.labels, rows: count)
      for contributor in block {
        let own = offsets[contributor + 1] - offsets[contributor]
        buffers.update.update(repeating: 0)
        buffers.workspace.addGradient(
          input: input, first: offsets[contributor] - first, rows: own, scale: -1 / Float(own),
          to: buffers.update.baseAddress!)
        try body(contributor, buffers.update)
      }
    }
  }

  /// What dropout draws of, for every row of a block.
  private static func keys(of block: Range<Int>, _ rows: Rows) -> [UInt64] {
    var keys: [UInt64] = []
    for contributor in block {
      let first = rows.offsets[contributor]
      for row in first..<rows.offsets[contributor + 1] {
        let identity = Dropout.identity(of: rows.input, row: row, position: row - first)
        keys.append(Dropout.key(identity: identity, seed: rows.seed, step: 0))
      }
    }
    return keys
  }

  /// Ranges of contributors of about `NetworkModel.blockRows` rows each: never less than one contributor.
  static func blocks(offsets: [Int], contributors: Range<Int>) -> [Range<Int>] {
    var blocks: [Range<Int>] = []
    var start = contributors.lowerBound
    for contributor in contributors
    where contributor > start && offsets[contributor + 1] - offsets[start] > NetworkModel.blockRows {
      blocks.append(start..<contributor)
      start = contributor
    }
    blocks.append(start..<contributors.upperBound)
    return blocks
  }

  private func gradients(rows: Int) -> Gradients {
    if let gradients, gradients.workspace.capacity >= rows { return gradients }
    let made = Gradients(model: model, rows: rows)
    gradients = made
    return made
  }

  /// The memory of FedSGD.
  private final class Gradients {
    let workspace: Workspace
    let labels: UnsafeMutablePointer<Float>
    let update: UnsafeMutableBufferPointer<Float>

    init(model: NetworkModel, rows: Int) {
      workspace = Workspace(network: model, rows: rows)
      labels = VectorKernels.allocate(rows)
      update = UnsafeMutableBufferPointer(
        start: VectorKernels.allocate(model.parameterCount), count: model.parameterCount)
    }

    deinit {
      labels.deallocate()
      update.deallocate()
    }
  }
}
