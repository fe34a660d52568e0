/// A model that recommends items of a catalogue to a user by what that user did, with what is the user's own
/// computed where the user's data is.
package protocol Recommender: FederatedModel {
  /// Items of the catalogue, numbered from 0.
  var items: Int { get }

  /// The range of the ratings that scores predict; nil if labels are strengths of interactions, and scores say
  /// only which item comes before which.
  var ratings: ClosedRange<Float>? { get }

  /// The user's preferences for the candidates. Predicted ratings may lie beyond the range. An empty history,
  /// or one that says nothing, gives what is predicted for a user of whom nothing is known.
  ///
  /// - Throws: parameters that do not pass `check`, unknown items, impossible labels.
  func scores(
    parameters: [Float], history: InteractionHistory, candidates: [Int]
  ) throws(LearningError) -> [Float]
}

extension Recommender {
  /// The items of the highest scores, best first; of equal ones the lower number first.
  ///
  /// - Parameters:
  ///   - history: what the user did.
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

  /// The item that a feature names; nil if there is none.
  func itemNumber(_ value: Float) -> Int? {
    value >= 0 && value < Float(items) && value == value.rounded() ? Int(value) : nil
  }

  func unknownItem(row: Int) -> LearningError {
    .invalidSetting(
      name: "row \(row) of the interactions",
      reason: "its item must be a whole number from 0 to \(items - 1): align the catalogue of items")
  }

  /// Whether a label is a possible rating or strength.
  func allows(label: Float) -> Bool {
    guard let ratings else { return label >= 0 && label.isFinite }
    return ratings.contains(label)
  }

  /// Refuses unknown items and impossible labels.
  func checkInteractions(items numbers: [Float], labels: [Float], rows: Range<Int>) throws(LearningError) {
    for row in rows {
      guard itemNumber(numbers[row]) != nil else { throw unknownItem(row: row) }
      guard allows(label: labels[row]) else { throw impossibleLabel(row: row) }
    }
  }

  func impossibleLabel(row: Int) -> LearningError {
    guard let ratings else { return .invalidLabel(row: row, allowed: "a finite strength of at least 0") }
    return .invalidLabel(
      row: row, allowed: "a rating from \(ratings.lowerBound) to \(ratings.upperBound)")
  }
}
