/// What a contributor's update is.
///
/// There is no regularisation here: inside a clipped update it would displace the data's part, and the server
/// can apply it exactly (`ServerOptimizer.weightDecay`).
package enum LocalAlgorithm: Codable, Equatable, Sendable {
  /// Minus the gradient of the log loss at the global parameters, averaged over the contributor's records.
  case fedSGD
  /// The displacement that local mini-batch SGD from the global parameters reaches.
  case fedAvg(epochs: Int, batchSize: Int, learningRate: Float)
  /// The same, held near the global parameters or made independent of the number of local steps, or both.
  case local(LocalSettings)

  /// The most local epochs.
  package static let maximumEpochs = 1000

  /// The settings of local descent; nil for FedSGD, which takes no step.
  package var descent: LocalSettings? {
    switch self {
    case .fedSGD: nil
    case .fedAvg(let epochs, let batchSize, let learningRate):
      LocalSettings(epochs: epochs, batchSize: batchSize, learningRate: learningRate)
    case .local(let settings): settings
    }
  }

  /// Whether contributors keep control variates from round to round (SCAFFOLD).
  package var hasControlVariates: Bool { descent?.controlVariates == true }

  /// Refuses impossible settings.
  package func validate() throws(LearningError) { try descent?.validate() }
}

/// Local mini-batch SGD, w ← w − η (g(w) + μ (w − w₀)), g being the mean gradient of a mini-batch, η the
/// learning rate, w₀ the global parameters and μ `proximal`.
///
/// **Proximal term** (FedProx: Li et al., *Federated Optimization in Heterogeneous Networks*, MLSys 2020,
/// section 3.2). If no step's gradient is longer than G, the displacement is not longer than G / μ, however
/// many steps there are: local training of contributors with many records drifts no farther.
///
/// **Normalisation** (FedNova: Wang et al., *Tackling the Objective Inconsistency Problem in Heterogeneous
/// Federated Optimization*, NeurIPS 2020). A contributor with n records makes τ = epochs ·
/// ⌈n / batchSize⌉ steps, so that plain averages weigh contributors by their steps: training then ends at a
/// minimum of another objective than the mean of the contributors' losses. `normalise`, T, gives everyone the
/// displacement that T steps at their own average pace would have reached: it is multiplied by T / a with a =
/// τ, or with a proximal term a = Σₖ (1 − ημ)ᵏ over k = 0 … τ − 1, since what a step adds decays in those
/// after it (‖a‖₁ in the paper's general update rule).
///
/// Where this differs from the paper, it is for privacy:
/// - T is a public number of the task. The paper's τ_eff is the mean number of steps, and says how many
///   records people have. T and the server's learning rate multiply each other, but T also decides how many
///   updates reach the clip norm: about τ of a typical contributor leaves the clip norm its meaning.
/// - Contributors count equally, as everywhere in Accord, not by their records: the objective is the mean
///   over contributors of the mean loss of their records.
/// - The vector is scaled before it is clipped. The bound of a contribution, and with it the noise, is the
///   same as without; and contributors with many records no longer reach the clip norm first, so clipping
///   bends the mean less. Scaling afterwards would shrink the part of those with many records below the bound
///   that the noise is made for, or break it for those with few.
///
/// **Control variates** (`controlVariates`): SCAFFOLD, see `ControlVariates`.
package struct LocalSettings: Codable, Equatable, Sendable {
  /// The most steps that displacements are scaled to.
  package static let maximumSteps = 1_000_000

  /// Passes over the contributor's records, 1 to `LocalAlgorithm.maximumEpochs`.
  package var epochs: Int
  /// Records of a step, at least 1.
  package var batchSize: Int
  /// η, above 0.
  package var learningRate: Float
  /// μ, 0 to 1 / learningRate: beyond that, steps would overshoot the global parameters. 0: none.
  package var proximal: Float
  /// T, 1 to `maximumSteps`; nil leaves displacements as they are.
  package var normalise: Int?
  /// Whether steps are corrected by control variates, which needs `normalise` and no proximal term; nil
  /// stands for false.
  package var controlVariates: Bool?

  /// Local descent; `validate` checks the limits.
  package init(
    epochs: Int, batchSize: Int, learningRate: Float, proximal: Float = 0, normalise: Int? = nil,
    controlVariates: Bool? = nil
  ) {
    self.epochs = epochs
    self.batchSize = batchSize
    self.learningRate = learningRate
    self.proximal = proximal
    self.normalise = normalise
    self.controlVariates = controlVariates
  }

  /// Refuses impossible settings. Decoding does not check: call this on whatever came from outside.
  package func validate() throws(LearningError) {
    guard (1...LocalAlgorithm.maximumEpochs).contains(epochs) else {
      throw .invalidSetting(
        name: "FedAvg's epochs", reason: "allowed are 1 to \(LocalAlgorithm.maximumEpochs)")
    }
    guard batchSize >= 1 else {
      throw .invalidSetting(name: "FedAvg's batch size", reason: "it must be at least 1")
    }
    guard learningRate.isFinite, learningRate > 0 else {
      throw .invalidSetting(name: "FedAvg's learning rate", reason: "it must be positive and finite")
    }
    guard proximal >= 0, proximal.isFinite, proximal * learningRate <= 1 else {
      throw .invalidSetting(
        name: "FedProx's weight", reason: "it must be at least 0 and at most 1 / learning rate")
    }
    guard normalise.map({ (1...Self.maximumSteps).contains($0) }) ?? true else {
      throw .invalidSetting(
        name: "FedNova's number of steps", reason: "allowed are 1 to \(Self.maximumSteps)")
    }
    guard controlVariates != true || (normalise != nil && proximal == 0) else {
      throw .invalidSetting(
        name: "SCAFFOLD",
        reason: "it needs the number of steps that displacements are scaled to, and no proximal term")
    }
  }

  /// What a displacement of so many steps, at least 1, is multiplied by; nil to leave it.
  func factor(steps: Int) -> Float? {
    guard let normalise else { return nil }
    let kept = 1 - Double(proximal) * Double(learningRate)
    // Added up from the last step: for kept = 1 the number of steps, without a division by 0.
    var (effective, share) = (0.0, 1.0)
    for _ in 0..<steps where share > 0 {
      effective += share
      share *= kept
    }
    return Float(Double(normalise) / effective)
  }
}
