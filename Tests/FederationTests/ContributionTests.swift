import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

@Suite struct ContributionTests {
  private var task: TaskSpecification
  private let stages: [ModelArtifact]

  init() throws {
    task = try Fixture.task {
      $0.trainingBudget = Fixture.endless
      $0.evaluationBudget = Fixture.endless
    }
    stages = try ModelArtifactTests.stages()
  }

  private func segment(_ name: SegmentName, _ artifact: ModelArtifact) throws -> Segment {
    let shape = try SegmentShape.of(name, task: task, artifact: artifact)
    return Segment(
      name: name, length: shape.length, population: shape.population, clipNorm: shape.clipNorm,
      scale: VectorPlan.scale(clipNorm: shape.clipNorm, dimension: shape.length, people: 60_000),
      noiseVariance: 0)
  }

  private func descriptor(
    _ names: [SegmentName], _ artifact: ModelArtifact, maximumContributors: Int = 500
  ) throws -> RoundDescriptor {
    try Fixture.descriptor(
      names.map { try segment($0, artifact) }, cohort: 3, maximumContributors: maximumContributors)
  }

  private func record(_ visits: Double, _ label: Bool = true) -> LabelledRecord {
    LabelledRecord(values: [.number(visits), .number(20), .text("online")], label: label)
  }

  private func build(
    _ names: [SegmentName], stage: Int, training: ConsentedBatch<LabelledRecord>? = nil,
    heldOut: ConsentedBatch<LabelledRecord>? = nil, maximumContributors: Int = 500, seed: UInt64 = 1,
    unit: PrivacyUnit = .customer
  ) throws -> [Int64] {
    var random = RandomStream(testSeed: seed)
    var task = task
    task.unit = unit
    let builder = try ContributionBuilder(
      task: task, descriptor: descriptor(names, stages[stage], maximumContributors: maximumContributors),
      artifact: stages[stage])
    return try builder.build(training: training, heldOut: heldOut, random: &random)
  }

  /// One grid unit of the count coordinate of the coarse sum: the scale itself.
  private func coarseCount(_ sums: [Int64]) throws -> Double {
    Double(sums[sums.count - 1]) / (try segment(.coarse, stages[0]).scale)
  }

  // MARK: What the server sends

  @Test func `a model of another architecture, task or columns than the signed ones is refused`() throws {
    let names: [SegmentName] = [.update, .evaluation]
    let descriptor = try descriptor(names, stages[2])
    _ = try ContributionBuilder(task: task, descriptor: descriptor, artifact: stages[2])
    func refused(_ change: (inout ModelArtifact) throws -> Void) throws {
      var artifact = stages[2]
      try change(&artifact)
      expectRefusal("model") {
        _ = try ContributionBuilder(task: task, descriptor: descriptor, artifact: artifact)
      }
    }
    // One score for a row where the task's evaluation reads ten would be read beyond the end.
    try refused { $0.architecture = .network(NetworkSettings(objective: .squaredError)) }
    try refused { $0.task = "another" }
    try refused {
      guard case .model(let pipeline) = $0.stage else { return }
      let columns = pipeline.schema.columns.map { FeatureColumn(name: $0.name + "x", kind: $0.kind) }
      $0.stage = .model(
        try FeaturePipeline(schema: FeatureSchema(columns: columns), encodings: pipeline.encodings))
    }
  }

  // MARK: Shapes

  @Test(arguments: [SegmentName.coarse, .fine, .update, .evaluation])
  func `a segment of another length, population or bound is refused`(name: SegmentName) throws {
    let artifact = stages[name == .coarse ? 0 : name == .fine ? 1 : 3]
    func make(_ change: (inout Segment) -> Void) throws {
      var changed = try segment(name, artifact)
      change(&changed)
      _ = try ContributionBuilder(
        task: task, descriptor: Fixture.descriptor([changed], cohort: 3), artifact: artifact)
    }
    try make { _ in }
    let length = "the length of segment \(name.rawValue)"
    expectRefusal(length) { try make { $0.length += 1 } }
    expectRefusal(length) { try make { $0.length -= 1 } }
    expectRefusal("the population of segment \(name.rawValue)") {
      try make { $0.population = $0.population == .training ? .heldOut : .training }
    }
    let norm = "the clip norm of segment \(name.rawValue)"
    expectRefusal(norm) { try make { $0.clipNorm *= 1.001 } }
    expectRefusal(norm) { try make { $0.clipNorm *= 0.999 } }
    try make { $0.clipNorm *= 1 + 1e-12 }
    // Bounds of counted integers would be charged instead of the clip's.
    expectRefusal("the sensitivity of segment \(name.rawValue)") {
      try make { $0.sensitivity = StatisticsSensitivity(l1: 1, l2Squared: 1, lInfinity: 1) }
    }
  }

