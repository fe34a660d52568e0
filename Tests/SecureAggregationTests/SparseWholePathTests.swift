import Cryptography
import Testing

@testable import SecureAggregation

/// Whole sessions on the sparse graph: with drop-outs at every step the sum is exact, or exactly those
/// refuse who must, for the reason that follows from who drew whom.
struct SparseWholePathTests {
  /// A cohort and its drop-outs.
  struct Case: Sendable, CustomTestStringConvertible {
    let n: Int
    let graph: NeighbourGraph
    let leavingPercent: UInt64
    let seed: UInt64
    var testDescription: String { "\(n) participants, \(leavingPercent) % leave, seed \(seed)" }
  }

  static let graphs: [(n: Int, degree: Int, threshold: Int)] = [
    (9, 8, 5), (12, 8, 5), (30, 12, 7), (60, 20, 11), (200, 36, 21),
  ]

  static let cases: [Case] = graphs.flatMap { n, degree, threshold in
    ([0, 8, 25, 45, 70] as [UInt64]).flatMap { percent in
      (0..<(n < 60 ? 6 : 1) as Range<UInt64>).map { seed in
        Case(
          n: n, graph: .sparse(degree: degree, threshold: threshold), leavingPercent: percent, seed: seed)
      }
    }
  }

  /// Who does what, computed from the draws alone.
  private struct Forecast {
    var sharers: [Int] = []
    var uploaders: [Int] = []
    var refusingToMask: [Int: Int] = [:]
    var signers: [Int] = []
    var refusingToConfirm: [Int: Int] = [:]
    var revealers: [Int] = []
    var refusal: AggregationError?

    init(_ fates: [Fate], dealt: [[Int]], parameters: AggregationParameters) {
      guard case .sparse(_, let threshold) = parameters.graph else { return }
      let n = fates.count
      sharers = fates.indices.filter { fates[$0].shares }
      func tooFew(_ step: AggregationStep, _ count: Int) -> AggregationError? {
        let needed = parameters.minimumSurvivors
        return count < needed ? .tooFewAlive(step, count: count, needed: needed) : nil
      }
      refusal = tooFew(.share, sharers.count)
      guard refusal == nil else { return }
      let alive = Set(sharers)
      for index in sharers where fates[index].uploads {
        let holders = dealt[index].count { alive.contains($0) }
        if holders < threshold { refusingToMask[index] = holders } else { uploaders.append(index) }
      }
      refusal = tooFew(.mask, uploaders.count)
      guard refusal == nil else { return }
      let survivors = Set(uploaders)
      for index in uploaders where fates[index].confirms {
        let holders = dealt[index].count { survivors.contains($0) }
        if holders < threshold { refusingToConfirm[index] = holders } else { signers.append(index) }
      }
      let quorum = parameters.quorum(n)
      if signers.count < quorum {
        refusal = .quorumTooSmall(count: signers.count, needed: quorum)
        return
      }
      revealers = signers.filter { fates[$0].reveals }
      let revealing = Set(revealers)
      let fewest = sharers.map { dealer in dealt[dealer].count { revealing.contains($0) } }.min() ?? 0
      if fewest < threshold { refusal = .tooFewAlive(.unmask, count: fewest, needed: threshold) }
    }
  }

  private func fates(_ test: Case) -> [Fate] {
    var random = RandomStream(testSeed: 9_000 + test.seed + test.leavingPercent)
    // Half of the patterns lose participants early only, so that some find too few holders alive.
    let early: [Fate] = [.leavesBeforeSharing, .leavesBeforeUploading]
    let leaving = test.seed % 2 == 1 ? early : Fate.allCases.filter { $0 != .stays }
    return (0..<test.n).map { _ in
      random.uniform(below: 100) < test.leavingPercent
        ? leaving[Int(random.uniform(below: UInt64(leaving.count)))] : .stays
    }
  }

  private func expectRefusal(
    _ error: AggregationError?, _ body: () throws -> Void
  ) {
    if let error {
      #expect(throws: error) { try body() }
    } else {
      #expect(throws: Never.self) { try body() }
    }
  }

