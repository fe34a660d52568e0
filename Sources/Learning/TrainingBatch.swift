/// The encoded records of a node's contributors, contributor after contributor.
package struct TrainingBatch: Equatable, Sendable {
  /// One row per record.
  package let features: Matrix
  /// The label of every row, as the objective allows it.
  package let labels: [Float]
  /// Contributor c has the rows `contributorOffsets[c] ..< contributorOffsets[c + 1]`, at least one.
  package let contributorOffsets: [Int]
  /// What the labels were checked by: a model of another objective refuses the batch.
  package let objective: Objective

  /// The number of contributors.
  package var contributorCount: Int { contributorOffsets.count - 1 }

  /// Checks that labels are what the objective allows, features finite, and that the offsets run strictly
  /// ascending from 0 to the number of rows (`[0]` for a batch without contributors).
  package init(
    features: Matrix, labels: [Float], contributorOffsets: [Int], objective: Objective = .binary
  ) throws(LearningError) {
    guard labels.count == features.rows else {
      throw .wrongCount(what: "the labels of a batch", expected: features.rows, actual: labels.count)
    }
    if let row = labels.firstIndex(where: { !objective.allows(label: $0) }) {
      throw .invalidLabel(row: row, allowed: objective.labelDescription)
    }
    guard features.values.allSatisfy(\.isFinite), features.sparse?.values.allSatisfy(\.isFinite) ?? true
    else {
      throw .nonFiniteValue(what: "the features of a batch")
    }
    guard contributorOffsets.first == 0, contributorOffsets.last == features.rows else {
      throw .invalidOffsets(reason: "they must run from 0 to the number of rows, \(features.rows)")
    }
    guard zip(contributorOffsets, contributorOffsets.dropFirst()).allSatisfy({ $0 < $1 }) else {
      throw .invalidOffsets(reason: "every contributor needs at least one row")
    }
    self.features = features
    self.labels = labels
    self.contributorOffsets = contributorOffsets
    self.objective = objective
  }

  /// Refuses a batch whose rows or labels are not the model's.
  package func check(shape: FeatureShape, objective: Objective) throws(LearningError) {
    try features.check(shape: shape)
    guard self.objective == objective else {
      throw .invalidSetting(
        name: "a batch", reason: "its labels were checked for another objective than the model's")
    }
  }

  /// The batch of the chosen contributors, in the order given.
  ///
  /// - Parameter contributors: positions in this batch.
  package func selecting(_ contributors: [Int]) -> TrainingBatch {
    let ranges = contributors.map { contributorOffsets[$0]..<contributorOffsets[$0 + 1] }
    var offsets = [0]
    for range in ranges { offsets.append(offsets[offsets.count - 1] + range.count) }
    return TrainingBatch(
      uncheckedFeatures: features.selecting(ranges), labels: ranges.flatMap { labels[$0] },
      contributorOffsets: offsets, objective: objective)
  }

  private init(
    uncheckedFeatures features: Matrix, labels: [Float], contributorOffsets: [Int], objective: Objective
  ) {
    self.features = features
    self.labels = labels
    self.contributorOffsets = contributorOffsets
    self.objective = objective
  }
}
