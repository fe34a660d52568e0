/// How gradient-boosted trees are grown (Friedman 2001; Chen and Guestrin, *XGBoost*, KDD 2016).
///
/// Settings were chosen by three folds within the training rows (customers who are copies of each other stay
/// together) and then measured once on the test rows; three seeds, 64 quantile bins, one record per
/// contributor.
/// - Exact sums. Churn: 100 trees, depth 7, rate 0.2, `minimumChildWeight` 0.2, half of the columns: AUC
///   0.952 (0.942 to 0.960 by the seed's choice of columns); on the random split accuracy 0.975. Shoppers:
///   depth 4, rate 0.1, `l2` 5, half of the columns: AUC 0.936.
/// - Central Gaussian noise, ε = 4 for all rounds at δ = 1e-5, zCDP, 8 bins, the features themselves exact:
///   100 random trees of depth 3, rate 0.3, `l2` 20: AUC 0.893 ± 0.017 on churn (0.901 without noise) and
///   0.918 ± 0.009 on shoppers. Best splits reach 0.869 on churn (5 stumps): noise in thousands of bins
///   spoils the choice. For comparison, a linear model reaches 0.904 and 0.918 at ε = 8 (`TrainingDefaults`).
package struct TreeSettings: Codable, Equatable, Sendable {
  /// How a node's split is found.
  package enum Splitting: String, Codable, CaseIterable, Equatable, Sendable {
    /// By the gain, from a histogram of every column: `maximumDepth` rounds for a tree.
    case best
    /// At random, before anyone is asked: one round for a tree, which measures nothing but its leaves. The
    /// noise of a round then disturbs no choice and meets few, large sums (Maddock et al., *Federated Boosted
    /// Decision Trees with Differential Privacy*, CCS 2022, "totally random").
    case random
  }

  /// The most trees.
  package static let maximumTrees = 4_096
  /// The deepest trees.
  package static let maximumDepthLimit = 12
  /// The largest `gradientLimit`.
  package static let largestGradientLimit: Float = 1e9

  /// What is predicted; classes have no trees.
  package let objective: Objective
  /// The number of trees, 1 … `maximumTrees`.
  package let trees: Int
  /// The splits between a root and its deepest leaves, 1 … `maximumDepthLimit`.
  package let maximumDepth: Int
  /// The factor of every leaf, above 0 and at most 1.
  package let learningRate: Float
  /// λ: added to a sum of curvatures before it divides, at least 0.
  package let l2: Float
  /// The least sum of curvatures, in contributors, on both sides of a split; at least 0. A node with less
  /// than twice that is not asked about.
  package let minimumChildWeight: Float
  /// γ: a split must lower the (quadratically approximated) loss by more than this, in contributors; at least
  /// 0.
  package let minimumGain: Float
  /// The share of the columns, drawn anew for every tree, above 0 and at most 1.
  package let columnShare: Float
  /// What labels and derivatives are cut to where the objective does not bound them: labels in the first
  /// round (but for `binary`), gradients (but for `binary` and `huber`), curvatures (`poisson` and
  /// `tweedie`).
  package let gradientLimit: Float
  /// How splits are found.
  package let splitting: Splitting

  /// Describes the trees; call `validate` on what came from outside.
  package init(
    objective: Objective = .binary, trees: Int = 100, maximumDepth: Int = 6, learningRate: Float = 0.1,
    l2: Float = 1, minimumChildWeight: Float = 1, minimumGain: Float = 0, columnShare: Float = 1,
    gradientLimit: Float = 1, splitting: Splitting = .best
  ) {
    self.objective = objective
    self.trees = trees
    self.maximumDepth = maximumDepth
    self.learningRate = learningRate
    self.l2 = l2
    self.minimumChildWeight = minimumChildWeight
    self.minimumGain = minimumGain
    self.columnShare = columnShare
    self.gradientLimit = gradientLimit
    self.splitting = splitting
  }

  /// The most rounds until `BoostedTrees.isFinished`: one for the initial score, then `maximumDepth` for a
  /// tree, or one if splits are random. A tree that stops growing early saves its rounds.
  package var maximumRounds: Int { 1 + trees * (splitting == .random ? 1 : maximumDepth) }

  /// Refuses impossible settings. Decoding does not check: call this on whatever came from outside.
  package func validate() throws(LearningError) {
    try objective.validate()
    if case .classes = objective {
      throw .invalidSetting(name: "the objective", reason: "trees predict one number, not several classes")
    }
    try objective.refuseSegments("trees")
    try require((1...Self.maximumTrees).contains(trees), "the number of trees", "1 to \(Self.maximumTrees)")
    try require(
      (1...Self.maximumDepthLimit).contains(maximumDepth), "the depth of the trees",
      "1 to \(Self.maximumDepthLimit)")
    try require(learningRate > 0 && learningRate <= 1, "the trees' learning rate", "above 0 to 1")
    let finite: ClosedRange<Float> = 0...1e9
    try require(finite.contains(l2), "the trees' l2", "0 to 1e9")
    try require(finite.contains(minimumChildWeight), "the least weight of a child", "0 to 1e9")
    try require(finite.contains(minimumGain), "the least gain of a split", "0 to 1e9")
    try require(columnShare > 0 && columnShare <= 1, "the share of columns", "above 0 to 1")
    try require(
      gradientLimit >= 1e-9 && gradientLimit <= Self.largestGradientLimit, "the gradient limit",
      "1e-9 to \(Self.largestGradientLimit)")
  }

  private func require(_ holds: Bool, _ name: String, _ allowed: String) throws(LearningError) {
    guard holds else { throw .invalidSetting(name: name, reason: "allowed are \(allowed)") }
  }

  /// The largest leaf, learning rate included: 4 logits, a factor e in a mean, the gradient limit otherwise.
  /// Noise that makes a sum of curvatures vanish must not decide over a prediction.
  var largestLeaf: Float {
    switch objective {
    case .binary, .classes: learningRate * 4
    case .poisson, .tweedie: learningRate
    case .squaredError, .huber, .segments: learningRate * gradientLimit
    }
  }

  /// The largest initial score, by magnitude.
  var largestInitialScore: Float {
    switch objective {
    case .binary, .classes, .poisson, .tweedie: Objective.largestLogarithm
    case .squaredError, .huber, .segments: gradientLimit
    }
  }
}
