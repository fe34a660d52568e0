import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

/// Training tasks whose clip norm follows a quantile of the updates' norms.
@Suite struct AdaptiveClippingTaskTests {
  private static let plan = AdaptiveClippingPlan(
    quantile: 0.5, learningRate: 0.4, expectedContributors: 360, minimumClipNorm: 0.01, maximumClipNorm: 50)

  private func federation(
    epsilon: Double, clipNorm: Double = 20, rounds: Int = 10, plan: AdaptiveClippingPlan? = Self.plan
  ) throws -> TestFederation {
    let task = try Fixture.task {
      $0.trainingBudget.epsilon = epsilon
      $0.evaluationBudget.epsilon = epsilon
      $0.clipNorm = clipNorm
      $0.rounds = rounds
      $0.adaptiveClipping = plan
      $0.optimizer = .sgd(learningRate: 0.1)
    }
    let stores = try (0..<3).map { try Store(seed: UInt64(50 + $0), training: 120, heldOut: 80) }
    return try TestFederation(task, stores: stores)
  }

  /// The fraction within C that the last training session found.
  private func fractionWithin(_ sum: ReleasedSum) throws -> Double {
    let bits = Double(try #require(sum.integers(of: .clipping)?.first)) / Double(AdaptiveClipping.bitScale)
    return 0.5 + bits / (2 * 360)
  }

  @Test(arguments: [0.15, 6], [Double.infinity, 8])
  func `the clip norm settles where the quantile is`(clipNorm: Double, epsilon: Double) throws {
    var federation = try federation(epsilon: epsilon, clipNorm: clipNorm, rounds: 16)
    var fractions: [Double] = []
    while case .completed(let plan) = try federation.runSession() {
      guard plan.kind == .training else { continue }
      #expect(plan.segments.prefix(2).map(\.name) == [.update, .clipping])
      fractions.append(try fractionWithin(#require(federation.lastSum)))
    }
    #expect(federation.engine.progress.status == .completed)
    #expect(abs((fractions.first ?? 0) - (clipNorm > 1 ? 1 : 0)) < 0.3, "C starts far off")
    // The last rounds, averaged: C goes on moving about the quantile.
    let settled = fractions.suffix(4).reduce(0, +) / 4
    #expect(abs(settled - 0.5) < 0.15, "\(fractions)")
    let norms = federation.engine.progress.rounds.compactMap(\.clipNorm)
    #expect(norms.count == 16 && abs((norms.first ?? 0) - clipNorm) < 1e-9)
    #expect(Set(norms).count == 16)
    if epsilon.isFinite { #expect(try federation.epsilon(.training) <= epsilon) }
  }

  @Test func `the bit is charged like everything else, and never exceeds the budget`() throws {
    var federation = try federation(epsilon: 8, rounds: 5)
    while try federation.runSession() != .over {
      for population in Population.allCases { #expect(try federation.epsilon(population) <= 8) }
    }
    let bits = try #require(federation.spent[.training]).filter {
      if case .skellam(_, let squared, _, 1, _) = $0.mechanism {
        return squared == AdaptiveClipping.bitScale * AdaptiveClipping.bitScale
      }
      return false
    }
    #expect(bits.reduce(0) { $0 + $1.count } == 5)
    var plain = try self.federation(epsilon: 8, rounds: 5, plan: nil)
    while try plain.runSession() != .over {}
    func updateNoise(_ federation: TestFederation) throws -> Double {
      let segment = try #require(federation.plans.first { $0.kind == .training }).segments[0]
      return segment.noiseVariance / (segment.scale * segment.scale)
    }
    #expect(try updateNoise(federation) > updateNoise(plain), "the bit is paid for by the update's noise")
    #expect(plain.engine.progress.clipping == nil && plain.engine.progress.rounds[0].clipNorm == nil)
  }

  @Test func `a bit whose noise costs more than the budget stops the task before it spends`() throws {
    var plan = Self.plan
    plan.bitNoise = 0.05
    var federation = try federation(epsilon: 1, plan: plan)
    try federation.runAll()
    guard case .stopped(let reason) = federation.engine.progress.status else {
      Issue.record("the task was not stopped")
      return
    }
    #expect(reason.contains("budget"))
    #expect(try federation.epsilon(.training) <= 1)
    #expect(federation.plans.allSatisfy { $0.kind != .training })
  }

  @Test func `a restart in the middle continues identically`() throws {
    func run(restarting: Bool) throws -> TestFederation {
      var federation = try federation(epsilon: 8, rounds: 6)
      while try federation.runSession() != .over {
        guard restarting else { continue }
        let progress = try JSONDecoder().decode(
          TaskProgress.self, from: Data(CanonicalJSON.encode(federation.engine.progress)))
        federation.engine = TaskEngine(
          task: federation.engine.task, progress: progress,
          artifact: try ModelArtifact.decode(federation.engine.artifact.encode()))
      }
      return federation
    }
    let (whole, interrupted) = (try run(restarting: false), try run(restarting: true))
    #expect(whole.plans == interrupted.plans)
    #expect(whole.engine.progress.clipping == interrupted.engine.progress.clipping)
    #expect(whole.engine.progress.clipping?.rounds == 6)
    #expect(try whole.engine.artifact.encode() == interrupted.engine.artifact.encode())
  }

  @Test func `a node refuses a clip norm or a bit that the signed task does not allow`() throws {
    var federation = try federation(epsilon: 8)
    while federation.plans.last?.kind != .training { _ = try federation.runSession() }
    let segments = try #require(federation.plans.last).segments
    let (task, artifact) = (federation.engine.task, federation.engine.artifact)
    func build(_ task: TaskSpecification, _ change: (inout [Segment]) -> Void) throws {
      var changed = segments
      change(&changed)
      _ = try ContributionBuilder(
        task: task, descriptor: Fixture.descriptor(changed, cohort: 3), artifact: artifact)
    }
    try build(task) { _ in }
    try build(task) { $0[0].clipNorm /= 2 }
    for factor in [3.0, 1e-4] {
      expectRefusal("the clip norm of segment update") { try build(task) { $0[0].clipNorm *= factor } }
    }
    expectRefusal("the sensitivity of segment clipping") { try build(task) { $0[1].sensitivity = nil } }
    expectRefusal("the length of segment clipping") { try build(task) { $0[1].length = 2 } }
    var plain = task
    plain.adaptiveClipping = nil
    expectRefusal("one that the task asks for") { try build(plain) { _ in } }
    expectRefusal("the clip norm of segment update") {
      try build(plain) {
        $0.removeLast()
        $0[0].clipNorm /= 2
      }
    }
  }

  @Test func `a plan out of range is refused`() throws {
    typealias Case = (String, (inout AdaptiveClippingPlan) -> Void)
    let cases: [Case] = [
      ("quantile", { $0.quantile = 1 }), ("learning", { $0.learningRate = 0 }),
      ("Contributors", { $0.expectedContributors = 0 }), ("bitNoise", { $0.bitNoise = -1 }),
      ("maximumClipNorm", { $0.maximumClipNorm = 1e7 }), ("clip", { $0.minimumClipNorm = 3 }),
    ]
    for (fragment, change) in cases {
      var plan = Self.plan
      change(&plan)
      let task = try Fixture.task { $0.adaptiveClipping = plan }
      expectRefusal(fragment) { try task.validate() }
    }
    try Fixture.task { $0.adaptiveClipping = Self.plan }.validate()
  }
}
