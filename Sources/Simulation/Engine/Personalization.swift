package import Learning

/// How nodes come to models of their own, which no other party sees.
///
/// All of it happens beside the training of the global model, which stays as it is: the models are compared on the
/// same held-out records.
package enum Personalization: Codable, Equatable, Sendable {
  /// Local SGD from the final global model (Wang et al., *Federated Evaluation of On-device Personalization*, 2019).
  /// Each node then keeps global + α · displacement, α among 0 (global), ¼, ½, ¾ and 1 (local), by the loss in a
  /// fourfold cross-validation over its own training records. Nodes with fewer than 24, where that would tell
  /// little but noise, take half of the displacement.
  case fineTuning(PersonalDescent)
  /// A model of each node's own, trained whenever the node takes part, and pulled towards the global model of the
  /// round: `PersonalDescent.proximal` is the paper's λ (Li et al., ICML 2021).
  case ditto(PersonalDescent)
  /// A model of each node's own in a mixture with the global one, of a share that each node learns (APFL: Deng et
  /// al. 2020).
  case interpolation(PersonalDescent, initialShare: Float)
  /// A second federated model of which only the body is shared; each node has a head of its own. With `headEpochs`
  /// the head is trained first and then the body (FedRep: Collins et al., ICML 2021); without, both together
  /// (FedPer: Arivazhagan et al. 2019). The server adds the mean displacement of the body.
  case sharedBody(PersonalDescent, headEpochs: Int?)
  /// So many federated models, 2 to 16. A node trains, and uses, the one with the lowest loss on its own training
  /// records (IFCA: Ghosh et al., NeurIPS 2020, with local steps).
  case clusters(PersonalDescent, count: Int)

  /// The most federated models of `clusters`.
  package static let maximumClusters = 16

  /// How nodes train.
  package var descent: PersonalDescent {
    switch self {
    case .fineTuning(let descent), .ditto(let descent), .interpolation(let descent, _),
      .sharedBody(let descent, _), .clusters(let descent, _):
      descent
    }
  }

  /// Whether a second model is trained over several nodes, which the budget of the first does not cover.
  package var isFederated: Bool {
    switch self {
    case .fineTuning, .ditto, .interpolation: false
    case .sharedBody, .clusters: true
    }
  }

  /// What the budget of the global model does not cover; nil if nodes use nothing but what was released.
  package var uncovered: String? {
    if isFederated { return "its second federated model would spend a budget of its own" }
    return descent.isBalanced ? "balancing takes the exact shares of classes over all nodes" : nil
  }

  /// Refuses impossible settings, and those that are not for the model.
  package func validate(architecture: ModelArchitecture) throws {
    guard architecture.isDescended else {
      throw CentralRunError.invalidSetting(
        name: "the personalization", reason: "its local steps are those of linear models and networks")
    }
    let model = Model(architecture: architecture, inputs: 1)
    let shares =
      descent.isBalanced && architecture.objective.isClassification
      ? try PersonalSettings.classShares(of: [], objective: architecture.objective) : nil
    _ = try PersonalTrainer(model: model, settings: descent.settings(classShares: shares))
    func check(_ isValid: Bool, _ reason: String) throws {
      guard isValid else { throw CentralRunError.invalidSetting(name: "the personalization", reason: reason) }
    }
    try check(
      !descent.isBalanced || architecture.objective.isClassification,
      "balancing is for classes, and the model predicts numbers")
    switch self {
    case .fineTuning: break
    case .ditto: try check(descent.proximal > 0, "without a pull towards the global model it is no Ditto")
    case .interpolation(_, let share):
      try check(share > 0 && share <= 1, "the initial share must be above 0 and at most 1")
    case .sharedBody(_, let headEpochs):
      try check(
        headEpochs.map { (1...LocalAlgorithm.maximumEpochs).contains($0) } ?? true,
        "the head takes 1 to \(LocalAlgorithm.maximumEpochs) epochs")
      try check(descent.part == .all, "which layers are trained is decided by the method")
      var body = descent
      body.part = .body
      do { _ = try PersonalTrainer(model: model, settings: body.settings(classShares: shares)) } catch {
        try check(false, "a shared body needs hidden layers, and the model is linear")
      }
    case .clusters(_, let count):
      try check(
        (2...Self.maximumClusters).contains(count), "allowed are 2 to \(Self.maximumClusters) clusters")
    }
  }
}

/// The local steps of a node for its own model.
package struct PersonalDescent: Codable, Equatable, Sendable {
  /// Passes over the node's records.
  package var epochs: Int
  /// Records of a step.
  package var batchSize: Int
  /// Step size.
  package var learningRate: Float
  /// The layers that are trained.
  package var part: NetworkPart
  /// The pull towards the global model.
  package var proximal: Float
  /// Whether the node's own shares of classes are not to be learnt: see `PersonalSettings.classShares`.
  package var isBalanced: Bool

  package init(
    epochs: Int, batchSize: Int, learningRate: Float, part: NetworkPart = .all, proximal: Float = 0,
    isBalanced: Bool = false
  ) {
    self.epochs = epochs
    self.batchSize = batchSize
    self.learningRate = learningRate
    self.part = part
    self.proximal = proximal
    self.isBalanced = isBalanced
  }

  /// The same for the code of nodes.
  func settings(classShares: [Float]?, part: NetworkPart? = nil, epochs: Int? = nil) -> PersonalSettings {
    PersonalSettings(
      epochs: epochs ?? self.epochs, batchSize: batchSize, learningRate: learningRate,
      part: part ?? self.part, proximal: proximal, classShares: isBalanced ? classShares : nil)
  }
}
