import Learning

/// What an interaction says, by the words of a scenario file.
private enum FeedbackWord: String, CaseIterable { case ratings, interactions }

extension ModelDeclaration {
  /// `{kind: neural-recommendation}`: neural collaborative filtering. The one column is the number of the item.
  static let neuralRecommendation = ModelDeclaration(
    kind: "neural-recommendation",
    keys: [
      "items", "factors", "hidden", "feedback", "lowest", "highest", "negatives", "user_regularization",
      "user_bias_regularization", "item_regularization", "item_bias_regularization", "network_regularization",
      "reconstruction_steps", "query_share", "row_exponent", "initial_scale",
    ]
  ) { reader, own in
    _ = reader.require(own, "items", "the number of items of the catalogue")
    _ = reader.require(own, "feedback", "ratings or interactions")
    func number(_ key: String, _ fallback: Float, _ range: ClosedRange<Double>) -> Float {
      Float(
        reader.number(own, key, "from \(range.lowerBound) to \(range.upperBound)", or: Double(fallback)) {
          range.contains($0)
        })
    }
    let feedback: NeuralRecommenderSettings.Feedback
    switch reader.choice(own, "feedback", or: FeedbackWord.ratings) {
    case .ratings:
      feedback = .explicit(lowest: number("lowest", 1, -1e6...1e6), highest: number("highest", 5, -1e6...1e6))
    case .interactions:
      feedback = .implicit(
        negatives: reader.integer(own, "negatives", in: 1...NeuralRecommenderSettings.maximumNegatives, or: 4)
      )
    }
    let usual = NeuralRecommenderSettings(feedback: feedback, items: 1)
    return .neuralRecommendation(
      NeuralRecommenderSettings(
        feedback: feedback,
        items: reader.integer(own, "items", in: 1...MatrixFactorization.maximumItems, or: 1),
        factors: reader.integer(
          own, "factors", in: 1...NeuralRecommenderSettings.maximumFactors, or: usual.factors),
        hidden: own.entries["hidden"] == nil ? usual.hidden : reader.hidden(own),
        userRegularization: number("user_regularization", usual.userRegularization, 1e-6...1e6),
        userBiasRegularization: number("user_bias_regularization", usual.userBiasRegularization, 1e-6...1e6),
        itemRegularization: number("item_regularization", usual.itemRegularization, 0...1e6),
        itemBiasRegularization: number("item_bias_regularization", usual.itemBiasRegularization, 0...1e6),
        networkRegularization: number("network_regularization", usual.networkRegularization, 0...1e6),
        reconstructionSteps: reader.integer(
          own, "reconstruction_steps", in: 1...NeuralRecommenderSettings.maximumSteps,
          or: usual.reconstructionSteps),
        queryShare: number("query_share", usual.queryShare, 0...0.9),
        rowExponent: number("row_exponent", usual.rowExponent, 0...1),
        initialScale: number("initial_scale", usual.initialScale, 1e-6...10)))
  }
}
