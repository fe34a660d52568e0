import ArgumentParser
import Federation
import Foundation
import Privacy

/// `accord privacy calibrate`
struct PrivacyCalibrateCommand: ParsableCommand {
  /// What is looked for.
  enum Unknown: String, ExpressibleByArgument, CaseIterable {
    case noiseMultiplier = "noise-multiplier"
    case steps
    case samplingProbability = "sampling-probability"
  }

  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "The least noise, the most releases or the largest sampling rate that meets a target.",
    discussion: """
      Without --mechanism it is Skellam noise on the grid that a federation would use.

      Examples:
        accord privacy calibrate --epsilon 8 --rounds 40 --clip 4 --dimension 200
        accord privacy calibrate --target-epsilon 4 --mechanism gaussian --sampling-probability 0.01 \\
          --steps 10000
        accord privacy calibrate --target-epsilon 4 --mechanism gaussian --noise-multiplier 1 \\
          --sampling-probability 0.01 --solve steps
      """)
  @OptionGroup var options: MechanismOptions
  @Option(name: [.customLong("target-epsilon"), .customLong("epsilon")], help: "Epsilon.")
  var epsilon: Double
  @Option(help: "What to look for: noise-multiplier, steps or sampling-probability.")
  var solve = Unknown.noiseMultiplier
  @Option(
    name: [.customLong("noise-multiplier"), .customLong("sigma")],
    help: "Noise over the clip norm, if it is not looked for.") var noiseMultiplier: Double?
  @Option(name: [.customLong("steps"), .customLong("rounds")], help: "Releases, if not looked for.")
  var steps = 1
  @Option(
    name: [.customLong("sampling-probability"), .customLong("sampling")],
    help: "Rate of Poisson sampling, if not looked for.") var samplingProbability = 1.0
  @Flag(help: "Print JSON.") var json = false

  struct Result: Encodable {
    var epsilon: Double
    var delta: Double
    var noiseMultiplier: Double?
    var variance: Double?
    var rounds: Int
    var samplingProbability: Double
    var statement: PrivacyStatement
  }

  func validate() throws {
    if solve != .noiseMultiplier, options.hasNoiseMultiplier, noiseMultiplier == nil {
      throw ValidationError("--solve \(solve.rawValue) needs --noise-multiplier")
    }
    if solve == .noiseMultiplier, noiseMultiplier != nil {
      throw ValidationError(
        "--noise-multiplier is what is looked for; use --solve steps or --solve sampling-probability")
    }
    if solve == .noiseMultiplier, !options.hasNoiseMultiplier {
      throw ValidationError("this mechanism has no noise multiplier to look for; use --solve steps")
    }
  }

  func run() throws {
    var options = options
    if options.mechanism == nil {
      options.mechanism = .skellam
      guard options.clip > 0, (1...IntegerClip.maximumDimension).contains(options.dimension) else {
        throw ValidationError(
          "--clip must be positive and --dimension from 1 to \(IntegerClip.maximumDimension)")
      }
      options.scale =
        options.scale
        ?? VectorPlan.scale(clipNorm: options.clip, dimension: options.dimension, people: 1)
    }
    let budget = PrivacyBudget(epsilon: epsilon, delta: options.delta)
    let relation = options.neighbouring.relation
    // A probe with plain values: mistakes are told before a search, and the accountant is chosen.
    let probe = try options.event(
      multiplier: noiseMultiplier ?? 1, steps: steps, rate: samplingProbability)
    let kind = try options.accountant(for: [probe]).kind
    var (multiplier, steps, rate) = (noiseMultiplier, steps, samplingProbability)
    /// A value that makes no event makes one that every accountant refuses.
    func events(_ multiplier: Double, _ steps: Int, _ rate: Double) -> [PrivacyEvent] {
      let event = try? options.event(multiplier: multiplier, steps: steps, rate: rate)
      return [event ?? PrivacyEvent(mechanism: .none)]
    }
    switch solve {
    case .noiseMultiplier:
      multiplier =
        try Calibration.noise(forBudget: budget, accountant: kind, relation: relation) {
          events($0, steps, rate)
        }.value
    case .steps:
      steps =
        try Calibration.releases(forBudget: budget, accountant: kind, relation: relation) {
          events(multiplier ?? 1, $0, rate)
        }.value
    case .samplingProbability:
      rate =
        try Calibration.samplingRate(forBudget: budget, accountant: kind) {
          events(multiplier ?? 1, steps, $0)
        }.value
    }
    try report(options, kind, multiplier, steps, rate)
  }

  private func report(
    _ options: MechanismOptions, _ kind: AccountantKind, _ multiplier: Double?, _ steps: Int, _ rate: Double
  ) throws {
    let event = try options.event(multiplier: multiplier ?? 1, steps: steps, rate: rate)
    let accountant = try MechanismOptions.accountant(kind, [event], options.neighbouring.relation)
    let reached = try accountant.epsilon(delta: options.delta).epsilon
    let statement = PrivacyStatement(
      epsilon: reached, delta: options.delta, unit: options.unit, relation: accountant.relation,
      mechanism: event.mechanism.name, trustMode: options.trustMode, accountant: kind)
    var result = Result(
      epsilon: reached, delta: options.delta,
      noiseMultiplier: options.hasNoiseMultiplier ? multiplier : nil, variance: nil, rounds: steps,
      samplingProbability: rate, statement: statement)
    if case .skellam(let variance, _, _, _, _) = event.mechanism { result.variance = variance }
    if json { return try Console.writeJSON(result) }
    if let multiplier = result.noiseMultiplier {
      let variance = result.variance.map { ", variance \($0) grid units squared" } ?? ""
      Console.write("noise multiplier \(multiplier)\(variance)")
    }
    if rate < 1 { Console.write("sampling probability \(rate)") }
    Console.write("\(steps) \(steps == 1 ? "round" : "rounds"): \(statement)")
  }
}
