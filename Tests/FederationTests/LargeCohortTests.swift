import Cryptography
import Federation
import SecureAggregation
import Testing

/// Cohorts on the sparse graph and cohorts in groups, with every message through its bytes on the wire.
@Suite struct LargeCohortTests {
  private static let identities: [SigningKey] = {
    var random = RandomStream(testSeed: 77)
    return (0..<210).map { _ in SigningKey(using: &random) }.sorted { $0.verifyingKey < $1.verifyingKey }
  }()

  private func inputs(_ descriptor: RoundDescriptor, nodes: Int) -> [[Int64]] {
    (0..<nodes).map { node in
      (0..<descriptor.dimension).map { Int64((node * 7 + $0 * 3) % 5) - 2 }
    }
  }

  @Test func `two hundred and ten nodes sum exactly on the sparse graph, with drop-outs at every step`()
    throws
  {
    let n = Self.identities.count
    let graph = try GraphParameters.search(cohort: n, corruptPermille: 100, dropoutPermille: 100)
    let descriptor = try Fixture.descriptor(
      cohort: n, minimumCohort: 200, minimumSurvivors: 150, corruptPermille: 100
    ) {
      $0.graph = .sparse(degree: graph.degree, threshold: graph.threshold)
      if KeyStreamSuite.aes256CTR.isAvailable { $0.suite = .aes256CTR }
    }
    let inputs = inputs(descriptor, nodes: n)
    var session = try Session(descriptor, nodes: n, identities: Self.identities)
    let fates: [Fate] = (0..<n).map { node in
      switch node {
      case 3, 90: .leavesBeforeSharing
      case 17, 101, 209: .leavesBeforeUploading
      case 55: .leavesBeforeConfirming
      case 56: .leavesBeforeRevealing
      default: .stays
      }
    }
    try session.run(inputs, fates: fates)
    let released = try #require(session.released, "\(session.abortReason ?? "")")
    let survivors = fates.indices.filter { fates[$0].uploads }
    #expect(released.groups[0].result.centredSum == sum(survivors.map { inputs[$0] }))
    #expect(released.survivors == survivors.map { session.id($0) })
    #expect(released.cohort.count == n)
  }

  @Test func `a cohort in groups releases one sum for each, and a group that is too small is left out alone`()
    throws
  {
    let n = 24
    let descriptor = try Fixture.descriptor(cohort: n, minimumCohort: 3) { $0.groups = 3 }
    let inputs = inputs(descriptor, nodes: n)
    let task = try Fixture.task { $0.groups = 3 }
    var session = try Session(descriptor, nodes: n, task: task, identities: Self.identities)
    let plan = try GroupPlan(sessionID: session.signed.sessionID, groups: 3)
    let members = plan.partition((0..<n).map { session.id($0) })
    // All of the last group but two leave before they upload.
    let leaving = Set(members[2].dropLast(2))
    let fates: [Fate] = (0..<n).map { leaving.contains(session.id($0)) ? .leavesBeforeUploading : .stays }
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    try session.upload(inputs, (0..<n).filter { fates[$0].uploads })
    #expect(session.coordinator.loss(for: members[2][0]) != nil)
    #expect(session.coordinator.loss(for: members[0][0]) == nil)
    let living = (0..<n).filter { plan.group(of: session.id($0)) != 2 }
    try session.confirm(living)
    try session.unmask(living)
    let released = try #require(session.released, "\(session.abortReason ?? "")")
    #expect(released.groups.map(\.group) == [0, 1])
    for release in released.groups {
      let who = (0..<n).filter { plan.group(of: session.id($0)) == release.group }
      #expect(release.result.centredSum == sum(who.map { inputs[$0] }))
    }
    let update = try #require(released.integers(of: .update))
    #expect(update == Array(sum(living.map { inputs[$0] }).prefix(update.count)))
    #expect(released.survivors == living.map { session.id($0) })
  }

  @Test func `a node refuses a roster with members of another group`() throws {
    let descriptor = try Fixture.descriptor(cohort: 12, minimumCohort: 3) { $0.groups = 2 }
    let task = try Fixture.task { $0.groups = 2 }
    var session = try Session(descriptor, nodes: 12, task: task, identities: Self.identities)
    let plan = try GroupPlan(sessionID: session.signed.sessionID, groups: 2)
    let members = plan.partition((0..<12).map { session.id($0) })
    // A server that mixes the groups would have to know of a node that goes along.
    var advertisements: [Advertisement] = []
    for node in 0..<12 { advertisements.append(try session.advertisement(node)) }
    let victim = try #require((0..<12).first { members[0].contains(session.id($0)) })
    let parameters = try descriptor.aggregationParameters(sessionID: session.signed.sessionID, group: 0)
    let forged = Roster(
      members: advertisements, root: Roster.root(of: advertisements, sid: parameters.sessionID))
    expectRefusal("the group of") {
      _ = try session.nodes[victim].share(forged, enrolled: Set((0..<12).map { session.id($0) }))
    }
  }

