import Learning
import Privacy

extension ScenarioReader {
  private enum Method: String, CaseIterable {
    case fineTuning = "fine-tuning"
    case ditto
    case interpolation = "apfl"
    case sharedBody = "fedper"
    case representation = "fedrep"
    case clusters = "ifca"

    /// The keys besides those of all methods.
    var keys: [String] {
      switch self {
      case .fineTuning: ["part"]
      case .ditto: ["part", "proximal"]
      case .interpolation: ["part", "initial_share"]
      case .sharedBody: []
      case .representation: ["head_epochs"]
      case .clusters: ["clusters"]
      }
    }
  }

  private enum Answer: String, CaseIterable {
    case yes = "true"
    case no = "false"
  }

  /// The keys of every method.
  private static let personalKeys = ["method", "epochs", "batch_size", "learning_rate", "balanced"]

  /// `personalization`; nil without.
  mutating func personalization(_ top: ScenarioTable, _ setup: RunSetup) -> Personalization? {
    guard let node = top.entries["personalization"], word(node) != "none",
      let own = table(
        node, "personalization",
        known: ["name"] + Self.personalKeys + Set(Method.allCases.flatMap(\.keys)).sorted())
    else { return nil }
    let method = choice(own, "method", or: Method.fineTuning)
    for key in ["method", "epochs", "batch_size", "learning_rate"] {
      _ = require(own, key, "part of personalization")
    }
    for key in own.keys where !(["name"] + Self.personalKeys + method.keys).contains(key) {
      note(
        own.entries[key], own.path(key),
        "\(own.path(key)) means nothing if method is \(method.rawValue); leave it out")
    }
    if setup.aggregation != .off {
      note(
        node, "personalization",
        "personalization is simulated with aggregation: off alone; what a node does for itself is the same "
          + "there")
    }
    let made = personalization(own, method)
    do { try made.validate(architecture: setup.architecture) } catch {
      note(node, "personalization", "personalization: \(error)")
    }
    if let uncovered = made.uncovered, setup.budget.epsilon.isFinite {
      let key = made.isFederated ? "method" : "balanced"
      note(
        own.entries[key] ?? node, own.path(key),
        "\(own.path(key)): \(uncovered); privacy.epsilon must be inf")
    }
    return made
  }

  private mutating func personalization(_ own: ScenarioTable, _ method: Method) -> Personalization {
    var descent = PersonalDescent(
      epochs: integer(own, "epochs", in: 1...LocalAlgorithm.maximumEpochs, or: 1),
      batchSize: integer(own, "batch_size", in: 1...1_000_000, or: 1), learningRate: rate(own),
      part: choice(own, "part", or: .all), isBalanced: choice(own, "balanced", or: Answer.no) == .yes)
    switch method {
    case .fineTuning: return .fineTuning(descent)
    case .ditto:
      _ = require(own, "proximal", "the pull towards the global model")
      let limit = 1 / descent.learningRate
      descent.proximal = Float(
        number(own, "proximal", "above 0 and at most 1 / learning_rate", or: 0.1) {
          $0 > 0 && Float($0) <= limit
        })
      return .ditto(descent)
    case .interpolation:
      let share = number(own, "initial_share", "above 0 and at most 1", or: 0.5) { $0 > 0 && $0 <= 1 }
      return .interpolation(descent, initialShare: Float(share))
    case .sharedBody: return .sharedBody(descent, headEpochs: nil)
    case .representation:
      let epochs = integer(own, "head_epochs", in: 1...LocalAlgorithm.maximumEpochs, or: descent.epochs)
      return .sharedBody(descent, headEpochs: epochs)
    case .clusters:
      _ = require(own, "clusters", "the number of models")
      return .clusters(
        descent, count: integer(own, "clusters", in: 2...Personalization.maximumClusters, or: 2))
    }
  }
}