  @Test(arguments: cases)
  func `sums exactly, or refuses with the right reason, whoever leaves`(test: Case) throws {
    let parameters = try Fixture.parameters(
      dimension: 7, ringBits: RingWidth.all[Int(test.seed) % 4], graph: test.graph)
    var session = try Session(test.n, parameters: parameters, seed: test.seed)
    let fates = fates(test)
    var uploads: [ShareUpload] = []
    for index in session.everybody { uploads.append(try session.upload(of: index)) }
    let dealt = uploads.map { $0.shares.map(\.recipient) }
    let forecast = Forecast(fates, dealt: dealt, parameters: parameters)

    for index in forecast.sharers { try session.coordinator.receive(uploads[index]) }
    let enough = forecast.sharers.count >= 2
    expectRefusal(enough ? nil : forecast.refusal) { try session.closeSharing() }
    guard enough else { return }
    for (index, count) in forecast.refusingToMask {
      let needed = parameters.threshold(cohort: test.n)
      #expect(throws: AggregationError.tooFewAlive(.mask, count: count, needed: needed)) {
        try session.masked(index)
      }
    }
    guard forecast.uploaders.count >= 2 else {
      return expectRefusal(forecast.refusal) { _ = try session.upload(forecast.uploaders) }
    }
    let notice = try session.upload(forecast.uploaders)
    for (index, count) in forecast.refusingToConfirm {
      let needed = parameters.threshold(cohort: test.n)
      #expect(throws: AggregationError.tooFewAlive(.confirm, count: count, needed: needed)) {
        try session.clients[index].confirm(notice)
      }
    }
    guard forecast.signers.count >= parameters.quorum(test.n) else {
      return expectRefusal(forecast.refusal) { _ = try session.confirm(notice, forecast.signers) }
    }
    let quorum = try session.confirm(notice, forecast.signers)
    try session.reveal(quorum, forecast.revealers)
    #expect(session.coordinator.canFinish == (forecast.refusal == nil))
    guard forecast.refusal == nil else {
      return expectRefusal(forecast.refusal) { _ = try session.coordinator.finish() }
    }
    let result = try session.coordinator.finish()
    #expect(firstDifference(result.centredSum, session.plainSum(forecast.uploaders)) == nil)
    #expect(result.survivors == forecast.uploaders.map { session.clients[$0].id })
    #expect(result.shared.count == forecast.sharers.count && result.faults.isEmpty)
    let dropped = forecast.sharers.filter { !forecast.uploaders.contains($0) }
    #expect(result.droppedBeforeUpload == dropped.map { session.clients[$0].id })
  }

  /// The cases above hold both sums and refusals at every step that can refuse.
  @Test func `the drop-out patterns reach sums and refusals`() throws {
    var reasons: [String: Int] = [:]
    for test in Self.cases where test.n <= 60 {
      let parameters = try Fixture.parameters(dimension: 1, graph: test.graph)
      var random = RandomStream(testSeed: test.seed)
      let dealt = (0..<test.n).map { test.graph.drawNeighbours(of: $0, cohort: test.n, using: &random) }
      let forecast = Forecast(fates(test), dealt: dealt, parameters: parameters)
      let reason =
        switch forecast.refusal {
        case nil: "sum"
        case .tooFewAlive(let step, _, _): "\(step)"
        case .quorumTooSmall: "quorum"
        default: "other"
        }
      reasons[reason, default: 0] += 1
      if !forecast.refusingToMask.isEmpty { reasons["a participant refuses to mask", default: 0] += 1 }
    }
    #expect((reasons["sum"] ?? 0) >= 10)
    #expect((reasons["quorum"] ?? 0) >= 3)
    #expect((reasons["unmask"] ?? 0) >= 5)
    #expect((reasons["a participant refuses to mask"] ?? 0) >= 3)
    #expect(reasons["other"] == nil)
  }

  @Test func `two hundred participants of the standard policy sum exactly with one tenth gone`() throws {
    let found = try GraphParameters.search(cohort: 200, corruptPermille: 100, dropoutPermille: 100)
    let parameters = try Fixture.parameters(
      dimension: 9, minimumCohort: 150, minimumSurvivors: 140,
      graph: .sparse(degree: found.degree, threshold: found.threshold))
    var session = try Session(200, parameters: parameters)
    for index in session.everybody {
      try session.replace(index, minimumCohort: 150, minimumSurvivors: 140, policy: .standard)
    }
    var fates = [Fate](repeating: .stays, count: 200)
    for index in stride(from: 0, to: 200, by: 10) {
      fates[index] = [.leavesBeforeSharing, .leavesBeforeUploading, .leavesBeforeConfirming][index % 3]
    }
    let result = try session.run(fates)
    let survivors = fates.indices.filter { fates[$0].uploads }
    #expect(firstDifference(result.centredSum, session.plainSum(survivors)) == nil)
  }
}
