import Learning
import Yams

/// How a kind of model is written in a scenario: `model: {kind: …}`. Adding one means a file with its declaration and a
/// line in `all`.
struct ModelDeclaration: Sendable {
  /// The word after `kind:`.
  let kind: String
  /// The keys that it knows, besides `kind`.
  let keys: [String]
  /// Reads them; a mistake is noted.
  let read: @Sendable (inout ScenarioReader, ScenarioTable) -> ModelArchitecture

  /// Every kind.
  static let all: [ModelDeclaration] = [
    .linear, .network, .trees, .recommendation, .neuralRecommendation, .segments,
  ]
}

extension ScenarioReader {
  /// The `model` of a scenario: `logistic`, a table with `kind`, or one with `hidden` alone.
  mutating func architecture(_ top: ScenarioTable) -> ModelArchitecture {
    guard let node = top.entries["model"], word(node) != "logistic" else { return .logisticRegression }
    let kinds = ModelDeclaration.all.map(\.kind)
    guard node.mapping != nil else {
      note(
        node, "model",
        "model must be logistic, a table with hidden: [units, …], or one with kind: "
          + kinds.joined(separator: ", "))
      return .logisticRegression
    }
    guard node.mapping?.contains(where: { $0.key.scalar?.string == "kind" }) == true else {
      return perceptron(node)
    }
    let known = Set(ModelDeclaration.all.flatMap(\.keys)).sorted()
    guard let own = table(node, "model", known: ["kind"] + known) else { return .logisticRegression }
    let typed = word(own.entries["kind"])
    guard let declaration = ModelDeclaration.all.first(where: { $0.kind == typed }) else {
      let hint =
        typed.flatMap { TableError.nearestName(to: $0, in: kinds) }.map { "; did you mean \($0)?" } ?? ""
      note(
        own.entries["kind"], "model.kind", "model.kind must be one of \(kinds.joined(separator: ", "))" + hint
      )
      return .logisticRegression
    }
    for key in own.keys where key != "kind" && !declaration.keys.contains(key) {
      note(
        own.entries[key], own.path(key),
        "\(own.path(key)) means nothing if kind is \(declaration.kind); there are "
          + declaration.keys.joined(separator: ", "))
    }
    let architecture = declaration.read(&self, own)
    do throws(LearningError) { try architecture.validate() } catch { note(node, "model", "model: \(error)") }
    return architecture
  }

  private mutating func perceptron(_ node: Node) -> ModelArchitecture {
    guard let own = table(node, "model", known: ["hidden"]),
      require(own, "hidden", "the units of each hidden layer"), let layers = own.entries["hidden"]
    else { return .logisticRegression }
    let units = hidden(own)
    guard (1...ModelArchitecture.maximumLayers).contains(units.count) else {
      note(layers, "model.hidden", "model.hidden must list 1 to \(ModelArchitecture.maximumLayers) layers")
      return .logisticRegression
    }
    return .multiLayerPerceptron(hidden: units)
  }

  /// The units of hidden layers; none without the key.
  mutating func hidden(_ own: ScenarioTable) -> [Int] {
    guard let layers = own.entries["hidden"] else { return [] }
    return list(layers, own.path("hidden")).compactMap {
      integer($0, own.path("hidden"), in: 1...ModelArchitecture.maximumUnits)
    }
  }

  /// What a model predicts, by the keys `objective`, `classes`, `delta` and `power`.
  mutating func objective(_ own: ScenarioTable) -> Objective {
    let word = choice(own, "objective", or: ObjectiveWord.binary)
    for (key, owner) in [("classes", ObjectiveWord.classes), ("delta", .huber), ("power", .tweedie)]
    where owner != word && own.entries[key] != nil {
      note(
        own.entries[key], own.path(key), "\(own.path(key)) is for objective: \(owner.rawValue); leave it out")
    }
    switch word {
    case .binary: return .binary
    case .classes:
      _ = require(own, "classes", "the number of classes")
      return .classes(count: integer(own, "classes", in: 3...Objective.maximumClasses, or: 3))
    case .squaredError: return .squaredError
    case .huber:
      return .huber(delta: Float(number(own, "delta", "a number above 0", or: 1) { $0 > 0 && $0 <= 1e9 }))
    case .poisson: return .poisson
    case .tweedie:
      return .tweedie(
        power: Float(number(own, "power", "above 1 and below 2", or: 1.5) { $0 > 1 && $0 < 2 }))
    }
  }
}

/// The objectives, by the words of a scenario file.
private enum ObjectiveWord: String, CaseIterable {
  case binary, classes, huber, poisson, tweedie
  case squaredError = "squared-error"
}
