import ArgumentParser
import Foundation
import Privacy

/// `accord privacy account`
struct PrivacyAccountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "account", abstract: "The epsilon of releases.",
    discussion: """
      The noise multiplier is the standard deviation (for Laplace the scale) over the clip norm; with
      replace-one neighbours the sensitivity is twice the clip norm.

      Examples:
        accord privacy account --mechanism gaussian --noise-multiplier 1 --sampling-probability 0.01 \\
          --steps 1000 --delta 1e-5
        accord privacy account --mechanism skellam --noise-multiplier 1 --clip 1 --scale 1000 \\
          --dimension 1048576 --delta 1e-6
        accord privacy account --events events.json --delta 1e-6 --json
      """)
  @OptionGroup var options: MechanismOptions
  @Option(
    name: [.customLong("noise-multiplier"), .customLong("sigma")],
    help: "Noise: standard deviation or scale over the clip norm.") var noiseMultiplier: Double?
  @Option(help: "Releases.") var steps = 1
  @Option(
    name: [.customLong("sampling-probability"), .customLong("sampling")],
    help: "Rate of Poisson sampling; 1 for none.") var samplingProbability = 1.0
  @Option(help: "A file with a list of events, instead of one mechanism.") var events: String?
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    if events == nil, options.hasNoiseMultiplier, noiseMultiplier == nil {
      throw ValidationError("give --noise-multiplier, or --events FILE")
    }
    if events != nil, noiseMultiplier != nil || options.mechanism != nil {
      throw ValidationError("--events FILE describes the mechanisms; give it alone")
    }
  }

  func run() throws {
    var result: AccountedResult
    if let events {
      let list = try EventList(json: readFile(events))
      let accountant = try MechanismOptions.accountant(options.accountant, list.events, list.relation)
      result = AccountedResult(
        statement: PrivacyStatement(
          epsilon: try accountant.epsilon(delta: options.delta).epsilon, delta: options.delta,
          unit: list.unit, relation: list.relation, mechanism: list.mechanismNames,
          trustMode: list.trustMode, accountant: accountant.kind), events: list.events)
    } else {
      let event = try options.event(
        multiplier: noiseMultiplier ?? .nan, steps: steps, rate: samplingProbability)
      let accountant = try options.accountant(for: [event])
      result = AccountedResult(
        statement: PrivacyStatement(
          epsilon: try accountant.epsilon(delta: options.delta).epsilon, delta: options.delta,
          unit: options.unit, relation: accountant.relation, mechanism: event.mechanism.name,
          trustMode: options.trustMode, accountant: accountant.kind),
        noiseMultiplier: noiseMultiplier, samplingProbability: samplingProbability, steps: steps,
        events: [event])
    }
    if json { return try Console.writeJSON(result) }
    Console.write("\(result.statement)")
  }
}
