/// The encoded records of a node's contributors, contributor after contributor.
package struct TrainingBatch: Equatable, Sendable {
  /// One row per record.
  package let features: Matrix
  /// The class of every row, 0 or 1.
  package let labels: [Float]
  /// Contributor c has the rows `contributorOffsets[c] ..< contributorOffsets[c + 1]`, at least one.
  package let contributorOffsets: [Int]

  /// The number of contributors.
  package var contributorCount: Int { contributorOffsets.count - 1 }

  /// Checks that labels are 0 or 1, features finite, and that the offsets run strictly ascending from 0 to
  /// the number of rows (`[0]` for a batch without contributors).
  package init(features: Matrix, labels: [Float], contributorOffsets: [Int]) throws(LearningError) {
    guard labels.count == features.rows else {
      throw .wrongCount(what: "the labels of a batch", expected: features.rows, actual: labels.count)
    }
    if let row = labels.firstIndex(where: { $0 != 0 && $0 != 1 }) { throw .invalidLabel(row: row) }
    guard features.values.allSatisfy(\.isFinite) else {
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
  }
}
