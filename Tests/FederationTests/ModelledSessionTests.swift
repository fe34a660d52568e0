import Cryptography
import Federation
import Privacy
import SecureAggregation
import Testing

@Suite struct ModelledSessionTests {
  private func signed(_ descriptor: RoundDescriptor) -> SignedDescriptor {
    SignedDescriptor(descriptor, key: Fixture.serverKey)
  }

  private func ids(_ count: Int) -> [VerifyingKey] {
    (0..<count).map { VerifyingKey(unchecked: Fixture.digest("member \($0)").bytes) }
  }

  @Test(arguments: [(5, 0, 5), (8, 200, 6)])
  func `the sum is bit for bit that of a session with messages`(
    n: Int, corruptPermille: Int, survivors: Int
  ) throws {
    let descriptor = try Fixture.descriptor(
      Fixture.segments(noiseVariance: 900), cohort: n, minimumCohort: n, minimumSurvivors: survivors,
      corruptPermille: corruptPermille)
    let inputs = (0..<n).map { node in (0..<11).map { Int64(node * 7 - $0) } }
    var session = try Session(descriptor, nodes: n, seed: 4)
    try session.run(
      inputs, fates: (0..<n).map { $0 < survivors ? .stays : .leavesBeforeUploading })
    let expected = try #require(session.released)

    var modelled = try ModelledSession(
      signed: session.signed, cohort: session.identities.map(\.verifyingKey))
    #expect(modelled.debits == session.debits[0])
    try modelled.debited()
    #expect(modelled.debits.isEmpty)
    var random = RandomStream(testSeed: 4)
    var total = [Int64](repeating: 0, count: 11)
    for node in 0..<n {
      let own = random.fork()
      var values = inputs[node]
      try modelled.addShare(to: &values, random: own)
      if node < survivors { total = sum([total, values]) }
    }
    let released = try modelled.release(
      total, survivors: (0..<survivors).map { session.id($0) }, random: &random)
    #expect(released.ring.words == expected.ring.words)
    #expect(released.cohort == expected.cohort)
    #expect(released.survivors == expected.survivors)
    #expect(released.sessionID == expected.sessionID)
    #expect(released.transcript != expected.transcript)
  }

  @Test(arguments: [
    (cohort: 6, noiseCohort: Int?.none, survivors: 5), (1_100, nil, 1_000), (6, 60, 6), (6, 60, 5),
  ])
  func `the noise has the variance that was calibrated`(
    cohort: Int, noiseCohort: Int?, survivors: Int
  ) throws {
    let total = 40_000.0
    let planned = noiseCohort ?? cohort
    let least = planned * survivors / cohort
    let segment = Segment(
      name: .update, length: 20_000, population: .training, clipNorm: 4, scale: 32, noiseVariance: total)
    let descriptor = try Fixture.descriptor(
      [segment], cohort: planned, minimumCohort: planned, minimumSurvivors: least
    ) {
      if planned > 200 { $0.graph = .sparse(degree: 150, threshold: 100) }
    }
    var session = try ModelledSession(
      signed: signed(descriptor), cohort: ids(cohort), noiseCohort: noiseCohort)
    #expect(session.drawsSeparateShares == (cohort == 6 && noiseCohort == nil))
    try session.debited()
    var random = RandomStream(testSeed: 9)
    var values = [Int64](repeating: 0, count: segment.length)
    if session.drawsSeparateShares {
      for _ in 0..<survivors { try session.addShare(to: &values, random: random.fork()) }
    }
    let released = try session.release(
      values, survivors: Array(ids(cohort).prefix(survivors)), random: &random)
    let integers = try #require(released.integers(of: .update))
    let variance = integers.reduce(0.0) { $0 + Double($1 * $1) } / Double(integers.count)
    // Shares are sized for the fewest survivors that a graph assures; these are a few more on the sparse one.
    let assured = try GraphPolicy.standard.assuredSurvivors(
      graph: descriptor.graph, minimumSurvivors: least, corruptPermille: 0, cohort: planned)
    let scale = Double(cohort) / Double(planned)
    let expected = total / Double(assured) * Double(survivors) * scale
    #expect(abs(variance / expected - 1) < 0.05, "\(variance) for \(expected)")
    // On the mean it is the larger cohort's: (k / L)² of the variance of its sum.
    if noiseCohort != nil, survivors == cohort {
      #expect(abs(variance / (total * scale * scale) - 1) < 0.05)
    }
    let mean = integers.reduce(0.0) { $0 + Double($1) } / Double(integers.count)
    #expect(abs(mean) < 5 * (expected / Double(integers.count)).squareRoot())
  }

  @Test func `nothing is released before the debit, or twice`() throws {
    let descriptor = try Fixture.descriptor(cohort: 3)
    let zeros = [Int64](repeating: 0, count: 11)
    var session = try ModelledSession(signed: signed(descriptor), cohort: ids(3))
    var random = RandomStream(testSeed: 1)
    expectRefusal("not debited") { _ = try session.release(zeros, survivors: ids(3), random: &random) }
    try session.debited()
    expectRefusal("already") { try session.debited() }
    _ = try session.release(zeros, survivors: ids(3), random: &random)
    expectRefusal("released") { _ = try session.release(zeros, survivors: ids(3), random: &random) }
  }

  @Test func `what aborts a session with messages is refused`() throws {
    let descriptor = try Fixture.descriptor(cohort: 6, minimumCohort: 6, minimumSurvivors: 5)
    let zeros = [Int64](repeating: 0, count: 11)
    var random = RandomStream(testSeed: 1)
    expectRefusal("cohort of 5", "minimum of 6") {
      _ = try ModelledSession(signed: signed(descriptor), cohort: ids(5))
    }
    var session = try ModelledSession(signed: signed(descriptor), cohort: ids(6))
    try session.debited()
    expectRefusal("only 4 of 6") {
      _ = try session.release(zeros, survivors: Array(ids(6).prefix(4)), random: &random)
    }
    var outside = zeros
    outside[3] = 30_000
    expectRefusal("outside its possible range") {
      _ = try session.release(outside, survivors: ids(6), random: &random)
    }
    expectRefusal("length") { _ = try session.release([1], survivors: ids(6), random: &random) }
    _ = try session.release(zeros, survivors: ids(6), random: &random)
  }
}