  @Test func `a segment that the stage of the model does not allow is refused`() throws {
    expectRefusal("fine statistics need agreed bounds") { _ = try build([.fine], stage: 0) }
    let batch = Consenting.admitted([try Consenting.candidate(1, [record(3)])])
    expectRefusal("no model to train yet") { _ = try build([.update], stage: 0, training: batch) }
    expectRefusal("not agreed yet") { _ = try build([.evaluation], stage: 1, heldOut: batch) }
  }

  @Test func `the update carries one coordinate more, and its bound covers both`() throws {
    let shape = try SegmentShape.of(.update, task: task, artifact: stages[3])
    #expect(shape.length == stages[3].parameters.count + 1)
    #expect(abs(shape.clipNorm - 2 * (1 + 1.0 / 16).squareRoot()) < 1e-12)
  }

  // MARK: Values

  @Test func `every contributor counts once, however many records it has`() throws {
    let batch = Consenting.admitted(
      try (0..<9).map { number in
        try Consenting.candidate(number, (0...number).map { record(Double($0)) })
      })
    #expect(try coarseCount(build([.coarse], stage: 0, training: batch)) == 9)
    let update = try segment(.update, stages[3])
    let sums = try build([.update], stage: 3, training: batch)
    let count =
      Double(sums[sums.count - 1]) / (update.scale * task.clipNorm * ContributionBuilder.countWeight)
    #expect(abs(count - 9) < 0.05)
  }

  @Test func `clipping an update leaves the count of its contributor whole`() throws {
    var tests = self
    tests.task.clipNorm = 0.01
    let batch = Consenting.admitted(
      try (0..<8).map { try Consenting.candidate($0, [record(Double($0), $0 % 2 == 0)]) })
    let sums = try tests.build([.update], stage: 3, training: batch)
    let scale = try tests.segment(.update, stages[3]).scale
    let count = Double(sums[sums.count - 1]) / (scale * 0.01 * ContributionBuilder.countWeight)
    #expect(abs(count - 8) < 0.05)
  }

  @Test func `no contributor exceeds the sensitivity that is accounted`() throws {
    for (name, stage) in [(SegmentName.coarse, 0), (.fine, 1), (.update, 3), (.evaluation, 3)] {
      let clip = try segment(name, stages[stage]).integerClip()
      for number in 0..<20 {
        let batch = Consenting.admitted([
          try Consenting.candidate(number, [record(Double(number) * 1e3, number % 2 == 0), record(-1e300)])
        ])
        let sums = try build([name], stage: stage, training: batch, heldOut: batch, seed: UInt64(number))
        #expect(sums.reduce(0) { $0 + $1 * $1 } <= clip.sensitivityL2Squared)
        #expect(sums.contains { $0 != 0 })
      }
    }
  }

  @Test func `each segment sums its own population only, in the order of the descriptor`() throws {
    let training = Consenting.admitted([try Consenting.candidate(1, [record(3)])])
    let heldOut = Consenting.admitted(
      try (2..<6).map { try Consenting.candidate($0, [record(12, $0 < 4)]) })
    let update = try segment(.update, stages[3])
    let evaluation = try segment(.evaluation, stages[3])
    let both = try build([.update, .evaluation], stage: 3, training: training, heldOut: heldOut)
    #expect(both.count == update.length + evaluation.length)
    let measured = both[update.length...].dropLast().reduce(0, +)
    #expect(abs(Double(measured) / evaluation.scale - 4) < 0.05)
    let noTraining = try build([.update, .evaluation], stage: 3, training: nil, heldOut: heldOut)
    #expect(noTraining[..<update.length].allSatisfy { $0 == 0 })
    let nobody = try build([.evaluation, .update], stage: 3)
    #expect(nobody.allSatisfy { $0 == 0 } && nobody.count == both.count)
  }

  @Test func `the same data and randomness give the same integers`() throws {
    let batch = Consenting.admitted(try (0..<5).map { try Consenting.candidate($0, [record(Double($0))]) })
    let first = try build([.update], stage: 3, training: batch, seed: 4)
    #expect(firstDifference(first, try build([.update], stage: 3, training: batch, seed: 4)) == nil)
    #expect(firstDifference(first, try build([.update], stage: 3, training: batch, seed: 5)) != nil)
  }

