/// What a user did: items and the labels that training would have for them.
package struct InteractionHistory: Equatable, Sendable {
  /// Numbers of items.
  package let items: [Int]
  /// One label for each.
  package let labels: [Float]

  /// A user of whom nothing is known.
  package static let empty = InteractionHistory(uncheckedItems: [], labels: [])

  /// Refuses different numbers of items and labels; the model checks their values.
  package init(items: [Int], labels: [Float]) throws(LearningError) {
    guard items.count == labels.count else {
      throw .wrongCount(what: "the labels of a history", expected: items.count, actual: labels.count)
    }
    self.init(uncheckedItems: items, labels: labels)
  }

  private init(uncheckedItems items: [Int], labels: [Float]) {
    self.items = items
    self.labels = labels
  }
}

extension MatrixFactorization {
  /// A user's bias (0 for implicit feedback), then its factor: `factors` + 1 numbers that stay with the user.
  /// Zeros without history, and before the start rounds are done.
  package func userFactors(
    parameters: [Float], history: InteractionHistory
  ) throws(LearningError) -> [Float] {
    try check(parameters: parameters)
    guard let outside = history.items.firstIndex(where: { !(0..<items).contains($0) }) else {
      return try checkedUserFactors(parameters: parameters, history: history)
    }
    throw unknownItem(row: outside)
  }

  private func checkedUserFactors(
    parameters: [Float], history: InteractionHistory
  ) throws(LearningError) -> [Float] {
    let numbers = history.items.map(Float.init)
    try checkInteractions(items: numbers, labels: history.labels, rows: 0..<numbers.count)
    guard !isCold(parameters: parameters, history: history) else {
      return [Float](repeating: 0, count: layout.width)
    }
    let solver = UserSolver(model: self)
    let isSolved = parameters.withUnsafeBufferPointer { parameters in
      solver.prepare(parameters: parameters)
      return solver.solve(
        parameters: parameters, items: numbers, labels: history.labels, rows: numbers.count)
    }
    guard isSolved else { throw .nonFiniteValue(what: "a reconstructed user factor") }
    return Array(UnsafeBufferPointer(start: solver.user, count: layout.width))
  }

  /// The user's preferences for the candidates: ratings, which may lie beyond the range, or about 1 for what
  /// the user would take and 0 for what not. Without history those of `scores(parameters:features:)`.
  package func scores(
    parameters: [Float], history: InteractionHistory, candidates: [Int]
  ) throws(LearningError) -> [Float] {
    let user = try userFactors(parameters: parameters, history: history)
    if let outside = candidates.firstIndex(where: { !(0..<items).contains($0) }) {
      throw unknownItem(row: outside)
    }
    let isCold = isCold(parameters: parameters, history: history)
    return candidates.map {
      isCold
        ? coldScore(parameters: parameters, item: $0) : score(parameters: parameters, user: user, item: $0)
    }
  }

  /// Whether nothing tells this user from another.
  private func isCold(parameters: [Float], history: InteractionHistory) -> Bool {
    isStart(parameters: parameters)
      || !history.labels.contains { settings.weightAndTarget(label: $0).weight > 0 }
  }

  private func score(parameters: [Float], user: [Float], item: Int) -> Float {
    let first = layout.itemOffset + item * layout.width
    var score = parameters[layout.meanOffset] + user[0] + parameters[first]
    for index in 1..<layout.width { score += user[index] * parameters[first + index] }
    let (center, halfWidth) = settings.ratingScale
    return center + halfWidth * score
  }
}
