/// Local mini-batch SGD for FedAvg (McMahan et al. 2017), one contributor at a time from the same start.
struct LocalDescent {
  let model: Model
  let epochs: Int
  let batchSize: Int
  let learningRate: Float
  let seed: UInt64

  /// Hands every contributor's displacement to `body`.
  func forEachUpdate(
    parameters: [Float], batch: TrainingBatch, body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    let offsets = batch.contributorOffsets
    let most = zip(offsets, offsets.dropFirst()).map { $1 - $0 }.max() ?? 0
    let capacity = min(batchSize, most)
    let buffers = Buffers(model: model, rows: capacity)
    var order: [Int] = []
    order.reserveCapacity(most)
    try parameters.withUnsafeBufferPointer { start in
      try batch.features.values.withUnsafeBufferPointer { features in
        try batch.labels.withUnsafeBufferPointer { labels in
          for contributor in 0..<batch.contributorCount {
            order.removeAll(keepingCapacity: true)
            order.append(contentsOf: offsets[contributor]..<offsets[contributor + 1])
            buffers.local.update(from: start.baseAddress!, count: start.count)
            descend(order: &order, features: features.baseAddress!, labels: labels.baseAddress!, buffers)
            for index in start.indices { buffers.update[index] = buffers.local[index] - start[index] }
            try body(contributor, buffers.update)
          }
        }
      }
    }
  }

  private func descend(
    order: inout [Int], features: UnsafePointer<Float>, labels: UnsafePointer<Float>, _ buffers: Buffers
  ) {
    var generator = SplitMix64(seed: seed)
    let width = model.inputs
    for _ in 0..<epochs {
      generator.shuffle(&order)
      for first in stride(from: 0, to: order.count, by: batchSize) {
        let rows = min(batchSize, order.count - first)
        for row in 0..<rows {
          let source = order[first + row]
          (buffers.features + row * width).update(from: features + source * width, count: width)
          buffers.labels[row] = labels[source]
        }
        buffers.workspace.forward(parameters: buffers.local, features: buffers.features, rows: rows)
        buffers.workspace.backward(parameters: buffers.local, labels: buffers.labels, rows: rows)
        buffers.workspace.gradient(
          features: buffers.features, first: 0, rows: rows, scale: -learningRate / Float(rows),
          into: buffers.update.baseAddress!)
        for index in buffers.update.indices { buffers.local[index] += buffers.update[index] }
      }
    }
  }

  /// Everything a contributor needs, allocated once per round.
  private final class Buffers {
    let workspace: Workspace
    let features: UnsafeMutablePointer<Float>
    let labels: UnsafeMutablePointer<Float>
    let local: UnsafeMutablePointer<Float>
    let update: UnsafeMutableBufferPointer<Float>

    init(model: Model, rows: Int) {
      workspace = Workspace(layers: model.architecture.layers(inputs: model.inputs), rows: rows)
      features = .allocate(capacity: rows * model.inputs)
      labels = .allocate(capacity: rows)
      local = .allocate(capacity: model.parameterCount)
      update = .allocate(capacity: model.parameterCount)
    }

    deinit {
      features.deallocate()
      labels.deallocate()
      local.deallocate()
      update.deallocate()
    }
  }
}
