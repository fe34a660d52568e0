#if canImport(Glibc)
  import Glibc
#endif

/// The layers of a network that a node trains for itself.
package enum NetworkPart: String, Codable, Equatable, Sendable, CaseIterable {
  /// Every layer.
  case all
  /// Every layer but the last: the representation (LG-FedAvg: Liang et al., *Think Locally, Act Globally*,
  /// 2020, keeps it on the node and shares the head).
  case body
  /// The last layer (FedPer: Arivazhagan et al. 2019, and FedRep: Collins et al., ICML 2021, keep it on the
  /// node and share the body).
  case head
}

/// How a node trains a model of its own: mini-batch SGD, w ← w − η (g(w) + λ (w − a)), on the chosen layers.
package struct PersonalSettings: Codable, Equatable, Sendable {
  /// Passes over the node's records, 1 to `LocalAlgorithm.maximumEpochs`.
  package var epochs: Int
  /// Records of a step, at least 1.
  package var batchSize: Int
  /// η, above 0.
  package var learningRate: Float
  /// What is trained; the rest stays as it is.
  package var part: NetworkPart
  /// λ, the pull towards the anchor a, 0 to 1 / η (Ditto: Li et al., *Ditto: Fair and Robust Federated Learning
  /// Through Personalization*, ICML 2021, eq. 2).
  package var proximal: Float
  /// The shares of the classes in the federation, above 0 and of sum 1; nil to learn the node's own as well.
  ///
  /// With them a class's logit is shifted by the logarithm of its share at the node over that in the federation
  /// while training (logit adjustment: Menon et al., *Long-Tail Learning via Logit Adjustment*, ICLR 2021):
  /// what is learnt is how the node's records look, not which classes its few records happen to have. The
  /// node's share is smoothed by as many records of the federation as there are classes.
  package var classShares: [Float]?

  /// Settings; `validate` checks the limits.
  package init(
    epochs: Int, batchSize: Int, learningRate: Float, part: NetworkPart = .all, proximal: Float = 0,
    classShares: [Float]? = nil
  ) {
    self.epochs = epochs
    self.batchSize = batchSize
    self.learningRate = learningRate
    self.part = part
    self.proximal = proximal
    self.classShares = classShares
  }

  /// Refuses impossible settings.
  package func validate() throws(LearningError) {
    try LocalSettings(
      epochs: epochs, batchSize: batchSize, learningRate: learningRate, proximal: proximal
    ).validate()
  }

  /// Refuses settings that are not for the model.
  package func validate(model: NetworkModel) throws(LearningError) {
    try validate()
    guard part == .all || model.layers.count > 1 else {
      throw .invalidSetting(
        name: "the layers that a node trains", reason: "a linear model has one layer: choose all")
    }
    guard let classShares else { return }
    guard model.objective.isClassification else {
      throw .invalidSetting(name: "balancing", reason: "it is for classes, and the model predicts numbers")
    }
    let classes = model.objective == .binary ? 2 : model.objective.outputs
    guard classShares.count == classes, classShares.allSatisfy({ $0 > 0 && $0 < 1 }),
      abs(classShares.reduce(0, +) - 1) < 1e-3
    else {
      throw .invalidSetting(
        name: "the shares of classes", reason: "they must be \(classes) numbers above 0 of sum 1")
    }
  }

  /// The shares of classes among labels, each class counted once more, so that none is 0. Refuses labels that
  /// are no class.
  package static func classShares(
    of labels: some Sequence<Float>, objective: Objective
  ) throws(LearningError) -> [Float] {
    guard objective.isClassification else {
      throw .invalidSetting(name: "balancing", reason: "it is for classes, and the model predicts numbers")
    }
    var counts = [Double](repeating: 1, count: objective == .binary ? 2 : objective.outputs)
    for (row, label) in labels.enumerated() {
      guard objective.allows(label: label) else {
        throw .invalidLabel(row: row, allowed: objective.labelDescription)
      }
      counts[Int(label)] += 1
    }
    let total = counts.reduce(0, +)
    return counts.map { Float($0 / total) }
  }

  /// What is added to every score while training on these labels; nil for nothing.
  func shifts(labels: [Float], objective: Objective) -> [Float]? {
    guard let classShares else { return nil }
    let classes = Float(classShares.count)
    var own = classShares.map { $0 * classes }
    for label in labels { own[Int(label)] += 1 }
    let total = Float(labels.count) + classes
    let shifts = zip(own, classShares).map { log($0 / total / $1) }
    return objective == .binary ? [shifts[1] - shifts[0]] : shifts
  }
}