  @Test func `records that do not fit the schema are refused`() throws {
    let short = LabelledRecord(values: [.number(1)], label: true)
    let text = LabelledRecord(values: [.text("many"), .number(1), .text("x")], label: true)
    for (bad, fragment) in [(short, "1 values"), (text, "visits")] {
      let batch = Consenting.admitted([try Consenting.candidate(1, [bad])])
      for (name, stage) in [(SegmentName.coarse, 0), (.fine, 1), (.update, 3), (.evaluation, 3)] {
        expectRefusal(fragment) { _ = try build([name], stage: stage, training: batch, heldOut: batch) }
      }
    }
  }

  // MARK: Who counts

  @Test func `a node adds at most maximumContributors, chosen at random`() throws {
    let oneColumn = try FeatureSchema(columns: [FeatureColumn(name: "visits", kind: .numeric)])
    let magnitudeBins = CoarseStatistics(schema: oneColumn).dimension - 2
    let batch = Consenting.admitted(
      try (0..<12).map { try Consenting.candidate($0, [record(exp2(Double($0)) * 1.5)]) })
    var seen: Set<Int> = []
    for seed in 0..<60 {
      let sums = try build(
        [.coarse], stage: 0, training: batch, maximumContributors: 3, seed: UInt64(seed))
      #expect(try coarseCount(sums) == 3)
      // Every contributor has a magnitude of its own in the first column.
      let magnitudes = sums[..<magnitudeBins].indices.filter { sums[$0] != 0 }
      #expect(magnitudes.count == 3)
      seen.formUnion(magnitudes)
    }
    #expect(seen.count == 12)
    for limit in [11, 12, 13] {
      let sums = try build([.coarse], stage: 0, training: batch, maximumContributors: limit)
      #expect(try coarseCount(sums) == Double(min(limit, 12)))
    }
  }

  @Test func `whoever did not consent is in no sum`() throws {
    var candidates = try (0..<4).map { try Consenting.candidate($0, [record(Double($0))]) }
    candidates.append(
      try Consenting.candidate(
        10, [record(1)], events: [Consenting.event(10, at: 1), Consenting.event(10, at: 2, .withdrawn)]))
    candidates.append(try Consenting.candidate(11, [record(1)], events: []))
    candidates.append(try Consenting.candidate(12, [record(1)], events: [Consenting.event(12, .refused)]))
    candidates.append(
      try Consenting.candidate(
        13, [record(1)],
        events: [Consenting.event(13, purpose: Purpose(id: Fixture.purpose.id, version: 2))]))
    candidates.append(try Consenting.candidate(14, [record(1)], events: [Consenting.event(1)]))
    candidates.append(try Consenting.candidate(15, []))
    let batch = Consenting.admitted(candidates)
    #expect(batch.subjects.count == 4 && batch.deniedCount == 6)
    #expect(try coarseCount(build([.coarse], stage: 0, training: batch)) == 4)
    let only = Consenting.admitted(Array(candidates.prefix(4)))
    #expect(try build([.coarse], stage: 0, training: batch) == build([.coarse], stage: 0, training: only))
  }

  @Test func `a batch that was admitted for another purpose is refused`() throws {
    for other in [Purpose(id: "advertising", version: 1), Purpose(id: Fixture.purpose.id, version: 2)] {
      let batch = Consenting.admitted(
        [try Consenting.candidate(1, [record(1)], events: [Consenting.event(1, purpose: other)])],
        purpose: other)
      #expect(batch.subjects.count == 1)
      expectRefusal("the purpose of the training batch") {
        _ = try build([.coarse], stage: 0, training: batch)
      }
      expectRefusal("the purpose of the heldOut batch") {
        _ = try build([.evaluation], stage: 3, heldOut: batch)
      }
    }
  }

  @Test func `with the unit record, a contributor with several records is refused`() throws {
    let single = Consenting.admitted([try Consenting.candidate(1, [record(1)])])
    let double = Consenting.admitted([try Consenting.candidate(1, [record(1), record(2)])])
    let two = Consenting.admitted(try (1...2).map { try Consenting.candidate($0, [record(1)]) })
    for batch in [single, double, two] { _ = try build([.coarse], stage: 0, training: batch) }
    for batch in [single, two] { _ = try build([.coarse], stage: 0, training: batch, unit: .record) }
    // One clip per customer would promise a record more than it gives.
    expectRefusal("unit", "several records") {
      _ = try build([.coarse], stage: 0, training: double, unit: .record)
    }
    expectRefusal("unit", "several records") {
      _ = try build([.evaluation], stage: 3, heldOut: double, unit: .record)
    }
  }
}
