extension TreeSettings: ModelSettings {
  /// Rows of bins.
  package var layout: FeatureLayout { .bins }
  /// The number of trees and their depth.
  package var summary: String { "\(trees) boosted trees of depth \(maximumDepth)" }
  /// Enough for all trees.
  package var usualRounds: Int? { maximumRounds }
  /// No contributor's vector is longer: see `TreeRound`.
  package var usualClipNorm: Double? { 1 }

  /// Refuses impossible settings, rows of another layout than `bins`, columns of more than
  /// `BoostedTrees.maximumBins` bins (72 if they have no order), and trees whose vectors or parameters would
  /// be too long.
  package func validate(shape: FeatureShape) throws(LearningError) {
    try validate()
    guard shape.layout == .bins, !shape.bins.isEmpty, shape.bins.count == shape.columns else {
      throw .invalidSetting(name: "the layout of features", reason: "trees take rows of bins")
    }
    for (index, column) in shape.bins.enumerated() {
      let most = column.isOrdered ? BoostedTrees.maximumBins : TreeNode.maximumUnorderedBins
      let least = column.hasMissing ? 2 : 1
      guard (least...most).contains(column.count) else {
        throw .invalidSetting(
          name: "column \(index)",
          reason: "it has \(column.count) bins; allowed for it are \(least) to \(most)")
      }
    }
    let bins = splitting == .random ? 2 : shape.bins.reduce(0) { $0 + $1.count }
    let parameters = trees * (1 + TreeNode.width * ((2 << maximumDepth) - 1))
    guard bins << maximumDepth <= BoostedTrees.maximumContributionLength,
      parameters <= ModelArchitecture.maximumParameters
    else {
      throw .invalidSetting(
        name: "the depth of the trees", reason: "with these columns and trees the vectors would be too long")
    }
  }

  /// The trees, for a shape that `validate(shape:)` accepts.
  package func makeModel(shape: FeatureShape) -> any FederatedModel {
    BoostedTrees(validSettings: self, shape: shape)
  }
}
