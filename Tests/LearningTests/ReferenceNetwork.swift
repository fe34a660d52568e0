import Foundation

@testable import Learning

/// A network's loss once more, in double precision, entry by entry: what gradients are checked against.
struct ReferenceNetwork {
  let model: NetworkModel

  /// The mean loss of the rows.
  func loss(_ parameters: [Double], _ batch: TrainingBatch, rows: Range<Int>) -> Double {
    rows.reduce(0) { $0 + loss(scores(parameters, batch.features, row: $1), Double(batch.labels[$1])) }
      / Double(rows.count)
  }

  /// The gradient of the mean loss by central differences.
  func gradient(_ parameters: [Double], _ batch: TrainingBatch, rows: Range<Int>) -> [Double] {
    let step = 1e-6
    return parameters.indices.map { index in
      var (above, below) = (parameters, parameters)
      above[index] += step
      below[index] -= step
      return (loss(above, batch, rows: rows) - loss(below, batch, rows: rows)) / (2 * step)
    }
  }

  func scores(_ parameters: [Double], _ features: Matrix, row: Int) -> [Double] {
    var values = [Double](repeating: 0, count: model.shape.inputs)
    for column in 0..<features.columns {
      values[column] = Double(features.values[row * features.columns + column])
    }
    if let sparse = features.sparse {
      for entry in sparse.offsets[row]..<sparse.offsets[row + 1] {
        values[features.columns + Int(sparse.indices[entry])] = Double(sparse.values[entry])
      }
    }
    for (index, layer) in model.layers.enumerated() {
      let sums = (0..<layer.outputs).map { unit in
        values.indices.reduce(parameters[layer.biasOffset + unit]) {
          $0 + values[$1] * parameters[layer.weightOffset + $1 * layer.outputs + unit]
        }
      }
      values = index < model.layers.count - 1 ? sums.map(activate) : sums
    }
    return values
  }

  private func activate(_ x: Double) -> Double {
    switch model.settings.activation {
    case .relu: max(x, 0)
    case .gelu: x / 2 * (1 + tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
    }
  }

  private func loss(_ scores: [Double], _ label: Double) -> Double {
    let score = scores[0]
    switch model.objective {
    case .binary: return log1p(exp(label == 1 ? -score : score))
    case .classes: return log(scores.reduce(0) { $0 + exp($1) }) - scores[Int(label)]
    case .squaredError: return (score - label) * (score - label) / 2
    case .huber(let delta):
      let (distance, delta) = (abs(score - label), Double(delta))
      return distance <= delta ? distance * distance / 2 : delta * (distance - delta / 2)
    case .poisson: return exp(score) - label * score
    case .tweedie(let power):
      let power = Double(power)
      return exp((2 - power) * score) / (2 - power) - label * exp((1 - power) * score) / (1 - power)
    case .segments: return .nan
    }
  }
}

extension Objective {
  /// Every objective, with settings.
  static let samples: [Objective] = [
    .binary, .classes(count: 3), .classes(count: 7), .squaredError, .huber(delta: 0.7), .poisson,
    .tweedie(power: 1.5),
  ]

  /// A label that the objective allows, from a standard normal number.
  func label(_ noise: Double) -> Float {
    switch self {
    case .binary: noise > 0 ? 1 : 0
    case .classes(let count): Float(min(max(Int((noise + 2) * Double(count) / 4), 0), count - 1))
    case .squaredError, .huber: Float(2 * noise)
    case .poisson: Float(abs(noise * 2).rounded())
    case .tweedie: Float(max(noise * 2, 0))
    case .segments: 0
    }
  }
}

/// Normal dense features, sparse ones with about `perRow` entries, and labels of an objective.
func networkBatch(
  rowCounts: [Int], columns: Int, sparseColumns: Int = 0, perRow: Int = 3, objective: Objective, seed: UInt64
) throws -> TrainingBatch {
  var noise = TestNoise(seed: seed)
  var generator = SplitMix64(seed: seed)
  let rows = rowCounts.reduce(0, +)
  var (offsets, indices, values) = ([0], [Int32](), [Float]())
  for _ in 0..<rows where sparseColumns > 0 {
    // The first rows of some seeds have none.
    let chosen = (0..<perRow).map { _ in Int32(generator.next() % UInt64(sparseColumns)) }
    let own = Set(chosen.dropFirst(offsets.count % (perRow + 1))).sorted()
    indices += own
    values += noise.floats(own.count)
    offsets.append(indices.count)
  }
  let sparse =
    sparseColumns > 0
    ? try SparseColumns(columns: sparseColumns, offsets: offsets, indices: indices, values: values) : nil
  var contributors = [0]
  for count in rowCounts { contributors.append(contributors[contributors.count - 1] + count) }
  return try TrainingBatch(
    features: Matrix(rows: rows, columns: columns, values: noise.floats(rows * columns), sparse: sparse),
    labels: (0..<rows).map { _ in objective.label(noise.next()) }, contributorOffsets: contributors,
    objective: objective)
}
