import Learning

/// Every run of a scenario with its records loaded and its fields checked against them, before any begins.
package struct SweepPlan: Sendable {
  /// One run.
  package struct Run: Sendable {
    /// The position of its point in the scenario.
    package let point: Int
    /// With the seed.
    package let setup: RunSetup
    /// The position of its records in `data`.
    package let data: Int
    /// `RunRecord.digest`.
    package let digest: String
  }

  /// The scenario.
  package let scenario: Scenario
  /// What computes: part of every digest.
  package let version: String
  /// The different sources of records.
  package let data: [ScenarioData]
  /// The runs in the order of the points, then of the seeds.
  package let runs: [Run]

  /// Loads the records and checks every run.
  ///
  /// - Throws: the first file that is missing or unsuitable, or every run that asks for what its records do
  ///   not have.
  /// - Parameter refusal: why an engine would not begin a run; nil if it would.
  package init(
    scenario: Scenario, locator: DataLocator, version: String,
    refusal: (RunSetup, any VirtualPopulation) -> String? = { _, _ in nil }
  ) throws(ScenarioError) {
    var specifications: [DataSpecification] = []
    for point in scenario.points where !specifications.contains(point.data) {
      specifications.append(point.data)
    }
    for specification in specifications { try ScenarioData.locate(specification, locator) }
    var data: [ScenarioData] = []
    for specification in specifications { data.append(try ScenarioData.load(specification, locator)) }
    var problems: [ScenarioProblem] = []
    var runs: [Run] = []
    for (index, point) in scenario.points.enumerated() {
      guard let position = specifications.firstIndex(of: point.data) else { continue }
      var texts = Self.problems(point.setup, data[position])
      if texts.isEmpty, let text = refusal(point.setup, data[position].population) {
        texts = ["\(point.data.name): \(text)"]
      }
      for text in texts {
        let problem = ScenarioProblem(place: scenario.file, line: 0, text: text)
        if !problems.contains(problem) { problems.append(problem) }
      }
      for seed in scenario.seeds {
        var setup = point.setup
        setup.seed = seed
        runs.append(
          Run(
            point: index, setup: setup, data: position,
            digest: try Self.digest(setup, data[position], version, scenario)))
      }
    }
    guard problems.isEmpty else { throw .invalid(problems) }
    self.scenario = scenario
    self.version = version
    self.data = data
    self.runs = runs
  }

  private static func digest(
    _ setup: RunSetup, _ data: ScenarioData, _ version: String, _ scenario: Scenario
  ) throws(ScenarioError) -> String {
    do {
      return try RunRecord.digest(
        setup: setup, data: data.specification, inputs: data.inputs, version: version)
    } catch {
      throw .unreadable(file: scenario.file, reason: "a run cannot be described: \(error)")
    }
  }

  /// What a run asks for that its records do not have.
  private static func problems(_ setup: RunSetup, _ data: ScenarioData) -> [String] {
    let name = data.specification.name
    let count = ScenarioReader.grouped(data.population.nodeCount)
    var problems: [String] = []
    if case .fixed(let size) = setup.cohort, size > data.population.nodeCount {
      problems.append(
        "cohort (\(ScenarioReader.grouped(size))) is larger than the \(count) nodes of \(name); choose a "
          + "smaller cohort, or all")
    }
    if setup.aggregation != .off, data.population.nodeCount < 2 {
      problems.append("\(name) has one node; only aggregation: off can do with fewer than 2")
    }
    return problems
  }

  /// The nodes that take part in a round of a run.
  package func cohortSize(_ run: Run) -> Int {
    switch run.setup.cohort {
    case .all: data[run.data].population.nodeCount
    case .fixed(let size): size
    }
  }
}
