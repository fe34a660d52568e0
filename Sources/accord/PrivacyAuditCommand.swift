import ArgumentParser
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Simulation

extension DistributedNoise: ExpressibleByArgument {
  /// As it is typed: `skellam` or `discrete-gaussian`.
  public init?(argument: String) {
    switch argument {
    case "skellam": self = .skellam
    case "discrete-gaussian": self = .discreteGaussian
    default: return nil
    }
  }
  /// What `init(argument:)` reads.
  public static var allValueStrings: [String] { ["skellam", "discrete-gaussian"] }
}
extension AuditFault: ExpressibleByArgument {}
extension PrivacyAudit.Shape: ExpressibleByArgument {}

/// `accord privacy audit`
struct PrivacyAuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Measure epsilon from below by playing the canary game, beside the proven epsilon.",
    discussion: """
      One run of the distributed mechanism as it is deployed: integer clip, a share of the noise from every
      node, the fewest survivors, several rounds. Made-up contributors, the canaries, are slipped in by fair
      coins, and the coins are guessed from the released sums.
      The whole-run bound is that of Steinke, Nasr and Jagielski 2023 and assumes nothing. The round-by-round
      bound tests every round against the trade-off curve that its noise should have.
      With --data the run trains a model of one hidden layer on that table, and canaries are slipped in among
      its customers; the dimension is the model's and there are as many canaries as fit, unless told.
      The exit code is 1 if the lower bound at 99 % confidence exceeds the proven epsilon.

      Examples:
        accord privacy audit --epsilon 8 --rounds 10 --dimension 10000 --canaries 1000
        accord privacy audit --epsilon 8 --break half-noise
        accord privacy audit --data customers.csv --label Churn --subject CustomerID --clip 4
        accord privacy audit --nodes 12 --minimum-survivors 9 --corrupt 0.1 --noise discrete-gaussian --json
      """)
  @Option(help: "Epsilon that the run is calibrated to.") var epsilon = 8.0
  @Option(help: "Delta.") var delta = 1e-5
  @Option(help: "Nodes of the cohort.") var nodes = 8
  @Option(help: "Nodes that deliver, at least; all of them without it.") var minimumSurvivors: Int?
  @Option(help: "Share of the cohort that adds no noise.") var corrupt = 0.0
  @Option(help: "Rounds.") var rounds = 10
  @Option(help: "Coordinates of an update.") var dimension = 10_000
  @Option(help: "Canaries of each of the two games; 1000 unless there is no room for them.")
  var canaries: Int?
  @Option(help: "CSV file to train on (gzip allowed); needs --label.") var data: String?
  @Option(help: "Column of --data with the outcome; two values.") var label: String?
  @Option(help: "Column of --data that names the customer.") var subject: String?
  @Option(help: "Units of the model's hidden layer, with --data.") var hidden = 32
  @Option(help: "What a canary is: single (one coordinate) or spread (a block of them).")
  var shape = PrivacyAudit.Shape.single
  @Option(help: "Contributors of each node besides canaries.") var contributors = 4
  @Option(help: "Clip norm of an update.") var clip = 1.0
  @Option(help: "Distribution of the noise: skellam or discrete-gaussian.")
  var noise = DistributedNoise.skellam
  @Option(help: "Seed of canaries, data and noise.") var seed: UInt64 = 1
  @Option(
    name: .customLong("break"),
    help: ArgumentHelp(
      "Plant a fault: \(AuditFault.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "fault"))
  var fault: AuditFault?
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard (data == nil) == (label == nil), data != nil || subject == nil else {
      throw ValidationError("--label and --subject describe --data FILE.csv; it needs --label")
    }
    guard (1...1024).contains(hidden) else { throw ValidationError("--hidden must be from 1 to 1024") }
    guard (1...1000).contains(rounds), (1...10_000).contains(nodes), (0...10_000).contains(contributors)
    else {
      throw ValidationError("--rounds must be from 1 to 1000, --nodes and --contributors at most 10000")
    }
    guard (1...1_000_000).contains(dimension), clip > 0, clip.isFinite else {
      throw ValidationError("--dimension must be from 1 to 1000000 and --clip positive")
    }
    guard epsilon > 0, epsilon.isFinite else {
      throw ValidationError("--epsilon must be positive and finite")
    }
  }

  /// A report with what was audited and its statement.
  struct Result: Encodable {
    let statement: PrivacyStatement
    let report: AuditReport
    let verdict: AuditReport.Verdict
    let lowerBound95: Double
    let lowerBound99: Double
    let cohort: DistributedRelease.Cohort
    let dimension: Int
    let rounds: Int
    let noiseVariance: Double
    let seed: UInt64
    let fault: AuditFault?
  }

  func run() throws {
    let result = try audit()
    if json { try Console.writeJSON(result) } else { Console.write(Self.text(result)) }
    if result.verdict == .exceeds { throw ExitCode(1) }
  }

  func audit() throws -> Result {
    let training = try data.map { path in
      try TrainingRelease.prepare(
        LabelledTable(try TableReader.read(path: path), label: label ?? "", subject: subject), hidden: hidden)
    }
    let dimension = training?.model.parameterCount ?? dimension
    let canaries = canaries ?? min(1_000, dimension / 2)
    let cohort = DistributedRelease.Cohort(
      nodes: nodes, minimumSurvivors: minimumSurvivors ?? nodes, corruptFraction: corrupt,
      contributors: training == nil ? contributors : 0)
    let shares = try NoiseDivision.honestSurvivors(
      cohort: nodes, minimumSurvivors: cohort.minimumSurvivors, corruptFraction: corrupt)
    let people = (training?.batch.contributorCount ?? nodes * contributors) + 2 * canaries
    let grid = try IntegerClip(
      clipNorm: clip, scale: VectorPlan.scale(clipNorm: clip, dimension: dimension, people: people),
      dimension: dimension)
    let noise = noise
    let variance = try SkellamCalibration.calibrateVariance(
      budget: PrivacyBudget(epsilon: epsilon, delta: delta), rounds: rounds
    ) { noise.event(clip: grid, variance: $0, shares: shares) }
    let claim = PrivacyAudit.Claim(variance: variance, rounds: rounds, delta: delta) {
      noise.event(clip: grid, variance: $0, shares: shares)
    }
    var random = RandomStream(testSeed: seed)
    var mechanism = try DistributedRelease(
      noise: noise, totalVariance: variance, clip: grid, cohort: cohort, fault: fault, random: &random)
    let audit = try PrivacyAudit(claim: claim, canaries: canaries, shape: shape)
    let report: AuditReport
    if let training {
      var run = TrainingRelease(
        mechanism: mechanism, model: training.model, batch: training.batch, seed: seed)
      report = try audit.play(&run, random: &random)
    } else {
      report = try audit.play(&mechanism, random: &random)
    }
    return Result(
      statement: PrivacyStatement(
        epsilon: report.provenEpsilon, delta: delta, unit: .customer, relation: claim.relation,
        mechanism: claim.event(variance).mechanism.name, trustMode: .distributed,
        accountant: report.accountant),
      report: report, verdict: report.verdict, lowerBound95: report.at95.epsilon,
      lowerBound99: report.at99.epsilon, cohort: cohort, dimension: dimension, rounds: rounds,
      noiseVariance: variance, seed: seed, fault: fault)
  }

  private static func text(_ result: Result) -> String {
    let report = result.report
    let whole = report.wholeRun
    let guesses = report.rounds.reduce(0) { $0 + $1.guesses }
    let correct = report.rounds.reduce(0) { $0 + $1.correct }
    func percent(_ part: Int, _ whole: Int) -> String {
      String(format: "%.1f %%", 100 * Double(part) / Double(max(1, whole)))
    }
    func bound(_ name: String, _ bound: AuditReport.Bound) -> String {
      String(
        format: "lower bound at %@: %.2f (whole run %.2f, round by round %.2f)", name, bound.epsilon,
        bound.wholeRun, bound.roundByRound)
    }
    var lines = [
      "proven: \(result.statement)",
      bound("95 %", report.at95), bound("99 %", report.at99),
      "whole run: \(whole.correct) of \(whole.guesses) guesses about \(whole.canaries) canaries right "
        + "(\(percent(whole.correct, whole.guesses)))",
      "round by round: \(correct) of \(guesses) guesses right (\(percent(correct, guesses))); "
        + String(format: "p = %.2g under the claim", report.pValue),
    ]
    if report.plannedPValue > 0.005 {
      lines.append(
        "this audit is too small to notice half the noise reliably; use more canaries, rounds or epsilon")
    }
    lines.append(
      report.verdict == .exceeds
        ? "VERDICT: the mechanism does not keep the proven epsilon" : "verdict: consistent with the proof")
    return lines.joined(separator: "\n")
  }
}
