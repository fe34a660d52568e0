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

  /// The items of the highest scores, best first; of equal ones the lower number first.
  ///
  /// - Parameters:
  ///   - history: what the user did; the ranking of an empty one is that of ratings' biases or of popularity.
  ///   - count: how many, at most; fewer if there are not as many.
  ///   - excluding: items that are left out, say the history's.
  package func topItems(
    parameters: [Float], history: InteractionHistory, count: Int, excluding: Set<Int>
  ) throws(LearningError) -> [Int] {
    guard count >= 0 else {
      throw .invalidSetting(name: "the number of recommendations", reason: "it must be at least 0")
    }
    let candidates = (0..<items).filter { !excluding.contains($0) }
    let scores = try scores(parameters: parameters, history: history, candidates: candidates)
    let order = candidates.indices.sorted {
      scores[$0] != scores[$1] ? scores[$0] > scores[$1] : $0 < $1
    }
    return order.prefix(count).map { candidates[$0] }
  }

  /// Refuses unknown items and impossible labels.
  func checkInteractions(items numbers: [Float], labels: [Float], rows: Range<Int>) throws(LearningError) {
    for row in rows {
      guard itemNumber(numbers[row]) != nil else { throw unknownItem(row: row) }
      guard settings.allows(label: labels[row]) else { throw impossibleLabel(row: row) }
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
