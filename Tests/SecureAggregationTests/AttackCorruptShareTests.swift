import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 9 on both graphs: corrupt shares from a dealer or a holder. They would make the sum wrong
/// without anybody noticing, or make the server ask for more shares than it may have.
/// `CorruptShareTests` has the cases that need a particular number of spare shares.
struct AttackCorruptShareTests {
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  /// Everybody uploads but the last, who drops; the liars lie about every share they hold.
  private func run(
    _ graph: NeighbourGraph, n: Int = 20, liars: [Int],
    tampered: (dealer: Int, change: (Int, [UInt8]) -> [UInt8])? = nil
  ) throws -> (Session, AggregationResult) {
    var session = try Session.attacked(graph, n: n)
    if let tampered {
      let forged = try session.tamperedUpload(of: tampered.dealer, tampered.change)
      for index in session.everybody where index != tampered.dealer {
        try session.coordinator.receive(session.upload(of: index))
      }
      try session.coordinator.receive(forged)
      try session.closeSharing()
    } else {
      try session.share()
    }
    let notice = try session.upload(Array(0..<(n - 1)))
    let quorum = try session.confirm(notice)
    for index in 0..<(n - 1) {
      var message = try session.clients[index].reveal(quorum)
      if liars.contains(index) {
        for position in message.seedShares.indices {
          message.seedShares[position].bytes = try corrupted(message.seedShares[position].bytes)
        }
        for position in message.maskKeyShares.indices {
          message.maskKeyShares[position].bytes = try corrupted(message.maskKeyShares[position].bytes)
        }
      }
      try session.coordinator.receive(message)
    }
    return (session, try session.coordinator.finish())
  }

  /// Guarded checks: B and U in `AggregationCoordinator.finish` (AggregationCoordinator+Unmasking.swift), and
  /// `Recovery.blame` (Recovery.swift). Without the first the sum is silently wrong; without the second the
  /// culprit is unknown.
  @Test(arguments: [.complete, .sparse(degree: 12, threshold: 6)] as [NeighbourGraph], [0, 2, 7])
  func `a lying holder changes nothing and is named`(graph: NeighbourGraph, liar: Int) throws {
    let (session, result) = try run(graph, liars: [liar])
    #expect(result.centredSum == session.plainSum(Array(0..<19)))
    #expect(Set(result.faults.map(\.holder)) == [id(liar)])
  }

  @Test func `two lying neighbours on the sparse graph are both named`() throws {
    let (session, result) = try run(.sparse(degree: 12, threshold: 6), liars: [1, 4])
    #expect(result.centredSum == session.plainSum(Array(0..<19)))
    #expect(Set(result.faults.map(\.holder)) == [id(1), id(4)])
  }

  /// Guarded check: `isRight` for B, `AggregationCoordinator.finish`. All shares of the seed are consistent,
  /// but of another seed than the dealer committed to: no holder is to blame, and the round is lost rather
  /// than wrong.
  @Test(arguments: [.complete, .sparse(degree: 12, threshold: 6)] as [NeighbourGraph])
  func `shares of another seed than was committed to lose the round`(graph: NeighbourGraph) throws {
    let error = try lost(graph, dealer: 5) { plain, shift in
      let half = try Scalar(canonical: Array(plain[32...])) + shift
      return plain[..<32] + half.exportBytes()
    }
    guard case .unrecoverable(id(5), _, _) = error else {
      Issue.record("a wrong sum was returned, or another participant blamed: \(String(describing: error))")
      return
    }
  }

  /// Guarded check: `isRight` for U, `AggregationCoordinator.finish`, for the mask key of the drop-out.
  @Test(arguments: [.complete, .sparse(degree: 12, threshold: 6)] as [NeighbourGraph])
  func `shares of another mask key than was advertised lose the round`(graph: NeighbourGraph) throws {
    let error = try lost(graph, dealer: 19) { plain, shift in
      let half = try Scalar(canonical: Array(plain[..<32])) + shift
      return half.exportBytes() + plain[32...]
    }
    guard case .unrecoverable(id(19), _, _) = error else {
      Issue.record("a wrong sum was returned, or another participant blamed: \(String(describing: error))")
      return
    }
  }

  /// A constant added to every share is the same constant added to the secret.
  private func lost(
    _ graph: NeighbourGraph, dealer: Int, _ change: @escaping ([UInt8], Scalar) throws -> [UInt8]
  ) throws -> AggregationError? {
    var failure: (any Error)?
    var random = RandomStream(testSeed: 4)
    let shift = Scalar(using: &random)
    do {
      // The share that the dealer keeps itself on the complete graph stays right: one error is corrected
      // away where it can be, so the dealer's secret is still decided by what it dealt.
      _ = try run(
        graph, liars: [],
        tampered: (
          dealer,
          { _, plain in
            do { return try change(plain, shift) } catch {
              failure = error
              return plain
            }
          }
        ))
    } catch { return error as? AggregationError }
    if let failure { throw failure }
    return nil
  }

  /// Guarded check: nobody is asked again: `AggregationCoordinator.receive(_: UnmaskShares)` takes, and
  /// `AggregationClient.reveal` gives, one share of each dealer, however many turn out to be corrupt.
  @Test(arguments: attackedGraphs)
  func `a lost round costs no second share`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    try session.share()
    var spy = Spy(session)
    let notice = try session.upload(spy: &spy)
    let quorum = try session.confirm(notice)
    for index in session.everybody {
      var message = try session.clients[index].reveal(quorum)
      try spy.note(message, from: index)
      for position in message.seedShares.indices where index % 2 == 0 {
        message.seedShares[position].bytes = try corrupted(message.seedShares[position].bytes)
      }
      try session.coordinator.receive(message)
    }
    let error = refusal { _ = try session.coordinator.finish() }
    guard case .unrecoverable = error else {
      Issue.record("half of the shares are corrupt and yet: \(String(describing: error))")
      return
    }
    // The server calls its victim dropped, to get the other share as well.
    let dead = SurvivorNotice(shared: notice.shared, uploaded: notice.uploaded.filter { $0 != 0 })
    for index in session.everybody where index != 0 {
      _ = try? session.clients[index].confirm(dead)
      let signatures = session.signatures(on: dead, of: dead.uploaded)
      if let second = try? session.provoke(index, signatures) { try spy.note(second, from: index) }
    }
    #expect(spy.keyShares.isEmpty)
    #expect(try spy.input(of: 0) == nil)
  }
}
