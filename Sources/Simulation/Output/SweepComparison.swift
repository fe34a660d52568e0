import Foundation

/// Two sweeps side by side.
package struct SweepComparison: Codable, Equatable, Sendable {
  /// A field whose value differs between the scenarios, or a data file or version.
  package struct Change: Codable, Equatable, Sendable {
    /// The dotted path in the results.
    package let field: String
    /// In the first sweep; nil if it is not there.
    package let first: String?
    /// In the second sweep; nil if it is not there.
    package let second: String?
  }

  /// A point that is in both.
  package struct Point: Codable, Equatable, Sendable {
    /// The swept values, for people.
    package let name: String
    /// Mean over the seeds of the first sweep.
    package let first: Double
    /// Mean over the seeds of the second.
    package let second: Double
    /// Sample standard deviations; nil with one seed.
    package let firstDeviation: Double?
    package let secondDeviation: Double?
    /// Seeds.
    package let firstSeeds: Int
    package let secondSeeds: Int
    /// Second less first.
    package let difference: Double
    /// Half the width of Welch's 95 % interval around the difference; nil with one seed on a side.
    package let margin: Double?
    /// Welch's two-sided p, corrected by Holm for the number of points; nil with one seed on a side.
    package var adjustedP: Double?
    /// Whether the difference is more than the seeds' noise; nil where that cannot be told.
    package var isBeyondNoise: Bool?
    /// Whether all models are the same to the last bit.
    package let isIdentical: Bool
  }

  /// What is compared.
  package let metric: String
  /// What differs between the configurations.
  package let changes: [Change]
  /// The points that are in both.
  package private(set) var points: [Point]
  /// Points that are in one of them only.
  package let onlyFirst: [String]
  package let onlySecond: [String]

  /// How the verdict is reached.
  package static let rule =
    "beyond noise: Welch's t test on the seeds, p corrected by Holm for the number of points, below 0.05"

  /// Compares two sweeps.
  ///
  /// - Parameter metric: nil for the main metric of both where it is one, else accuracy.
  package init(_ first: SweepResults, _ second: SweepResults, metric: SweepMetric? = nil) {
    let chosen =
      metric ?? (first.mainMetric == second.mainMetric ? first.mainMetric : .accuracy)
    self.metric = chosen.title
    let left = Self.named(first)
    let right = Self.named(second)
    let rightByName = Dictionary(right, uniquingKeysWith: { one, _ in one })
    let leftNames = Set(left.map(\.0))
    onlyFirst = left.map(\.0).filter { rightByName[$0] == nil }
    onlySecond = right.map(\.0).filter { !leftNames.contains($0) }
    points = left.compactMap { name, point in
      rightByName[name].flatMap { Self.compare(name, point, $0, chosen) }
    }
    changes = Self.changes(first, second)
    Self.correct(&points)
  }

  /// Points by their swept values; a name that stands for one value in both sweeps is left out nowhere.
  private static func named(_ results: SweepResults) -> [(String, SweepPoint)] {
    results.points.map { point in
      let parts = zip(results.axes, point.values).map { "\($0.path) \($1)" }.sorted()
      return (parts.isEmpty ? "the only point" : parts.joined(separator: ", "), point)
    }
  }

  private static func compare(
    _ name: String, _ first: SweepPoint, _ second: SweepPoint, _ metric: SweepMetric
  ) -> Point? {
    guard let left = first.spread(metric), let right = second.spread(metric) else { return nil }
    let test = WelchTest(left, right)
    let models = { (point: SweepPoint) in
      Dictionary(
        point.runs.map { ($0.setup.seed, $0.outcome.model) }, uniquingKeysWith: { one, _ in one })
    }
    return Point(
      name: name, first: left.mean, second: right.mean, firstDeviation: left.deviation,
      secondDeviation: right.deviation, firstSeeds: left.values.count, secondSeeds: right.values.count,
      difference: right.mean - left.mean, margin: test?.margin, adjustedP: test?.probability,
      isBeyondNoise: nil, isIdentical: models(first) == models(second))
  }

  /// Holm's step-down correction, and the verdict.
  private static func correct(_ points: inout [Point]) {
    let order = points.indices.filter { points[$0].adjustedP != nil }
      .sorted { (points[$0].adjustedP ?? 1) < (points[$1].adjustedP ?? 1) }
    var highest = 0.0
    for (rank, index) in order.enumerated() {
      highest = max(highest, min(1, (points[index].adjustedP ?? 1) * Double(order.count - rank)))
      points[index].adjustedP = highest
      points[index].isBeyondNoise = highest < 0.05
    }
    for index in points.indices where points[index].isIdentical { points[index].isBeyondNoise = false }
  }

  // MARK: Configuration

  private static func changes(_ first: SweepResults, _ second: SweepResults) -> [Change] {
    let left = facts(first)
    let right = facts(second)
    return Set(left.keys).union(right.keys).sorted().filter { left[$0] != right[$0] }
      .map { Change(field: $0, first: left[$0], second: right[$0]) }
  }

  /// Every field of the first run that is not swept, of the records and of the environment.
  private static func facts(_ results: SweepResults) -> [String: String] {
    var facts: [String: String] = [
      "version": results.environment.accord, "scenario.sha256": results.scenario.sha256,
      "seeds": results.seeds.map(String.init).joined(separator: ", "),
    ]
    for axis in results.axes { facts["sweep.\(axis.path)"] = axis.values.joined(separator: ", ") }
    for data in results.data {
      for input in data.inputs { facts["data.\(input.file)"] = input.sha256 }
      facts["data.\(data.specification.name).nodes"] = "\(data.nodes)"
    }
    let encoder = ResultsJSON.encoder()
    guard let bytes = try? encoder.encode(results.runs[0].setup),
      let object = try? JSONSerialization.jsonObject(with: bytes)
    else { return facts }
    var flat: [String: String] = [:]
    flatten(object, "", into: &flat)
    // What differs between the points of one sweep says nothing about two sweeps.
    var varying: Set<String> = ["name", "seed"]
    for run in results.runs {
      guard let bytes = try? encoder.encode(run.setup),
        let object = try? JSONSerialization.jsonObject(with: bytes)
      else { continue }
      var other: [String: String] = [:]
      flatten(object, "", into: &other)
      for key in Set(flat.keys).union(other.keys) where flat[key] != other[key] { varying.insert(key) }
    }
    for (key, value) in flat where !varying.contains(key) { facts["setup.\(key)"] = value }
    return facts
  }

  private static func flatten(_ value: Any, _ path: String, into facts: inout [String: String]) {
    if let table = value as? [String: Any] {
      if table.isEmpty { facts[path] = "" }
      for (key, value) in table { flatten(value, path.isEmpty ? key : path + "." + key, into: &facts) }
    } else if let list = value as? [Any] {
      facts[path] = list.map { "\($0)" }.joined(separator: ", ")
    } else {
      facts[path] = "\(value)"
    }
  }
}
