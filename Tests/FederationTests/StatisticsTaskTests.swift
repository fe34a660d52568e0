import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

@Suite struct StatisticsTaskTests {
  static func task(
    epsilon: Double = .infinity, _ change: (inout StatisticsSpecification) -> Void = { _ in }
  ) throws -> StatisticsSpecification {
    let budget = PrivacyBudget(epsilon: epsilon, delta: 1e-5)
    var task = StatisticsSpecification(
      id: "dashboard", purpose: Fixture.purpose.id, schema: try Fixture.task().schema,
      questions: [
        StatisticsQuestion(name: "records", ask: .count, recordsPerContributor: 2),
        StatisticsQuestion(name: "customers", ask: .count),
        StatisticsQuestion(
          name: "channels", column: "channel", ask: .histogram(categories: ["store", "online", "fax"]),
          recordsPerContributor: 2),
        StatisticsQuestion(
          name: "visits", column: "visits", ask: .bins(edges: [0, 5, 10, 20]), recordsPerContributor: 2),
        StatisticsQuestion(
          name: "basket", column: "basket", ask: .mean(lower: 0, upper: 100, resolution: nil),
          recordsPerContributor: 2),
        StatisticsQuestion(
          name: "basket-quantiles", column: "basket",
          ask: .quantiles(lower: 0, upper: 100, bins: 50, probabilities: [0.25, 0.5, 0.9]), weight: 2,
          recordsPerContributor: 2),
        StatisticsQuestion(
          name: "frequent", column: "channel",
          ask: .heavyHitters(keyBytes: 2, bitsPerRound: 4, maximumPrefixes: 8), weight: 4,
          recordsPerContributor: 2),
      ], budget: budget, populationBudget: budget, minimumCohort: 3, minimumSurvivors: 3,
      maximumContributors: 500, stepDeadlineMilliseconds: 1_000, trainingDeadlineMilliseconds: 5_000)
    change(&task)
    return task
  }

  private static func stores(_ training: Int = 120) throws -> [Store] {
    try (0..<3).map { try Store(seed: UInt64(70 + $0), training: training, heldOut: 20) }
  }

  private func federation(
    epsilon: Double = .infinity, training: Int = 120, seed: UInt64 = 1,
    _ change: (inout StatisticsSpecification) -> Void = { _ in }
  ) throws -> TestFederation {
    try TestFederation(
      .statistics(Self.task(epsilon: epsilon, change)), stores: Self.stores(training), seed: seed)
  }

  private func report(_ federation: TestFederation) throws -> StatisticsReport {
    try #require(try federation.run.report(own: federation.own))
  }

  /// What plain computation over everybody's records gives for a question's item.
  private func exact(_ federation: TestFederation) -> [String: Double] {
    let rows = federation.stores.flatMap(\.training.subjects).flatMap(\.records).map(\.values)
    func number(_ column: Int) -> [Double] {
      rows.compactMap { if case .number(let value) = $0[column] { value } else { nil } }
    }
    func text(_ value: String) -> Double { Double(rows.count { $0[2] == .text(value) }) }
    let (visits, basket) = (number(0), number(1).sorted())
    let mean = basket.reduce(0, +) / Double(basket.count)
    return [
      "records count": Double(rows.count),
      "customers count": Double(federation.stores.reduce(0) { $0 + $1.training.subjects.count }),
      "channels store": text("store"), "channels online": text("online"), "channels fax": 0,
      "visits [0.0, 5.0)": Double(visits.count { $0 < 5 }),
      "visits [5.0, 10.0)": Double(visits.count { $0 >= 5 && $0 < 10 }),
      "visits [10.0, 20.0)": Double(visits.count { $0 >= 10 && $0 < 20 }),
      "basket count": Double(basket.count), "basket mean": mean,
      "basket variance": basket.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(basket.count),
      "basket-quantiles 0.25": basket[basket.count / 4], "basket-quantiles 0.5": basket[basket.count / 2],
      "basket-quantiles 0.9": basket[basket.count * 9 / 10],
      "frequent st": text("store"), "frequent on": text("online"),
    ]
  }

  // MARK: Answers

  @Test func `without noise the answers are those of plain computation`() throws {
    var federation = try federation()
    try federation.runAll()
    #expect(federation.run.progress.status == .completed)
    // Everything in the first session; the search of 2 bytes by 4 bits needs three more.
    #expect(federation.plans.map(\.segments.count) == [7, 1, 1, 1])
    #expect(federation.plans.allSatisfy { $0.kind == .statistics })
    #expect(federation.plans.map(\.round) == [1, 2, 3, 4])
    let exact = exact(federation)
    let report = try report(federation)
    var seen: Set<String> = []
    for result in report.results {
      #expect(result.problem == nil && result.nodes == 3)
      for estimate in result.estimates {
        let name = "\(result.question) \(estimate.item)"
        let truth = try #require(exact[name], "\(name)")
        seen.insert(name)
        switch result.ask {
        case "mean" where estimate.item != "count":
          // Stochastic rounding is all that is left.
          #expect(abs(estimate.value - truth) <= 5 * (try #require(estimate.standardError)) + 1e-9, "\(name)")
        case "quantiles":
          #expect(estimate.lower <= truth && truth <= estimate.upper, "\(name)")
          #expect(abs(estimate.value - truth) <= 2, "one bin: \(name)")
        default:
          #expect(estimate.value == truth, "\(name)")
        }
      }
    }
    #expect(seen == Set(exact.keys))
    #expect(report.privacy.epsilon == .infinity)
    #expect(report.privacy.mechanism == "no noise")
    #expect(report.results.map(\.question).last == "frequent")
  }

