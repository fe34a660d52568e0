import ArgumentParser
import Foundation
import SecureAggregation

/// `accord secure-aggregation …`
struct SecureAggregationCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "secure-aggregation", abstract: "Size the cryptography of a round.",
    subcommands: [Parameters.self])

  struct Parameters: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Neighbours, threshold and failure probabilities of a cohort's graph.",
      discussion: """
        Examples:
          accord secure-aggregation parameters --clients 1000 --corrupt 0.1 --dropout 0.1
          accord secure-aggregation parameters --clients 5000 --adversary semi-malicious --json
        """)
    @Option(help: "Participants of a round.") var clients: Int
    @Option(help: "Fraction that may collude with the server; below a third.") var corrupt = 0.1
    @Option(help: "Fraction that may drop out; below a third.") var dropout = 0.1
    @Option(help: "Fraction that the server may drop by choice; at most a half.") var chosenDropout = 0.3
    @Option(help: "What the server may do: server (anything) or semi-malicious (drop-outs are chance).")
    var adversary = "server"
    @Option(help: "Graph: auto (complete up to 200 participants), complete or sparse.") var graph = "auto"
    @Flag(help: "Print JSON.") var json = false

    /// What is printed; a probability of zero has no logarithm and is absent.
    struct Result: Encodable {
      let graph: String
      let adversary: String
      let clients: Int
      let neighbours: Int
      let threshold: Int
      let inDegreeCap: Int
      let quorum: Int
      let minimumSurvivors: Int
      let log2PrivacyFailure: Double?
      let log2SeparationFailure: Double?
      let isolatable: Int
      let log2CorrectnessFailure: Double?
    }

    func validate() throws {
      for (name, value) in [
        ("--corrupt", corrupt), ("--dropout", dropout), ("--chosen-dropout", chosenDropout),
      ] where !(0...1).contains(value) {
        throw ValidationError("\(name) is a fraction from 0 to 1")
      }
      _ = try parsedAdversary()
      guard ["auto", "complete", "sparse"].contains(graph) else {
        throw ValidationError("--graph is auto, complete or sparse, not “\(graph)”")
      }
    }

    func run() throws {
      let adversary = try parsedAdversary()
      let isComplete = graph == "complete" || graph == "auto" && clients <= 200
      let corrupt = permille(corrupt)
      let dropout = permille(dropout)
      let found =
        isComplete
        ? try GraphParameters.complete(
          cohort: clients, corruptPermille: corrupt, dropoutPermille: dropout)
        : try GraphParameters.search(
          cohort: clients, corruptPermille: corrupt, dropoutPermille: dropout,
          chosenDropoutPermille: permille(chosenDropout), adversary: adversary)
      if json { return try Console.writeJSON(result(found, isComplete: isComplete)) }
      for line in lines(found, isComplete: isComplete) { Console.write(line) }
    }

    private func parsedAdversary() throws -> GraphParameters.Adversary {
      guard let parsed = GraphParameters.Adversary(rawValue: adversary) else {
        let names = GraphParameters.Adversary.allCases.map(\.rawValue).joined(separator: " or ")
        throw ValidationError("--adversary is \(names), not “\(adversary)”")
      }
      return parsed
    }

    /// Thousandths, rounded up: a fraction is never assumed smaller than it was given. What is within a
    /// millionth of a whole number of thousandths is that number.
    private func permille(_ fraction: Double) -> Int { Int((fraction * 1000 - 1e-6).rounded(.up)) }

    private func result(_ found: GraphParameters, isComplete: Bool) -> Result {
      func finite(_ value: Double) -> Double? { value.isFinite ? value : nil }
      return Result(
        graph: isComplete ? "complete" : "sparse", adversary: adversary, clients: found.cohort,
        neighbours: found.degree, threshold: found.threshold, inDegreeCap: found.inDegreeCap,
        quorum: found.quorum, minimumSurvivors: found.survivorFloor,
        log2PrivacyFailure: finite(found.log2PrivacyFailure),
        log2SeparationFailure: finite(found.log2SeparationFailure), isolatable: found.isolatable,
        log2CorrectnessFailure: finite(found.log2CorrectnessFailure))
    }

    private func lines(_ found: GraphParameters, isComplete: Bool) -> [String] {
      func probability(_ log2: Double) -> String {
        log2.isFinite ? "2^-\(String(format: "%.1f", -log2))" : "impossible"
      }
      return [
        "graph            \(isComplete ? "complete" : "sparse") over \(found.cohort) participants",
        "neighbours (k)   \(found.degree): each deals a share of its secrets to so many"
          + (isComplete ? ", itself included" : ""),
        "threshold (t)    \(found.threshold): so many shares recover a secret",
        "in-degree cap    \(found.inDegreeCap): no participant holds the shares of more",
        "quorum           \(found.quorum): so many sign one and the same list of survivors",
        "survivors        \(found.survivorFloor): fewer are never unmasked; set T_min to at least this",
        "privacy fails    \(probability(found.log2PrivacyFailure)): "
          + "corrupt participants hold t shares of somebody's secrets",
        "separation       \(probability(found.log2SeparationFailure)): "
          + "a sum lacks more than \(found.isolatable) of the honest survivors",
        "cut off          \(found.isolatable): so many honest survivors a hostile server may isolate; "
          + "noise is calibrated without them",
        "the sum is lost  \(probability(found.log2CorrectnessFailure)): "
          + "somebody keeps fewer than t living neighbours",
      ]
    }
  }
}
