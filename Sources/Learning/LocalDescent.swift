/// Local mini-batch SGD for FedAvg (McMahan et al. 2017), one contributor at a time from the same start, with
/// what `LocalSettings` add to it.
///
/// The weights of one contributor are changed in place, each step fused into the product that gives its
/// gradient; all memory is allocated once.
final class LocalDescent {
  private let model: NetworkModel
  private let settings: LocalSettings
  private let shuffles: LocalShuffles
  private let local: UnsafeMutablePointer<Float>
  private let update: UnsafeMutableBufferPointer<Float>
  private var batch: Batch

  init(model: NetworkModel, settings: LocalSettings) {
    self.model = model
    self.settings = settings
    shuffles = LocalShuffles(epochs: settings.epochs)
    local = VectorKernels.allocate(model.parameterCount)
    update = UnsafeMutableBufferPointer(
      start: VectorKernels.allocate(model.parameterCount), count: model.parameterCount)
    batch = Batch(model: model, rows: 0)
  }

  deinit {
    local.deallocate()
    update.deallocate()
  }

  /// The displacement of one contributor with the given rows, valid until the next call.
  ///
  /// - Parameter correction: what is added to the parameters with every step, times the learning rate (cᵢ − c
  ///   of SCAFFOLD).
  func displacement(
    from start: UnsafePointer<Float>, input: InputRows, labels: UnsafePointer<Float>, rows: Int, seed: UInt64,
    correction: UnsafePointer<Float>? = nil
  ) -> UnsafeMutableBufferPointer<Float> {
    let (batchSize, learningRate) = (settings.batchSize, settings.learningRate)
    let pull = -learningRate * settings.proximal
    let capacity = min(batchSize, rows)
    if batch.capacity < capacity { batch = Batch(model: model, rows: capacity) }
    local.update(from: start, count: model.parameterCount)
    VectorKernels.fetch(input.dense, count: rows * input.columns)
    let identities =
      model.settings.dropout > 0
      ? (0..<rows).map { Dropout.identity(of: input, row: $0, position: $0) } : nil
    var step = 0
    shuffles.forEachEpoch(rows: rows, seed: seed) { order in
      for first in stride(from: 0, to: rows, by: batchSize) {
        let count = min(batchSize, rows - first)
        batch.gather(order + first, count: count, input: input, labels: labels)
        if let identities { batch.setKeys(order + first, count: count, identities, seed: seed, step: step) }
        // The first step starts where the pull leads to.
        let isPulled = pull < 0 && step > 0
        if isPulled {
          VectorKernels.subtract(local, start, count: model.parameterCount, into: update.baseAddress!)
        }
        batch.step(count: count, scale: -learningRate / Float(count), parameters: local)
        if isPulled { add(update.baseAddress!, times: pull, to: local) }
        if let correction { add(correction, times: learningRate, to: local) }
        step += 1
      }
    }
    VectorKernels.subtract(local, start, count: model.parameterCount, into: update.baseAddress!)
    if let factor = settings.factor(steps: step) {
      VectorKernels.scale(update.baseAddress!, count: model.parameterCount, by: factor)
    }
    return update
  }

  /// parameters += factor · distance
  private func add(
    _ distance: UnsafePointer<Float>, times factor: Float, to parameters: UnsafeMutablePointer<Float>
  ) {
    withUnsafePointer(to: distance) { row in
      withUnsafePointer(to: factor) {
        VectorKernels.addProducts(
          rows: row, factors: $0, count: 1, length: model.parameterCount, to: parameters)
      }
    }
  }

  /// The rows of one step and what is computed of them.
  private final class Batch {
    let capacity: Int
    private let inputs: Int
    private let objective: Objective
    /// Nil for a single dense layer with one output, whose rows need no copy.
    private let copied: (rows: GatheredRows, workspace: Workspace)?
    private let labels: UnsafeMutablePointer<Float>
    private let rows: UnsafeMutablePointer<UnsafePointer<Float>>
    private let keys: UnsafeMutablePointer<UInt64>
    private var hasKeys = false
    /// Of a single layer: the scores, then the deltas.
    private let deltas: UnsafeMutablePointer<Float>

    init(model: NetworkModel, rows capacity: Int) {
      self.capacity = capacity
      inputs = model.shape.columns
      objective = model.objective
      let isDirect =
        model.layers.count == 1 && model.objective.outputs == 1 && model.shape.sparseColumns == 0
      copied =
        isDirect
        ? nil
        : (
          GatheredRows(columns: inputs, capacity: capacity), Workspace(network: model, rows: capacity)
        )
      labels = VectorKernels.allocate(isDirect ? capacity : 0)
      deltas = VectorKernels.allocate(isDirect ? capacity : 0)
      rows = .allocate(capacity: max(capacity, 1))
      rows.initialize(repeating: UnsafePointer(labels), count: max(capacity, 1))
      keys = .allocate(capacity: max(capacity, 1))
      keys.initialize(repeating: 0, count: max(capacity, 1))
    }

    deinit {
      labels.deallocate()
      deltas.deallocate()
      rows.deallocate()
      keys.deallocate()
    }

    /// Finds the chosen rows; products of matrices need them side by side.
    @inline(__always)
    func gather(
      _ order: UnsafePointer<Int32>, count: Int, input: InputRows, labels sourceLabels: UnsafePointer<Float>
    ) {
      if let copied {
        return copied.rows.gather(order, count: count, input: input, labels: sourceLabels)
      }
      for row in 0..<count {
        let position = Int(order[row])
        labels[row] = sourceLabels[position]
        rows[row] = input.dense + position * inputs
      }
    }

    /// What dropout draws of in this step.
    func setKeys(
      _ order: UnsafePointer<Int32>, count: Int, _ identities: [UInt64], seed: UInt64, step: Int
    ) {
      hasKeys = true
      for row in 0..<count {
        keys[row] = Dropout.key(identity: identities[Int(order[row])], seed: seed, step: step)
      }
    }

    @inline(__always)
    func step(count: Int, scale: Float, parameters: UnsafeMutablePointer<Float>) {
      guard let (gathered, workspace) = copied else {
        return directStep(count: count, scale: scale, parameters: parameters)
      }
      let input = gathered.input
      workspace.forward(
        parameters: parameters, input: input, rows: count, keys: hasKeys ? UnsafePointer(keys) : nil)
      workspace.backward(parameters: parameters, labels: gathered.labels, rows: count)
      workspace.addGradient(input: input, first: 0, rows: count, scale: scale, to: parameters)
    }

    private func directStep(count: Int, scale: Float, parameters: UnsafeMutablePointer<Float>) {
      VectorKernels.products(
        rows: rows, count: count, length: inputs, weights: parameters, bias: parameters[inputs], into: deltas)
      if objective == .binary {
        VectorKernels.logisticDeltas(logits: deltas, labels: labels, count: count, scale: scale, into: deltas)
      } else {
        objective.deltas(scores: deltas, labels: labels, rows: count, into: deltas)
        VectorKernels.scale(deltas, count: count, by: scale)
      }
      VectorKernels.addProducts(rows: rows, factors: deltas, count: count, length: inputs, to: parameters)
      var sum: Float = 0
      for row in 0..<count { sum += deltas[row] }
      parameters[inputs] += sum
    }
  }
}
