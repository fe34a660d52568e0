/// Local mini-batch SGD for FedAvg (McMahan et al. 2017), one contributor at a time from the same start.
///
/// The weights of one contributor are changed in place, each step fused into the product that gives its
/// gradient; all memory is allocated once.
final class LocalDescent {
  private let model: Model
  private let batchSize: Int
  private let learningRate: Float
  private let layers: [Layer]
  private let shuffles: LocalShuffles
  private let local: UnsafeMutablePointer<Float>
  private let update: UnsafeMutableBufferPointer<Float>
  private var batch: Batch

  init(model: Model, epochs: Int, batchSize: Int, learningRate: Float) {
    self.model = model
    self.batchSize = batchSize
    self.learningRate = learningRate
    layers = model.architecture.layers(inputs: model.inputs)
    shuffles = LocalShuffles(epochs: epochs)
    local = VectorKernels.allocate(model.parameterCount)
    update = UnsafeMutableBufferPointer(
      start: VectorKernels.allocate(model.parameterCount), count: model.parameterCount)
    batch = Batch(layers: layers, rows: 0)
  }

  deinit {
    local.deallocate()
    update.deallocate()
  }

  /// The displacement of one contributor with the given rows, valid until the next call.
  func displacement(
    from start: UnsafePointer<Float>, features: UnsafePointer<Float>, labels: UnsafePointer<Float>, rows: Int,
    seed: UInt64
  ) -> UnsafeMutableBufferPointer<Float> {
    let capacity = min(batchSize, rows)
    if batch.capacity < capacity { batch = Batch(layers: layers, rows: capacity) }
    local.update(from: start, count: model.parameterCount)
    VectorKernels.fetch(features, count: rows * model.inputs)
    shuffles.forEachEpoch(rows: rows, seed: seed) { order in
      for first in stride(from: 0, to: rows, by: batchSize) {
        let count = min(batchSize, rows - first)
        let scale = -learningRate / Float(count)
        batch.gather(
          order + first, count: count, features: features, labels: labels, copying: layers.count > 1)
        if layers.count == 1 {
          batch.logisticStep(count: count, inputs: model.inputs, scale: scale, parameters: local)
        } else {
          batch.step(count: count, scale: scale, parameters: local)
        }
      }
    }
    VectorKernels.subtract(local, start, count: model.parameterCount, into: update.baseAddress!)
    return update
  }

  /// The rows of one step and what is computed of them.
  private final class Batch {
    let capacity: Int
    private let inputs: Int
    private let workspace: Workspace?
    private let features: UnsafeMutablePointer<Float>
    private let labels: UnsafeMutablePointer<Float>
    private let rows: UnsafeMutablePointer<UnsafePointer<Float>>
    /// Of logistic regression: the logits, then the deltas.
    private let deltas: UnsafeMutablePointer<Float>

    init(layers: [Layer], rows capacity: Int) {
      self.capacity = capacity
      inputs = layers[0].inputs
      let isLogistic = layers.count == 1
      workspace = isLogistic ? nil : Workspace(layers: layers, rows: capacity)
      features = VectorKernels.allocate(isLogistic ? 0 : capacity * inputs)
      labels = VectorKernels.allocate(capacity)
      deltas = VectorKernels.allocate(capacity)
      rows = .allocate(capacity: max(capacity, 1))
      rows.initialize(repeating: UnsafePointer(features), count: max(capacity, 1))
    }

    deinit {
      features.deallocate()
      labels.deallocate()
      deltas.deallocate()
      rows.deallocate()
    }

    /// Finds the chosen rows; products of matrices need them side by side.
    @inline(__always)
    func gather(
      _ order: UnsafePointer<Int32>, count: Int, features source: UnsafePointer<Float>,
      labels sourceLabels: UnsafePointer<Float>, copying: Bool
    ) {
      for row in 0..<count {
        let position = Int(order[row])
        labels[row] = sourceLabels[position]
        if copying {
          (features + row * inputs).update(from: source + position * inputs, count: inputs)
        } else {
          rows[row] = source + position * inputs
        }
      }
    }

    func step(count: Int, scale: Float, parameters: UnsafeMutablePointer<Float>) {
      guard let workspace else { return }
      workspace.forward(parameters: parameters, features: features, rows: count)
      workspace.backward(parameters: parameters, labels: labels, rows: count)
      workspace.addGradient(features: features, first: 0, rows: count, scale: scale, to: parameters)
    }

    func logisticStep(count: Int, inputs: Int, scale: Float, parameters: UnsafeMutablePointer<Float>) {
      VectorKernels.products(
        rows: rows, count: count, length: inputs, weights: parameters, bias: parameters[inputs], into: deltas)
      VectorKernels.logisticDeltas(logits: deltas, labels: labels, count: count, scale: scale, into: deltas)
      VectorKernels.addProducts(rows: rows, factors: deltas, count: count, length: inputs, to: parameters)
      var sum: Float = 0
      for row in 0..<count { sum += deltas[row] }
      parameters[inputs] += sum
    }
  }
}
