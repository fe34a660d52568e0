import Learning

extension ModelDeclaration {
  /// `{kind: trees}`: gradient-boosted trees.
  static let trees = ModelDeclaration(
    kind: "trees",
    keys: [
      "trees", "depth", "learning_rate", "l2", "minimum_child_weight", "minimum_gain", "column_share",
      "gradient_limit", "splitting", "objective", "delta", "power",
    ]
  ) { reader, own in
    let usual = TreeSettings()
    func number(_ key: String, _ allowed: String, _ fallback: Float, _ range: ClosedRange<Double>) -> Float {
      Float(reader.number(own, key, allowed, or: Double(fallback)) { range.contains($0) })
    }
    return .boostedTrees(
      TreeSettings(
        objective: reader.objective(own),
        trees: reader.integer(own, "trees", in: 1...TreeSettings.maximumTrees, or: usual.trees),
        maximumDepth: reader.integer(
          own, "depth", in: 1...TreeSettings.maximumDepthLimit, or: usual.maximumDepth),
        learningRate: number("learning_rate", "above 0 and at most 1", usual.learningRate, 1e-6...1),
        l2: number("l2", "from 0 to 1e9", usual.l2, 0...1e9),
        minimumChildWeight: number(
          "minimum_child_weight", "from 0 to 1e9", usual.minimumChildWeight, 0...1e9),
        minimumGain: number("minimum_gain", "from 0 to 1e9", usual.minimumGain, 0...1e9),
        columnShare: number("column_share", "above 0 and at most 1", usual.columnShare, 1e-6...1),
        gradientLimit: number("gradient_limit", "from 1e-9 to 1e9", usual.gradientLimit, 1e-9...1e9),
        splitting: reader.choice(own, "splitting", or: usual.splitting)))
  }
}
