/// What a matrix factorisation learns from, and how strongly it is held back.
///
/// A user's weights are in units of that user's interactions; an item's are in units of the mean over users:
/// an item weight of 0.01 holds an item back as much as interactions by one user in a hundred move it.
package struct FactorizationSettings: Codable, Equatable, Sendable {
  /// What an interaction says.
  package enum Feedback: Codable, Equatable, Sendable {
    /// Labels are ratings of `lowest` … `highest`; the model predicts the rating.
    case explicit(lowest: Float, highest: Float)
    /// Labels are strengths of at least 0, say how often something was bought. The model predicts 1 for items
    /// with an interaction and 0 for all others. Weights of the squared errors: an interaction has
    /// 1 + `strengthWeight` · strength (Hu, Koren and Volinsky, ICDM 2008), and every item has
    /// `unobservedWeight` (Rendle et al., *Revisiting the Performance of iALS*, RecSys 2022). A strength of 0
    /// is no interaction.
    case implicit(unobservedWeight: Float, strengthWeight: Float)
  }

  /// What an interaction says.
  package var feedback: Feedback
  /// Numbers that describe a user, and an item, besides the bias.
  package var factors: Int
  /// Weight of ½ ‖user factor‖².
  package var userRegularization: Float
  /// Weight of ½ (user bias)²; only explicit feedback has one.
  package var userBiasRegularization: Float
  /// Weight of ½ ‖item factor‖², against the mean over users.
  package var itemRegularization: Float
  /// Weight of ½ (item bias)², against the mean over users. For implicit feedback a large one, say 10, which
  /// leaves popularity to the factors, ranks better than a small one (MovieLens).
  package var itemBiasRegularization: Float
  /// The weights above are multiplied by the user's or item's total weight of interactions to this power
  /// (0: the same for all; 1: as in Zhou et al., AAIM 2008).
  package var regularizationExponent: Float
  /// Rounds at the start that learn popularity and mean ratings alone; more than one averages out sampling of
  /// users and noise.
  package var startRounds: Int
  /// The spread of the initial item factors: they are drawn from −1 … 1 times this over √factors.
  package var initialScale: Float

  /// The most factors.
  package static let maximumFactors = 256
  /// The most start rounds.
  package static let maximumStartRounds = 100
  /// No interaction weighs more, whatever its strength.
  package static let maximumWeight: Float = 1_000

  package init(
    feedback: Feedback, factors: Int = 16, userRegularization: Float = 1, userBiasRegularization: Float = 1,
    itemRegularization: Float = 0.01, itemBiasRegularization: Float = 0.01, regularizationExponent: Float = 0,
    startRounds: Int = 1, initialScale: Float = 0.1
  ) {
    self.feedback = feedback
    self.factors = factors
    self.userRegularization = userRegularization
    self.userBiasRegularization = userBiasRegularization
    self.itemRegularization = itemRegularization
    self.itemBiasRegularization = itemBiasRegularization
    self.regularizationExponent = regularizationExponent
    self.startRounds = startRounds
    self.initialScale = initialScale
  }

  /// Refuses impossible settings. Decoding does not check: call this on whatever came from outside.
  package func validate() throws(LearningError) {
    guard (1...Self.maximumFactors).contains(factors) else {
      throw .invalidSetting(name: "the number of factors", reason: "allowed are 1 to \(Self.maximumFactors)")
    }
    guard (1...Self.maximumStartRounds).contains(startRounds) else {
      throw .invalidSetting(
        name: "the number of start rounds", reason: "allowed are 1 to \(Self.maximumStartRounds)")
    }
    for (name, value) in [
      ("the users' regularisation", userRegularization),
      ("the user biases' regularisation", userBiasRegularization),
      ("the items' regularisation", itemRegularization),
      ("the item biases' regularisation", itemBiasRegularization),
    ] {
      guard value >= 1e-6, value <= 1e6 else {
        throw .invalidSetting(name: name, reason: "allowed are 0.000001 to 1000000")
      }
    }
    guard regularizationExponent >= 0, regularizationExponent <= 1 else {
      throw .invalidSetting(name: "the regularisation's exponent", reason: "allowed are 0 to 1")
    }
    guard initialScale > 0, initialScale <= 10 else {
      throw .invalidSetting(name: "the initial scale", reason: "it must be above 0 and at most 10")
    }
    switch feedback {
    case .explicit(let lowest, let highest):
      guard lowest.isFinite, highest.isFinite, lowest < highest, (highest - lowest).isNormal,
        (highest - lowest).isFinite
      else { throw .invalidSetting(name: "the range of ratings", reason: "it must be finite and not empty") }
    case .implicit(let unobservedWeight, let strengthWeight):
      guard unobservedWeight >= 1e-6, unobservedWeight <= 1 else {
        throw .invalidSetting(name: "the weight of unobserved items", reason: "allowed are 0.000001 to 1")
      }
      guard strengthWeight >= 0, strengthWeight <= Self.maximumWeight else {
        throw .invalidSetting(
          name: "the weight of strength", reason: "allowed are 0 to \(Self.maximumWeight)")
      }
    }
  }
}

extension FactorizationSettings {
  /// The middle of the ratings and half their width; strengths are left as they are.
  var ratingScale: (center: Float, halfWidth: Float) {
    guard case .explicit(let lowest, let highest) = feedback else { return (0, 1) }
    return (lowest + (highest - lowest) / 2, (highest - lowest) / 2)
  }

  /// The weight of an item without interaction; 0 for ratings, which say nothing of other items.
  var unobservedWeight: Float {
    guard case .implicit(let weight, _) = feedback else { return 0 }
    return weight
  }

  /// The weight of an interaction, and what it asks the model to predict, in units of half the ratings'
  /// width.
  func weightAndTarget(label: Float) -> (weight: Float, target: Float) {
    switch feedback {
    case .explicit:
      let (center, halfWidth) = ratingScale
      return (1, (label - center) / halfWidth)
    case .implicit(_, let strengthWeight):
      guard label > 0 else { return (0, 0) }
      return (min(1 + strengthWeight * label, Self.maximumWeight), 1)
    }
  }
}
