import Cryptography
import Federation
import Foundation
import Privacy
import Testing

@Suite struct NodePolicyTests {
  /// What the server offers for `task`, honestly.
  private func offer(
    _ task: TaskSpecification, _ change: (inout RoundDescriptor) -> Void = { _ in }
  ) throws -> RoundDescriptor {
    try Fixture.descriptor(
      cohort: 10, minimumCohort: task.minimumCohort, minimumSurvivors: task.minimumSurvivors,
      corruptPermille: task.corruptPermille, maximumContributors: task.maximumContributors, change)
  }

  private func check(
    _ descriptor: RoundDescriptor, _ task: TaskSpecification, _ policy: NodePolicy = Fixture.policy(),
    lastSession: UInt64 = 6, now: UInt64 = Fixture.now
  ) throws {
    try policy.check(
      descriptor, task: task, federation: Fixture.federation, lastSession: lastSession, now: now)
  }

  private let task: TaskSpecification

  init() throws {
    task = try Fixture.task {
      $0.minimumCohort = 6
      $0.minimumSurvivors = 5
      $0.corruptPermille = 100
    }
  }

  @Test func `an honest offer is accepted`() throws {
    try check(offer(task), task)
    try check(
      offer(task), task,
      Fixture.policy {
        $0.minimumCohort = 6
        $0.minimumSurvivors = 5
        $0.minimumCorruptPermille = 100
      })
    // Stronger than the task is fine.
    try check(
      offer(task) {
        $0.minimumCohort = 7
        $0.minimumSurvivors = 6
        $0.corruptPermille = 120
        $0.ringBits = 32
      }, task)
  }

  @Test(arguments: [1, 2, 20_000], [0, 100, 333])
  func `an honest offer is accepted whatever the cohort and the contributors`(
    maximumContributors: Int, corruptPermille: Int
  ) throws {
    let task = try Fixture.task {
      $0.minimumSurvivors = 2
      $0.minimumCohort = 3
      $0.corruptPermille = corruptPermille
      $0.maximumContributors = maximumContributors
    }
    for noise in [0, 400.0] {
      for cohort in 3...5 {
        let descriptor = try Fixture.descriptor(
          Fixture.segments(noiseVariance: noise), cohort: cohort, minimumCohort: 3,
          corruptPermille: corruptPermille, maximumContributors: maximumContributors)
        try check(descriptor, task)
        try Fixture.policy().checkRing(descriptor, cohort: cohort)
      }
    }
  }

  @Test func `another purpose is refused`() throws {
    expectRefusal("the purpose “recommendations” is not allowed here") {
      try check(offer(task), task, Fixture.policy { $0.purposes = ["advertising"] })
    }
    expectRefusal("purpose") { try check(offer(task), task, Fixture.policy { $0.purposes = [] }) }
  }

  @Test func `a session number that does not grow is refused`() throws {
    for last in [7, 8, UInt64.max] {
      expectRefusal("session 7 is not newer than session \(last)") {
        try check(offer(task), task, lastSession: last)
      }
    }
    try check(offer(task), task, lastSession: 0)
  }

  @Test func `another federation is refused`() throws {
    expectRefusal("the federation is evil.test/consent but should be accord.test/consent") {
      try check(offer(task) { $0.federation = "evil.test/consent" }, task)
    }
  }

  @Test func `a descriptor too old or from the future is refused`() throws {
    let tolerance = SignedRequest.clockToleranceMilliseconds
    let descriptor = try offer(task)
    try check(descriptor, task, now: Fixture.now + tolerance)
    try check(descriptor, task, now: Fixture.now - tolerance)
    expectRefusal("age of the descriptor") { try check(descriptor, task, now: Fixture.now + tolerance + 1) }
    expectRefusal("age of the descriptor") { try check(descriptor, task, now: Fixture.now - tolerance - 1) }
  }

  @Test func `no time that a server can write traps`() throws {
    for issued: UInt64 in [.max, 1 << 63, (1 << 63) - 1, 0] {
      expectRefusal("age of the descriptor") {
        try check(offer(task) { $0.issuedAtMilliseconds = issued }, task)
      }
    }
  }

  @Test func `no cohort that a server can write traps`() throws {
    let huge = Int(UInt32.max)
    expectRefusal("no ring of up to 32 bits") { try check(offer(task) { $0.minimumCohort = huge }, task) }
    let descriptor = try offer(task) { $0.maximumContributors = huge }
    expectRefusal("too large for a 32-bit ring") { try Fixture.policy().checkRing(descriptor, cohort: huge) }
  }

  @Test func `parameters weaker than the node's own are refused though the operator signed them`() throws {
    let cases: [(String, (inout NodePolicy) -> Void)] = [
      ("minimumCohort is 6, weaker than the required 7", { $0.minimumCohort = 7 }),
      ("minimumSurvivors is 5, weaker than the required 6", { $0.minimumSurvivors = 6 }),
      ("corruptPermille is 100, weaker than the required 101", { $0.minimumCorruptPermille = 101 }),
    ]
    for (sentence, change) in cases {
      expectRefusal(sentence) { try check(offer(task), task, Fixture.policy(change)) }
    }
  }

  @Test func `parameters weaker than the signed task are refused`() throws {
    let cases: [(String, (inout RoundDescriptor) -> Void)] = [
      ("minimumCohort is 5, weaker than the required 6", { $0.minimumCohort = 5 }),
      ("minimumSurvivors is 4, weaker than the required 5", { $0.minimumSurvivors = 4 }),
      ("corruptPermille is 99, weaker than the required 100", { $0.corruptPermille = 99 }),
      ("the unit of privacy is record but should be customer", { $0.unit = .record }),
      ("maximumContributors is 501 but should be 500", { $0.maximumContributors = 501 }),
      ("maximumContributors is 499 but should be 500", { $0.maximumContributors = 499 }),
    ]
    for (sentence, change) in cases { expectRefusal(sentence) { try check(offer(task, change), task) } }
  }

  @Test func `a ring that a sum could wrap in is refused`() throws {
    let honest = try offer(task)
    #expect(honest.ringBits == 24)
    expectRefusal("ringBits is 16, weaker than the required 24") {
      try check(offer(task) { $0.ringBits = 16 }, task)
    }
    let policy = Fixture.policy()
    try policy.checkRing(honest, cohort: 10)
    expectRefusal("ringBits is 24, weaker than the required 32") { try policy.checkRing(honest, cohort: 150) }
  }

  @Test func `a policy file is read as it was written`() throws {
    let policy = Fixture.policy {
      $0.minimumCorruptPermille = 50
      $0.minimumContributors = 9
      $0.maximumCheckpointAgeSeconds = 5
    }
    let data = try JSONEncoder().encode(policy)
    #expect(try JSONDecoder().decode(NodePolicy.self, from: data) == policy)
    #expect(String(decoding: data, as: UTF8.self).contains("\"inf\""))
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(NodePolicy.self, from: Data(#"{"purposes":["a"]}"#.utf8))
    }
  }

  @Test func `a refusal says what to look at`() {
    #expect(PolicyRefusal.tooFewContributors(count: 2, required: 5).description.contains("only 2"))
    #expect(PolicyRefusal.checkpoint("the checkpoint is old").description == "the checkpoint is old")
    #expect(PolicyRefusal.budget("it is spent").description == "it is spent")
    #expect(FederationError.policy(.purpose("ads")).description.contains("this node's policy"))
  }
}
