/// What a contributor's update is.
///
/// There is no regularisation here: inside a clipped update it would displace the data's part, and the server
/// can apply it exactly (`ServerOptimizer.weightDecay`).
package enum LocalAlgorithm: Codable, Equatable, Sendable {
  /// Minus the gradient of the log loss at the global parameters, averaged over the contributor's records.
  case fedSGD
  /// The displacement that local mini-batch SGD from the global parameters reaches.
  case fedAvg(epochs: Int, batchSize: Int, learningRate: Float)

  /// The most local epochs.
  package static let maximumEpochs = 1000

  /// Refuses impossible settings.
  package func validate() throws(LearningError) {
    guard case .fedAvg(let epochs, let batchSize, let learningRate) = self else { return }
    guard (1...Self.maximumEpochs).contains(epochs) else {
      throw .invalidSetting(name: "FedAvg's epochs", reason: "allowed are 1 to \(Self.maximumEpochs)")
    }
    guard batchSize >= 1 else {
      throw .invalidSetting(name: "FedAvg's batch size", reason: "it must be at least 1")
    }
    guard learningRate.isFinite, learningRate > 0 else {
      throw .invalidSetting(name: "FedAvg's learning rate", reason: "it must be positive and finite")
    }
  }
}
