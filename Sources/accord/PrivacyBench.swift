import ArgumentParser
import Cryptography
import Foundation
import Privacy

/// `accord bench privacy`
struct PrivacyBench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "privacy", abstract: "Time the accountants and the samplers.",
    discussion: """
      Accountants: every row of the reference table, from nothing to epsilon. Samplers: nanoseconds a draw of
      the tables that production uses and of the exact samplers that they are tested against. All figures are
      medians.

      Examples:
        accord bench privacy
        accord bench privacy --json
      """)
  @Option(help: "Repetitions per figure.") var repetitions = 15
  @Option(help: "Draws per repetition of a table.") var draws = 200_000
  @Flag(help: "Print JSON.") var json = false

  func validate() throws {
    guard (1...1000).contains(repetitions), (100...10_000_000).contains(draws) else {
      throw ValidationError("--repetitions must be from 1 to 1000 and --draws from 100 to 10000000")
    }
  }

  /// A row of the reference table.
  struct Accounting: Codable {
    let name: String
    let accountant: AccountantKind
    let milliseconds: Double
    let epsilon: Double
    let expected: Double
  }

  /// One sampler at one standard deviation.
  struct Sampling: Codable {
    let sampler: String
    let method: String
    let sigma: Double
    let nanosecondsPerDraw: Double
    let draws: Int
  }

  struct Report: Codable {
    let repetitions: Int
    let accountants: [Accounting]
    let samplers: [Sampling]
  }

  static let sigmas: [Double] = [4, 16, 64, 256, 1000]

  func run() throws {
    let report = Report(
      repetitions: repetitions, accountants: try accountants(), samplers: try Self.sigmas.flatMap(samplers))
    if json { try Console.writeJSON(report) } else { Console.write(Self.table(report)) }
  }

  /// The median of the repetitions, seconds; one more run before them warms up.
  private func median(_ body: () throws -> Void) throws -> Double {
    try body()
    let clock = ContinuousClock()
    let times = try (0..<repetitions).map { _ in try clock.measure(body) }.sorted()
    let (seconds, attoseconds) = times[times.count / 2].components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }

  private func accountants() throws -> [Accounting] {
    try AccountingReference.rows.map { row in
      var epsilon = 0.0
      let seconds = try median { epsilon = try row.epsilon() }
      return Accounting(
        name: row.name, accountant: row.accountant, milliseconds: seconds * 1e3, epsilon: epsilon,
        expected: row.expected)
    }
  }

  private func samplers(sigma: Double) throws -> [Sampling] {
    let whole = UInt64(sigma * sigma)
    // Discrete Laplace noise of this deviation has a scale of about σ/√2, Poisson's variance is its mean.
    let scale = UInt64((sigma / 2.0.squareRoot()).rounded())
    return [
      try timed("Skellam", sigma, try SkellamSampler(variance: sigma * sigma)),
      try timed("discrete Gaussian", sigma, try DiscreteGaussianSampler(variance: sigma * sigma)),
      try timed("discrete Laplace", sigma, try DiscreteLaplaceSampler(scale: Double(scale))),
      try timed("Poisson", sigma, try PoissonSampler(mean: sigma * sigma)),
      // Half the variance each: the exact Skellam draw is a difference of two Poisson draws.
      try timed("Skellam", sigma, draws: exactDraws(perDraw: sigma * sigma * 2)) { sampler in
        let first = try sampler.poisson(meanNumerator: whole, meanDenominator: 2)
        return first - (try sampler.poisson(meanNumerator: whole, meanDenominator: 2))
      },
      try timed("discrete Gaussian", sigma, draws: exactDraws(perDraw: 10)) {
        try $0.discreteGaussian(numerator: whole, denominator: 1)
      },
      try timed("discrete Laplace", sigma, draws: exactDraws(perDraw: 10)) {
        try $0.discreteLaplace(scaleNumerator: scale, scaleDenominator: 1)
      },
      // The mean that the exact sampler takes is 2^16 at most.
      whole > 1 << 16
        ? nil
        : try timed("Poisson", sigma, draws: exactDraws(perDraw: sigma * sigma * 2)) {
          try $0.poisson(meanNumerator: whole, meanDenominator: 1)
        },
    ].compactMap { $0 }
  }

  /// Fewer draws where one is slow: the exact samplers take time in proportion to `perDraw`.
  private func exactDraws(perDraw: Double) -> Int { max(5, Int(Double(draws) / 10 / perDraw)) }

  private func timed(_ name: String, _ sigma: Double, _ sampler: some TableSampler) throws -> Sampling {
    var values = [Int64](repeating: 0, count: draws)
    var random = RandomStream(testSeed: 1)
    let seconds = try median { sampler.addNoise(to: &values, random: &random) }
    return Sampling(
      sampler: name, method: "table", sigma: sigma, nanosecondsPerDraw: seconds / Double(draws) * 1e9,
      draws: draws)
  }

  private func timed(
    _ name: String, _ sigma: Double, draws: Int, _ draw: (inout ExactSampler) throws -> Int64
  ) throws -> Sampling? {
    var sampler = ExactSampler(random: RandomStream(testSeed: 2))
    var sum: Int64 = 0
    // Variances that the exact sampler does not take have no figure.
    do { sum = try draw(&sampler) } catch is MechanismError { return nil }
    let seconds = try median { for _ in 0..<draws { sum &+= try draw(&sampler) } }
    return Sampling(
      sampler: name, method: "exact", sigma: sigma, nanosecondsPerDraw: seconds / Double(draws) * 1e9,
      draws: draws)
  }

  private static func table(_ report: Report) -> String {
    func column(_ text: String, _ width: Int) -> String {
      text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
    }
    let accountants = report.accountants.map {
      "  " + column($0.name, 60) + column($0.accountant.rawValue, 6)
        + String(format: "%10.3f ms   epsilon %.6f (%.6f)", $0.milliseconds, $0.epsilon, $0.expected)
    }
    let samplers = report.samplers.map {
      "  " + column($0.sampler, 20) + column($0.method, 8)
        + String(format: "sigma %6g %12.1f ns a draw", $0.sigma, $0.nanosecondsPerDraw)
    }
    return
      (["accountants, median of \(report.repetitions) (reference value in parentheses)"] + accountants
      + ["samplers, median of \(report.repetitions)"] + samplers).joined(separator: "\n")
  }
}
