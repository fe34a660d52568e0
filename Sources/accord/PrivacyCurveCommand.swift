import ArgumentParser
import Foundation
import Privacy

/// `accord privacy curve`
struct PrivacyCurveCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "curve", abstract: "Epsilon as a function of delta, as a table and as a picture.",
    discussion: """
      Example:
        accord privacy curve --mechanism gaussian --noise-multiplier 1 --sampling-probability 0.01 \\
          --steps 1000 --csv curve.csv --svg curve.svg
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
  @Option(help: "Least delta.") var from = 1e-10
  @Option(help: "Largest delta.") var to = 1e-2
  @Option(help: "Points.") var points = 101
  @Option(help: "Write the table here.") var csv: String?
  @Option(help: "Write the picture here.") var svg: String?
  @Flag(help: "Also draw every other accountant that covers the events.") var compare = false

  func validate() throws {
    if csv == nil, svg == nil { throw ValidationError("give --csv FILE, --svg FILE or both") }
    if events == nil, options.hasNoiseMultiplier, noiseMultiplier == nil {
      throw ValidationError("give --noise-multiplier, or --events FILE")
    }
    guard from > 0, from < to, to < 1 else {
      throw ValidationError("--from must be above 0 and below --to, and --to below 1")
    }
  }

  func run() throws {
    let list: EventList
    if let events {
      list = try EventList(json: readFile(events))
    } else {
      let event = try options.event(
        multiplier: noiseMultiplier ?? .nan, steps: steps, rate: samplingProbability)
      list = EventList(
        events: [event], unit: options.unit, relation: options.neighbouring.relation,
        trustMode: options.trustMode)
    }
    var accountants = [
      try MechanismOptions.accountant(options.accountant, list.events, list.relation)
    ]
    if compare {
      for kind in AccountantKind.allCases where kind != accountants[0].kind {
        if let other = try? MechanismOptions.accountant(kind, list.events, list.relation) {
          accountants.append(other)
        }
      }
    }
    let curves = try accountants.map { accountant in
      try PrivacyCurve(
        accountant: accountant, range: from...to, count: points, marked: options.delta, unit: list.unit,
        mechanism: list.mechanismNames, trustMode: list.trustMode)
    }
    if let csv {
      // One header, then the rows of every curve.
      let rows = curves.enumerated().map { index, curve in
        index == 0 ? curve.csv : String(curve.csv.drop { $0 != "\n" }.dropFirst())
      }
      try write(rows.joined(), to: csv)
    }
    if let svg { try write(CurvePlot(curves).svg, to: svg) }
    for curve in curves { Console.write("\(curve.statement)") }
  }

  private func write(_ text: String, to path: String) throws {
    do { try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
      throw CommandFailure("cannot write \(path): \((error as NSError).localizedDescription)")
    }
  }
}
