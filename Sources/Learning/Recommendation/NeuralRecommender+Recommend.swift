extension NeuralRecommender {
  /// The seed of the items that are drawn for a user's reconstruction outside of training.
  private static let recommendationSeed: UInt64 = 0x7265_636f_6d6d_656e

  /// A user's bias and vector, `factors` + 1 numbers that stay with the user: the initial ones without history.
  package func userVector(
    parameters: [Float], history: InteractionHistory
  ) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    return try reconstruct(parameters: parameters, history: history).user
  }

  /// The user's preferences for the candidates: ratings, which may lie beyond the range, or logits.
  package func scores(
    parameters: [Float], history: InteractionHistory, candidates: [Int]
  ) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    if let outside = candidates.firstIndex(where: { !(0..<items).contains($0) }) {
      throw unknownItem(row: outside)
    }
    let (reconstruction, user) = try reconstruct(parameters: parameters, history: history)
    return try scores(parameters, user, candidates.map(Int32.init), reconstruction.block)
  }

  /// The preference of a user of whom nothing is known for each row's item.
  package func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    try features.check(shape: shape)
    var candidates: [Int32] = []
    candidates.reserveCapacity(features.rows)
    for (row, value) in features.values.enumerated() {
      guard let item = itemNumber(value) else { throw unknownItem(row: row) }
      candidates.append(Int32(item))
    }
    let user = Array(parameters[..<layout.width])
    return try scores(parameters, user, candidates, InteractionBlock(layout: layout))
  }

  private func reconstruct(
    parameters: [Float], history: InteractionHistory
  ) throws(LearningError) -> (UserReconstruction, user: [Float]) {
    if let outside = history.items.firstIndex(where: { !(0..<items).contains($0) }) {
      throw unknownItem(row: outside)
    }
    let numbers = history.items.map(Float.init)
    try checkInteractions(items: numbers, labels: history.labels, rows: 0..<numbers.count)
    let reconstruction = UserReconstruction(model: self)
    guard !numbers.isEmpty else { return (reconstruction, Array(parameters[..<layout.width])) }
    var rows = InteractionRows(model: self)
    rows.read(
      items: numbers, labels: history.labels, range: 0..<numbers.count, seed: Self.recommendationSeed)
    guard rows.count > 0 else { return (reconstruction, Array(parameters[..<layout.width])) }
    parameters.withUnsafeBufferPointer { parameters in
      guard let parameters = parameters.baseAddress else { return }
      rows.withSupportAndQuery { rows, _ in reconstruction.solve(parameters: parameters, rows: rows) }
    }
    return (reconstruction, Array(UnsafeBufferPointer(start: reconstruction.user, count: layout.width)))
  }

  private func scores(
    _ parameters: [Float], _ user: [Float], _ candidates: [Int32], _ block: InteractionBlock
  ) throws(LearningError) -> [Float] {
    let (center, halfWidth) = settings.ratingScale
    var scores: [Float] = []
    scores.reserveCapacity(candidates.count)
    candidates.withUnsafeBufferPointer { candidates in
      guard let items = candidates.baseAddress else { return }
      for first in stride(from: 0, to: candidates.count, by: InteractionBlock.capacity) {
        let rows = min(InteractionBlock.capacity, candidates.count - first)
        block.load(parameters: parameters, items: items + first, rows: rows)
        block.score(parameters: parameters, user: user)
        for row in 0..<rows { scores.append(center + halfWidth * block.scores[row]) }
      }
    }
    // Bounded parameters can have products that are not.
    guard scores.allSatisfy(\.isFinite) else { throw .nonFiniteValue(what: "a preference") }
    return scores
  }
}
