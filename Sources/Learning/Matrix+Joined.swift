extension Matrix {
  /// The rows of several matrices of the same columns, one matrix after the other.
  package static func joined(_ matrices: [Matrix]) throws(LearningError) -> Matrix {
    guard let first = matrices.first else {
      throw .invalidSetting(name: "a matrix", reason: "there is nothing to join")
    }
    for matrix in matrices {
      try matrix.check(shape: FeatureShape(columns: first.columns, sparseColumns: first.sparseColumns))
    }
    let rows = matrices.reduce(0) { $0 + $1.rows }
    var sparse: SparseColumns?
    if let columns = first.sparse?.columns {
      var offsets = [0]
      var indices: [Int32] = []
      var values: [Float] = []
      for part in matrices.compactMap(\.sparse) {
        offsets.append(contentsOf: part.offsets.dropFirst().map { $0 + indices.count })
        indices.append(contentsOf: part.indices)
        values.append(contentsOf: part.values)
      }
      sparse = SparseColumns(uncheckedColumns: columns, offsets: offsets, indices: indices, values: values)
    }
    return Matrix(
      uncheckedRows: rows, columns: first.columns, values: matrices.flatMap(\.values), sparse: sparse)
  }
}

extension TrainingBatch {
  /// The given rows as one contributor.
  package func rows(_ positions: [Int]) throws(LearningError) -> TrainingBatch {
    try TrainingBatch(
      features: features.selecting(positions.map { $0..<$0 + 1 }), labels: positions.map { labels[$0] },
      contributorOffsets: [0, positions.count], objective: objective)
  }
}
