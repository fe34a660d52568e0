import ConsentLedger
import Foundation
import Privacy

/// Text in a page: whatever a scenario or a data file says stays text.
enum HTMLText {
  static func escaped(_ text: String) -> String { PageText.escaped(text) }

  /// An element with text in it.
  static func element(_ name: String, _ text: String, class style: String? = nil) -> String {
    let attribute = style.map { " class=\"\($0)\"" } ?? ""
    return "<\(name)\(attribute)>\(escaped(text))</\(name)>"
  }
}

/// What a number ε means, in full.
enum GuaranteeText {
  /// What a run proved.
  static func of(_ run: SweepResults.Run) -> String {
    guard let privacy = run.outcome.privacy, privacy.epsilon.isFinite else {
      return "no guarantee: no noise was added"
    }
    return privacy.description
  }

  /// Everything about a guarantee but ε itself, so that equal ones can be told once.
  static func terms(_ run: SweepResults.Run) -> String? {
    guard let privacy = run.outcome.privacy, privacy.epsilon.isFinite else { return nil }
    let accountant = privacy.accountant.map { ", \($0.rawValue) accountant" } ?? ""
    return
      "δ = \(FigureText.short(privacy.delta)) per \(privacy.unit.rawValue) (\(privacy.relation.rawValue), "
      + "\(privacy.mechanism), \(privacy.trustMode.rawValue)\(accountant))"
  }

  /// The words of a trust mode for those who do not know them.
  static func trust(_ mode: TrustMode) -> String {
    switch mode {
    case .distributed: "every node adds its share of the noise; the server sees only the noised sum"
    case .local: "every node adds the full noise itself; nobody is trusted"
    case .central: "the server adds the noise once and is trusted with the exact sum"
    }
  }
}
