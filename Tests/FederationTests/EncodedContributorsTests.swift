import Cryptography
import Federation
import Learning
import Testing

@Suite struct EncodedContributorsTests {
  /// A federation after its statistics, with a model to train.
  private func trained(_ change: (inout TaskSpecification) -> Void = { _ in }) throws -> TestFederation {
    let stores = try (0..<3).map { try Store(seed: UInt64($0), training: 20, heldOut: 8) }
    var federation = try TestFederation(try Fixture.task(change), stores: stores)
    for _ in 0..<3 { _ = try federation.runSession() }
    return federation
  }

  @Test(arguments: [500, 7])
  func `rows that were encoded before give the same integers`(maximumContributors: Int) throws {
    var federation = try trained {
      $0.maximumContributors = maximumContributors
      $0.algorithm = .fedAvg(epochs: 2, batchSize: 1, learningRate: 0.1)
    }
    let plan = try #require(
      try federation.run.nextSession(spent: federation.spent, own: federation.own, cohort: 3))
    let descriptor = try federation.descriptor(plan)
    let artifact = federation.engine.artifact
    let pipeline = try #require(artifact.model).pipeline
    let builder = try ContributionBuilder(
      task: federation.engine.task, descriptor: descriptor, artifact: artifact)
    #expect(plan.segments.map(\.name) == [.update, .evaluation])
    for store in federation.stores {
      let encoded = try EncodedContributors(
        training: store.training, heldOut: store.heldOut, pipeline: pipeline,
        architecture: artifact.architecture)
      var (one, other) = (RandomStream(testSeed: 5), RandomStream(testSeed: 5))
      let expected = try builder.build(training: store.training, heldOut: store.heldOut, random: &one)
      let actual = try builder.build(encoded, random: &other)
      #expect(firstDifference(actual, expected) == nil)
      #expect(actual.contains { $0 != 0 })
      #expect(one.word() == other.word(), "as many draws")
      #expect(encoded.contributorCount(of: .training) == 20)
    }
  }

  @Test func `rows of another pipeline, purpose or kind of session are refused`() throws {
    var federation = try trained()
    let plan = try #require(
      try federation.run.nextSession(spent: federation.spent, own: federation.own, cohort: 3))
    let descriptor = try federation.descriptor(plan)
    let artifact = federation.engine.artifact
    let pipeline = try #require(artifact.model).pipeline
    let store = federation.stores[0]
    var random = RandomStream(testSeed: 1)
    let other = try FeaturePipeline(
      schema: pipeline.schema, encodings: pipeline.encodings.map { _ in .unused })
    let task = federation.engine.task
    let builder = try ContributionBuilder(task: task, descriptor: descriptor, artifact: artifact)
    expectRefusal("pipeline") {
      let encoded = try EncodedContributors(
        training: store.training, heldOut: nil, pipeline: other,
        architecture: artifact.architecture)
      _ = try builder.build(encoded, random: &random)
    }
    let encoded = try EncodedContributors(
      training: store.training, heldOut: nil, pipeline: pipeline,
      architecture: artifact.architecture)
    var foreign = task
    foreign.purpose = "something else"
    let foreignBuilder = try ContributionBuilder(task: foreign, descriptor: descriptor, artifact: artifact)
    expectRefusal("purpose", "something else") { _ = try foreignBuilder.build(encoded, random: &random) }
  }
}
