/// Recommendation over a catalogue whose items are numbered from 0, the same for every node.
package struct RecommendationSettings: Codable, Equatable, Sendable {
  /// What is learnt, and from what.
  package var factorization: FactorizationSettings
  /// Items of the catalogue.
  package var items: Int

  /// A recommender; `validate` checks the limits.
  package init(factorization: FactorizationSettings, items: Int) {
    self.factorization = factorization
    self.items = items
  }
}

extension RecommendationSettings: ModelSettings {
  /// A preference.
  package var objective: Objective { .squaredError }
  /// The number of an item.
  package var layout: FeatureLayout { .items }
  /// The numbers of factors and items.
  package var summary: String {
    "matrix factorisation with \(factorization.factors) factors over \(items) items"
  }

  package func validate() throws(LearningError) {
    _ = try MatrixFactorization(settings: factorization, items: items)
  }

  /// Refuses rows of other layouts than `items`.
  package func validate(shape: FeatureShape) throws(LearningError) {
    try validate()
    guard shape.layout == .items, shape.columns == 1 else {
      throw .invalidSetting(
        name: "the columns", reason: "a recommender takes one numeric column, the number of the item")
    }
  }

  /// The recommender, of settings that passed `validate`.
  package func makeModel(shape: FeatureShape) -> any FederatedModel {
    MatrixFactorization(validSettings: factorization, items: items)
  }
}
