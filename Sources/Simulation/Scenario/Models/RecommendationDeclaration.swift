import Learning

/// What an interaction says, by the words of a scenario file.
private enum FeedbackWord: String, CaseIterable { case ratings, interactions }

extension ModelDeclaration {
  /// `{kind: recommendation}`: matrix factorisation. The one column is the number of the item.
  static let recommendation = ModelDeclaration(
    kind: "recommendation",
    keys: [
      "items", "factors", "feedback", "lowest", "highest", "unobserved_weight", "strength_weight",
      "user_regularization", "user_bias_regularization", "item_regularization", "item_bias_regularization",
      "regularization_exponent", "start_rounds", "initial_scale",
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
    let feedback: FactorizationSettings.Feedback
    switch reader.choice(own, "feedback", or: FeedbackWord.ratings) {
    case .ratings:
      feedback = .explicit(lowest: number("lowest", 1, -1e6...1e6), highest: number("highest", 5, -1e6...1e6))
    case .interactions:
      feedback = .implicit(
        unobservedWeight: number("unobserved_weight", 0.1, 1e-6...1),
        strengthWeight: number("strength_weight", 0, 0...1_000))
    }
    let usual = FactorizationSettings(feedback: feedback)
    let weights = 1e-6...1e6
    return .recommendation(
      RecommendationSettings(
        factorization: FactorizationSettings(
          feedback: feedback,
          factors: reader.integer(
            own, "factors", in: 1...FactorizationSettings.maximumFactors, or: usual.factors),
          userRegularization: number("user_regularization", usual.userRegularization, weights),
          userBiasRegularization: number("user_bias_regularization", usual.userBiasRegularization, weights),
          itemRegularization: number("item_regularization", usual.itemRegularization, weights),
          itemBiasRegularization: number("item_bias_regularization", usual.itemBiasRegularization, weights),
          regularizationExponent: number("regularization_exponent", usual.regularizationExponent, 0...1),
          startRounds: reader.integer(
            own, "start_rounds", in: 1...FactorizationSettings.maximumStartRounds, or: usual.startRounds),
          initialScale: number("initial_scale", usual.initialScale, 1e-6...10)),
        items: reader.integer(own, "items", in: 1...MatrixFactorization.maximumItems, or: 1)))
  }
}
