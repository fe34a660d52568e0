import Federation
import Learning

extension ScenarioReader {
  private enum AttackWord: String, CaseIterable {
    case flipLabels = "flip-labels"
    case scaleUpdates = "scale-updates"
  }

  private enum CombinationWord: String, CaseIterable {
    case mean, median
    case trimmedMean = "trimmed-mean"

    var combination: GroupCombination {
      switch self {
      case .mean: .mean
      case .median: .median
      case .trimmedMean: .trimmedMean
      }
    }
  }

  /// `attack` and `groups`.
  mutating func readRobustness(_ top: ScenarioTable, _ setup: inout RunSetup) {
    for key in ["attack", "groups"] where setup.aggregation != .off {
      guard let node = top.entries[key], word(node) != "none" else { continue }
      note(node, key, "\(key) is simulated with aggregation: off alone")
    }
    if let node = top.entries["attack"], word(node) != "none",
      let own = table(node, "attack", known: ["name", "share", "kind", "factor"])
    {
      for key in ["share", "kind"] { _ = require(own, key, "part of an attack") }
      let permille = permille(own, "share", in: 0...500, or: 100)
      switch choice(own, "kind", or: AttackWord.flipLabels) {
      case .flipLabels:
        if let factor = own.entries["factor"] {
          note(factor, own.path("factor"), "attack.factor means nothing if kind is flip-labels; leave it out")
        }
        setup.attack = Attack(permille: permille, kind: .flipLabels)
      case .scaleUpdates:
        let factor = number(own, "factor", "above 1 and at most 1e6", or: 100) {
          $0 > 1 && $0 <= Double(Attack.largestFactor)
        }
        setup.attack = Attack(permille: permille, kind: .scaleUpdates(factor: Float(factor)))
      }
    }
    if let node = top.entries["groups"], word(node) != "none",
      let own = table(node, "groups", known: ["name", "number", "combination"])
    {
      _ = require(own, "number", "the groups of a cohort")
      setup.groups = RobustGroups(
        count: integer(own, "number", in: 1...256, or: 3),
        combination: choice(own, "combination", or: CombinationWord.median).combination)
    }
  }
}
