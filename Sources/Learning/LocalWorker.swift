/// What one thread needs to compute updates: allocated once, used for any number of contributors and rounds.
///
/// An update depends on the parameters, the contributor's rows and the seed alone, never on the worker or on
/// what it computed before. Two machines with processors of different kinds may differ in the last bit of a
/// product, since OpenBLAS chooses its kernels by the processor.
package final class LocalWorker {
  /// What the worker computes.
  package let trainer: LocalTrainer
  private let descent: LocalDescent?
  private var gradients: Gradients?

  /// Refuses impossible settings of the algorithm.
  package init(_ trainer: LocalTrainer) throws(LearningError) {
    try trainer.algorithm.validate()
    self.trainer = trainer
    switch trainer.algorithm {
    case .fedSGD: descent = nil
    case .fedAvg(let epochs, let batchSize, let learningRate):
      descent = LocalDescent(
        model: trainer.model, epochs: epochs, batchSize: batchSize, learningRate: learningRate)
    }
  }

  /// Hands the updates of the chosen contributors, in order, to `body`: see `LocalTrainer.forEachUpdate`.
  ///
  /// - Parameter contributors: positions in the batch.
  package func forEachUpdate(
    parameters: [Float], batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    try trainer.model.check(parameters: parameters)
    try parameters.withUnsafeBufferPointer {
      try forEachUpdate(parameters: $0, batch: batch, contributors: contributors, seed: seed, body: body)
    }
  }

  /// The same for parameters that are not in an array: threads that share one would spend their time counting its
  /// references.
  package func forEachUpdate(
    parameters: UnsafeBufferPointer<Float>, batch: TrainingBatch, contributors: Range<Int>, seed: UInt64,
    body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    let width = trainer.model.inputs
    guard let start = parameters.baseAddress, parameters.count == trainer.model.parameterCount else {
      throw LearningError.wrongCount(
        what: "the parameter vector", expected: trainer.model.parameterCount, actual: parameters.count)
    }
    guard batch.features.columns == width else {
      throw LearningError.wrongCount(
        what: "a row of features", expected: width, actual: batch.features.columns)
    }
    precondition(
      contributors.lowerBound >= 0 && contributors.upperBound <= batch.contributorCount,
      "contributors are positions in the batch")
    guard !contributors.isEmpty else { return }
    try batch.features.values.withUnsafeBufferPointer { features in
      try batch.labels.withUnsafeBufferPointer { labels in
        try batch.contributorOffsets.withUnsafeBufferPointer { offsets in
          let rows = Rows(
            features: features.baseAddress!, labels: labels.baseAddress!, width: width, offsets: offsets)
          guard let descent else { return try forEachGradient(start, rows, contributors, body) }
          for contributor in contributors {
            let first = offsets[contributor]
            let update = descent.displacement(
              from: start, features: rows.features + first * width, labels: rows.labels + first,
              rows: offsets[contributor + 1] - first, seed: seed)
            try body(contributor, update)
          }
        }
      }
    }
  }

  /// The rows of a batch.
  private struct Rows {
    let features: UnsafePointer<Float>
    let labels: UnsafePointer<Float>
    let width: Int
    let offsets: UnsafeBufferPointer<Int>
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
      let features = rows.features + first * rows.width
      buffers.labels.update(from: rows.labels + first, count: count)
      buffers.workspace.forward(parameters: parameters, features: features, rows: count)
      buffers.workspace.backward(parameters: parameters, labels: buffers.labels, rows: count)
      for contributor in block {
        let own = offsets[contributor + 1] - offsets[contributor]
        buffers.update.update(repeating: 0)
        buffers.workspace.addGradient(
          features: features, first: offsets[contributor] - first, rows: own, scale: -1 / Float(own),
          to: buffers.update.baseAddress!)
        try body(contributor, buffers.update)
      }
    }
  }

  /// Ranges of contributors of about `Model.blockRows` rows each: never less than one contributor.
  static func blocks(offsets: [Int], contributors: Range<Int>) -> [Range<Int>] {
    var blocks: [Range<Int>] = []
    var start = contributors.lowerBound
    for contributor in contributors
    where contributor > start && offsets[contributor + 1] - offsets[start] > Model.blockRows {
      blocks.append(start..<contributor)
      start = contributor
    }
    blocks.append(start..<contributors.upperBound)
    return blocks
  }

  private func gradients(rows: Int) -> Gradients {
    if let gradients, gradients.workspace.capacity >= rows { return gradients }
    let made = Gradients(model: trainer.model, rows: rows)
    gradients = made
    return made
  }

  /// The memory of FedSGD.
  private final class Gradients {
    let workspace: Workspace
    let labels: UnsafeMutablePointer<Float>
    let update: UnsafeMutableBufferPointer<Float>

    init(model: Model, rows: Int) {
      workspace = Workspace(layers: model.architecture.layers(inputs: model.inputs), rows: rows)
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