  @Test func `with noise the answers are within their errors, and the budget holds`() throws {
    var federation = try federation(epsilon: 4, training: 400) { $0.populationBudget.epsilon = 5 }
    while try federation.runSession() != .over {
      #expect(try federation.epsilon(.training) <= 4)
    }
    #expect(federation.run.progress.status == .completed)
    let exact = exact(federation)
    let report = try report(federation)
    var (inside, all) = (0, 0)
    for result in report.results {
      #expect(result.problem == nil, "\(result.question): \(result.problem ?? "")")
      for estimate in result.estimates {
        guard let truth = exact["\(result.question) \(estimate.item)"] else { continue }
        all += 1
        if (estimate.lower...estimate.upper).contains(truth) { inside += 1 }
        guard let error = estimate.standardError else { continue }
        #expect(error > 0 && abs(estimate.value - truth) < 4 * error, "\(result.question) \(estimate.item)")
      }
    }
    #expect(all == exact.count, "both frequent values are found")
    #expect(inside >= all - 3, "intervals of 95 %")
    #expect(report.privacy.epsilon == (try federation.epsilon(.training)))
    #expect(report.privacy.epsilon > 3, "most of the budget is used")
    #expect(report.sessions.map(\.epsilon.value) == report.sessions.map(\.epsilon.value).sorted())
    #expect(report.sessions.last?.epsilon.value == report.privacy.epsilon)
    #expect(report.privacy.unit == .customer && report.privacy.trustMode == .distributed)
  }

  @Test func `a question with more weight gets less noise`() throws {
    var federation = try federation(epsilon: 1) {
      $0.questions = [
        StatisticsQuestion(name: "a", ask: .count), StatisticsQuestion(name: "b", ask: .count, weight: 9),
      ]
    }
    try federation.runAll()
    let variances = try #require(federation.plans.first).segments.map(\.noiseVariance)
    #expect(abs(variances[0] / variances[1] - 9) < 1e-9)
  }

  @Test func `too few people have no mean, and the others still have their answers`() throws {
    var federation = try federation(epsilon: 0.5, training: 2) { $0.questions.removeLast() }
    try federation.runAll()
    let report = try report(federation)
    let mean = try #require(report.results.first { $0.ask == "mean" })
    #expect(mean.estimates.isEmpty && mean.problem?.contains("few") == true)
    #expect(report.results.first { $0.ask == "count" }?.estimates.count == 1)
  }

