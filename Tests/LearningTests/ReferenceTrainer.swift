@testable import Learning

/// Local training once more, in double precision, record by record, with plain loops: what the fast path must
/// agree with.
struct ReferenceTrainer {
  let architecture: ModelArchitecture
  let inputs: Int

  /// The gradient of the mean log loss of the chosen rows.
  func gradient(_ parameters: [Double], _ batch: TrainingBatch, rows: [Int]) -> [Double] {
    let layers = architecture.layers(inputs: inputs)
    var gradient = [Double](repeating: 0, count: parameters.count)
    for row in rows {
      var values = [batch.features.values[row * inputs..<(row + 1) * inputs].map(Double.init)]
      for (index, layer) in layers.enumerated() {
        let sums = (0..<layer.outputs).map { unit in
          (0..<layer.inputs).reduce(parameters[layer.biasOffset + unit]) {
            $0 + values[index][$1] * parameters[layer.weightOffset + $1 * layer.outputs + unit]
          }
        }
        values.append(index < layers.count - 1 ? sums.map { max($0, 0) } : sums)
      }
      let logit = values[layers.count][0]
      var deltas = [1 / (1 + Self.exponential(-logit)) - Double(batch.labels[row])]
      for (index, layer) in layers.enumerated().reversed() {
        var below = [Double](repeating: 0, count: layer.inputs)
        for unit in 0..<layer.outputs {
          gradient[layer.biasOffset + unit] += deltas[unit] / Double(rows.count)
          for input in 0..<layer.inputs {
            let position = layer.weightOffset + input * layer.outputs + unit
            gradient[position] += values[index][input] * deltas[unit] / Double(rows.count)
            below[input] += parameters[position] * deltas[unit]
          }
        }
        deltas = zip(below, values[index]).map { index > 0 && $1 <= 0 ? 0 : $0 }
      }
    }
    return gradient
  }

  /// The update of one contributor.
  func update(
    _ algorithm: LocalAlgorithm, _ start: [Float], _ batch: TrainingBatch, contributor: Int, seed: UInt64
  ) -> [Float] {
    let rows = Array(batch.contributorOffsets[contributor]..<batch.contributorOffsets[contributor + 1])
    let origin = start.map(Double.init)
    guard let settings = algorithm.descent else {
      return gradient(origin, batch, rows: rows).map { Float(-$0) }
    }
    let (epochs, batchSize, learningRate) = (settings.epochs, settings.batchSize, settings.learningRate)
    var weights = origin
    // How many steps' worth of gradients are in the displacement.
    var worth = 0.0
    var order = rows
    var generator = SplitMix64(seed: seed)
    for _ in 0..<epochs {
      generator.shuffle(&order)
      for first in stride(from: 0, to: order.count, by: batchSize) {
        let chosen = Array(order[first..<min(first + batchSize, order.count)])
        let step = gradient(weights, batch, rows: chosen)
        for index in weights.indices {
          let pulled = step[index] + Double(settings.proximal) * (weights[index] - origin[index])
          weights[index] -= Double(learningRate) * pulled
        }
        worth += 1 - Double(learningRate) * Double(settings.proximal) * worth
      }
    }
    let factor = settings.normalise.map { Double($0) / worth } ?? 1
    return zip(weights, origin).map { Float(($0 - $1) * factor) }
  }

  /// e^x by its series, halving first: no library that the fast path uses.
  static func exponential(_ x: Double) -> Double {
    let halvings = 10
    let small = x / Double(1 << halvings)
    var term = 1.0
    var sum = 1.0
    for n in 1..<20 {
      term *= small / Double(n)
      sum += term
    }
    for _ in 0..<halvings { sum *= sum }
    return sum
  }
}
