/// A classifier without its parameters: they change every round and travel as a flat vector.
package struct Model: Equatable, Sendable {
  /// The shape.
  package let architecture: ModelArchitecture
  /// The number of features of a row.
  package let inputs: Int
  /// The length of a parameter vector.
  package let parameterCount: Int

  /// A model of an architecture that passed `ModelArchitecture.validate`.
  package init(architecture: ModelArchitecture, inputs: Int) {
    self.architecture = architecture
    self.inputs = inputs
    parameterCount = architecture.parameterCount(inputs: inputs)
  }

  /// The logits of the rows of `features`: above 0 means class 1, and 1 / (1 + e^−logit) is its probability.
  package func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    guard features.columns == inputs else {
      throw .wrongCount(what: "a row of features", expected: inputs, actual: features.columns)
    }
    var scores = [Float](repeating: 0, count: features.rows)
    guard features.rows > 0 else { return scores }
    let blockRows = min(features.rows, Self.blockRows)
    let workspace = Workspace(layers: architecture.layers(inputs: inputs), rows: blockRows)
    parameters.withUnsafeBufferPointer { parameters in
      features.values.withUnsafeBufferPointer { values in
        for start in stride(from: 0, to: features.rows, by: blockRows) {
          let rows = min(blockRows, features.rows - start)
          let logits = workspace.forward(
            parameters: parameters.baseAddress!, features: values.baseAddress! + start * inputs, rows: rows)
          for row in 0..<rows { scores[start + row] = logits[row] }
        }
      }
    }
    return scores
  }

  /// How many rows are computed at a time: enough for full speed, and memory stays bounded.
  static let blockRows = 2048

  /// Refuses a parameter vector of another model.
  package func check(parameters: [Float]) throws(LearningError) {
    guard parameters.count == parameterCount else {
      throw .wrongCount(what: "the parameter vector", expected: parameterCount, actual: parameters.count)
    }
  }
}