  @Test func `a node refuses a corrupt fraction that is too small for its group`() throws {
    let task = try Fixture.task {
      $0.groups = 2
      $0.corruptPermille = 100
      $0.minimumCohort = 40
      $0.minimumSurvivors = 30
    }
    let policy = Fixture.policy()
    let needed = try GroupPlan.requirement(
      group: 0, groupSize: 100, cohort: 200, corruptPermille: 100, dropoutPermille: task.dropoutPermille,
      groups: 2, enrolled: 200
    ).corruptPermille
    var descriptor = try Fixture.descriptor(cohort: 100, minimumCohort: 40, minimumSurvivors: 30) {
      $0.groups = 2
      $0.corruptPermille = needed
    }
    try policy.checkGroup(descriptor, task: task, size: 100, enrolled: 200)
    descriptor.corruptPermille = needed - 1
    expectRefusal("corruptPermille") {
      try policy.checkGroup(descriptor, task: task, size: 100, enrolled: 200)
    }
  }

  @Test func `a group with a garbage upload is left out and the others are released`() throws {
    let n = 24
    let descriptor = try Fixture.descriptor(cohort: n, minimumCohort: 3) { $0.groups = 3 }
    var inputs = inputs(descriptor, nodes: n)
    let task = try Fixture.task { $0.groups = 3 }
    var session = try Session(descriptor, nodes: n, task: task, identities: Self.identities)
    let plan = try GroupPlan(sessionID: session.signed.sessionID, groups: 3)
    let poisoner = try #require((0..<n).first { plan.group(of: session.id($0)) == 1 })
    // As far from zero as the ring goes: no group of contributors reaches that.
    inputs[poisoner] = [Int64](
      repeating: (Int64(1) << (descriptor.ringBits - 1)) - 1, count: descriptor.dimension)
    try session.advertise()
    try session.share()
    try session.handle(.debited)
    try session.upload(inputs)
    try session.confirm()
    try session.unmask()
    let released = try #require(session.released, "\(session.abortReason ?? "")")
    #expect(released.groups.map(\.group) == [0, 2])
    #expect(session.coordinator.loss(for: session.id(poisoner))?.contains("possible range") == true)
    for release in released.groups {
      let who = (0..<n).filter { plan.group(of: session.id($0)) == release.group }
      #expect(release.result.centredSum == sum(who.map { inputs[$0] }))
    }
  }

  @Test func `a node that did not wait cannot join a sparse session that was planned without it`() throws {
    let n = Self.identities.count
    let graph = try GraphParameters.search(cohort: 209, corruptPermille: 0, dropoutPermille: 100)
    let descriptor = try Fixture.descriptor(cohort: n, minimumCohort: 200, minimumSurvivors: 150) {
      $0.graph = .sparse(degree: graph.degree, threshold: graph.threshold)
    }
    let session = try Session(descriptor, nodes: n, identities: Self.identities)
    var coordinator = try RoundCoordinator(
      signed: session.signed, expected: Set((1..<n).map { session.id($0) }),
      enrolled: Set((0..<n).map { session.id($0) }), now: Fixture.now)
    var late = session
    let message = try late.advertisement(0)
    expectRefusal("wait for the next one") {
      _ = try coordinator.handle(.advertisement(message), now: Fixture.now)
    }
  }

  @Test func `a task with collusion and many enrolled nodes can still be planned`() throws {
    for enrolled in [80, 200, 400, 5_000] {
      let task = try Fixture.task {
        $0.minimumCohort = 10
        $0.minimumSurvivors = 8
        $0.corruptPermille = 100
        $0.dropoutPermille = 100
      }
      var engine = TaskEngine(task: task)
      let plan = try engine.nextSession(spent: [:], cohort: enrolled)
      #expect(plan != nil, "\(enrolled) nodes: \(engine.progress.status)")
    }
  }

  @Test func `two groups cannot be combined by a median`() throws {
    try Fixture.task {
      $0.groups = 2
      $0.combination = .mean
    }.validate()
    expectRefusal("combination") { try Fixture.task { $0.groups = 2 }.validate() }
  }
}