  @Test func `the table has one line per number`() throws {
    var federation = try federation {
      $0.questions = [
        StatisticsQuestion(
          name: "c", column: "channel", ask: .histogram(categories: ["store", #"a "b", c"#]))
      ]
    }
    try federation.runAll()
    let lines = try report(federation).csv.split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count == 4 && lines[3] == "")
    #expect(lines[0].hasPrefix("question,column,ask,item,value,"))
    #expect(lines[1].hasPrefix("c,channel,histogram,store,"))
    #expect(lines[2].hasPrefix(#"c,channel,histogram,"a ""b"", c",0.0,0.0,"#))
  }

  // MARK: Budget and faults

  @Test func `a session lost after its debit is repeated within the budget`() throws {
    var federation = try federation(epsilon: 2, training: 400)
    let lost: [Fate] = [.leavesBeforeUploading, .stays, .stays]
    guard case .aborted = try federation.runSession(fates: lost) else {
      Issue.record("three survivors are required")
      return
    }
    #expect(try federation.epsilon(.training) > 0, "the cost stays")
    try federation.runAll()
    #expect(federation.run.progress.status == .completed)
    #expect(try federation.epsilon(.training) <= 2)
    #expect(federation.run.progress.abortedSessions == 1)
    #expect(try report(federation).privacy.epsilon == (try federation.epsilon(.training)))
    let variances = federation.plans.prefix(2).map(\.segments[0].noiseVariance)
    #expect(variances[1] > 2 * variances[0], "the repeat has less to spend")
  }

  @Test func `a population that has spent its budget stops the task`() throws {
    var first = try federation(epsilon: 1)
    try first.runAll()
    var second = try federation(epsilon: 1)
    second.accounts = first.accounts
    #expect(try second.runSession() == .over)
    guard case .stopped(let reason) = second.run.progress.status else {
      Issue.record("the task was not stopped")
      return
    }
    #expect(reason.contains("budget of the training population is spent"))
    #expect(second.accounts == first.accounts)
  }

  @Test func `a restart in the middle of a search continues identically`() throws {
    func run(restarting: Bool) throws -> (TestFederation, [UInt8]) {
      var federation = try federation(epsilon: 6, training: 300)
      while try federation.runSession() != .over {
        guard restarting else { continue }
        let progress = try JSONDecoder().decode(
          TaskProgress.self, from: Data(CanonicalJSON.encode(federation.run.progress)))
        federation.run = try TaskRun(
          try FederationTask.decode(federation.run.task.canonicalBytes()), progress: progress,
          artifact: try TaskArtifact.decode(federation.run.artifact.encode()))
      }
      return (federation, try federation.run.artifact.encode())
    }
    let (whole, interrupted) = (try run(restarting: false), try run(restarting: true))
    #expect(whole.0.plans.count == 4)
    #expect(whole.0.plans == interrupted.0.plans)
    #expect(whole.1 == interrupted.1)
  }

  // MARK: What a node refuses

  @Test func `a node refuses a vector or a state that is not the task's`() throws {
    var federation = try federation(epsilon: 2)
    let plan = try #require(
      try federation.run.nextSession(spent: federation.spent, own: [], cohort: 3))
    let task = try #require(federation.run.task.statistics)
    let fresh = StatisticsState(task: task.id)
    func refuse(_ fragment: String, state: StatisticsState? = nil, _ change: (inout [Segment]) -> Void) throws
    {
      var segments = plan.segments
      change(&segments)
      let descriptor = try Fixture.descriptor(segments, cohort: 3, maximumContributors: 500) {
        $0.kind = .statistics
      }
      expectRefusal(fragment) {
        _ = try StatisticsContribution(task: task, descriptor: descriptor, state: state ?? fresh)
      }
    }
    _ = try StatisticsContribution(
      task: task, descriptor: Fixture.descriptor(plan.segments, cohort: 3, maximumContributors: 500),
      state: fresh)
    let small = StatisticsSensitivity(l1: 1, l2Squared: 1, lInfinity: 1)
    try refuse("segment query-0") { $0[0].sensitivity = small }
    try refuse("segment query-0") { $0[0].sensitivity = nil }
    try refuse("segment query-2") { $0[2].length += 1 }
    try refuse("segment query-3") { $0[3].population = .heldOut }
    try refuse("the scale of segment query-1") { $0[1].scale = 1.5 }
    try refuse("one that the task asks for") { $0[0].name = .update }
    try refuse("one that the task asks for") { $0[6].name = .query(7) }
    try refuse("the noise of the statistics") { $0[0].noiseVariance /= 100 }
    try refuse("the noise of the statistics") { $0[0].noiseVariance = 0 }
    try federation.runAll()
    guard case .statistics(let done) = federation.run.artifact else { return }
    try refuse("answered already", state: done) { _ in }
    let model = try ModelArtifact.decode(
      TaskRun(.training(try Fixture.task())).artifact.encode())
    expectRefusal("another kind of task") {
      _ = try federation.run.task.contributions(
        descriptor: Fixture.descriptor(plan.segments, cohort: 3), artifact: .model(model))
    }
  }

  @Test func `whoever did not consent is in no answer, and no contributor exceeds the bounds`() throws {
    let task = try Self.task()
    var federation = try federation()
    let plan = try #require(try federation.run.nextSession(spent: [:], own: [], cohort: 3))
    let builder = try StatisticsContribution(
      task: task, descriptor: Fixture.descriptor(plan.segments, cohort: 3, maximumContributors: 500),
      state: StatisticsState(task: task.id))
    let odd: [RawValue] = [.text("many"), .number(-.infinity), .number(3)]
    let wild: [RawValue] = [.number(1e300), .number(-1e300), .missing]
    let records = [odd, wild, odd, wild].map { LabelledRecord(values: $0, label: true) }
    var random = RandomStream(testSeed: 4)
    let batch = Consenting.admitted([
      try Consenting.candidate(1, records),
      try Consenting.candidate(
        2, records, events: [Consenting.event(2), Consenting.event(2, at: 1, .withdrawn)]),
      try Consenting.candidate(3, records, events: []),
    ])
    let sums = try builder.build(training: batch, heldOut: nil, random: &random)
    #expect(sums[0] == 2 * Int64(plan.segments[0].scale), "two of the four records count")
    #expect(sums[1] == Int64(plan.segments[1].scale), "one customer")
    var offset = 0
    for segment in plan.segments {
      let part = Array(sums[offset..<offset + segment.length])
      offset += segment.length
      #expect(try #require(segment.sensitivity).holds(for: part))
    }
    let other = Consenting.admitted(
      [
        try Consenting.candidate(
          1, records, events: [Consenting.event(1, purpose: Purpose(id: "ads", version: 1))])
      ],
      purpose: Purpose(id: "ads", version: 1))
    expectRefusal("the purpose of the training batch") {
      _ = try builder.build(training: other, heldOut: nil, random: &random)
    }
  }
}
