import Cryptography
import Testing

@testable import SecureAggregation

/// Shares that a dealer dealt, or a holder revealed, wrongly (attack 9 of the design).
struct CorruptShareTests {
  private func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  /// Ten participants, the last of whom drops before uploading; the given holders lie about every share.
  private func run(
    liars: [Int], n: Int = 10, absent: [Int] = [],
    _ lie: (inout UnmaskShares) throws -> Void
  ) throws -> (Session, AggregationResult) {
    var session = try Session(n)
    try session.share()
    let notice = try session.upload(Array(0..<(n - 1)))
    let quorum = try session.confirm(notice)
    for index in 0..<(n - 1) where !absent.contains(index) {
      var message = try session.clients[index].reveal(quorum)
      if liars.contains(index) { try lie(&message) }
      try session.coordinator.receive(message)
    }
    return (session, try session.coordinator.finish())
  }

  private func lieAboutEverything(_ message: inout UnmaskShares) throws {
    for index in message.seedShares.indices {
      message.seedShares[index].bytes = try corrupted(message.seedShares[index].bytes)
    }
    for index in message.maskKeyShares.indices {
      message.maskKeyShares[index].bytes = try corrupted(message.maskKeyShares[index].bytes)
    }
  }

  @Test(arguments: 0..<9)
  func `a holder that lies is named and the sum is right`(liar: Int) throws {
    let (session, result) = try run(liars: [liar]) { try lieAboutEverything(&$0) }
    #expect(result.centredSum == session.plainSum(Array(0..<9)))
    // Seven of nine shares are used: the last two are spare and not looked at.
    #expect(Set(result.faults.map(\.holder)) == (liar < 7 ? [id(liar)] : []))
  }

  @Test func `a single wrong share of a drop-out's key is found`() throws {
    let (session, result) = try run(liars: [3]) { message in
      message.maskKeyShares[0].bytes = try corrupted(message.maskKeyShares[0].bytes)
    }
    #expect(result.centredSum == session.plainSum(Array(0..<9)))
    #expect(result.faults == [ShareFault(dealer: id(9), holder: id(3))])
  }

  @Test func `two liars among two spare shares are found with the commitment as judge`() throws {
    let (session, result) = try run(liars: [0, 5]) { try lieAboutEverything(&$0) }
    #expect(result.centredSum == session.plainSum(Array(0..<9)))
    #expect(Set(result.faults.map(\.holder)) == [id(0), id(5)])
  }

  @Test func `one liar and one spare share suffice`() throws {
    let (session, result) = try run(liars: [2], n: 10, absent: [8]) { try lieAboutEverything(&$0) }
    #expect(result.centredSum == session.plainSum(Array(0..<9)))
    #expect(result.faults.contains { $0.holder == id(2) })
    #expect(Set(result.faults.map(\.holder)) == [id(2)])
  }

  @Test func `many liars in a larger cohort are all named`() throws {
    let liars = [1, 4, 9, 13]
    let (session, result) = try run(liars: liars, n: 30) { try lieAboutEverything(&$0) }
    #expect(result.centredSum == session.plainSum(Array(0..<29)))
    #expect(Set(result.faults.map(\.holder)) == Set(liars.map(id)))
  }

  @Test func `without spare shares the round is lost and later shares rescue it`() throws {
    var session = try Session(10)
    try session.share()
    let notice = try session.upload()
    let quorum = try session.confirm(notice)
    for index in 0..<7 {
      var message = try session.clients[index].reveal(quorum)
      if index == 4 { try lieAboutEverything(&message) }
      try session.coordinator.receive(message)
    }
    let before = session.coordinator.accumulator
    #expect(throws: AggregationError.unrecoverable(dealer: id(0), shares: 7, needed: 7)) {
      try session.coordinator.finish()
    }
    #expect(session.coordinator.accumulator == before)
    try session.reveal(quorum, [9])
    let result = try session.coordinator.finish()
    #expect(result.centredSum == session.plainSum(session.everybody))
    #expect(Set(result.faults.map(\.holder)) == [id(4)])
  }

  @Test func `too many liars abort the round`() throws {
    #expect(throws: AggregationError.unrecoverable(dealer: id(0), shares: 9, needed: 7)) {
      try run(liars: [0, 1, 2]) { try lieAboutEverything(&$0) }
    }
  }

  private func dealt(
    by dealer: Int, _ change: (Int, [UInt8]) throws -> [UInt8]
  ) throws -> AggregationResult {
    var session = try Session(7)
    var failure: (any Error)?
    let forged = try session.tamperedUpload(of: dealer) { recipient, plain in
      do { return try change(recipient, plain) } catch {
        failure = error
        return plain
      }
    }
    if let failure { throw failure }
    for index in 0..<7 where index != dealer { try session.coordinator.receive(session.upload(of: index)) }
    try session.coordinator.receive(forged)
    try session.closeSharing()
    let notice = try session.upload()
    let quorum = try session.confirm(notice)
    try session.reveal(quorum, session.everybody)
    let result = try session.coordinator.finish()
    #expect(result.centredSum == session.plainSum(session.everybody))
    return result
  }

  @Test func `a dealer that dealt one wrong share is named with its victim`() throws {
    let result = try dealt(by: 5) { recipient, plain in
      recipient == 2 ? try plain[..<32] + corrupted(Array(plain[32...])) : plain
    }
    #expect(result.faults == [ShareFault(dealer: id(5), holder: id(2))])
  }

  @Test func `a dealer whose shares are of another secret than it committed to loses the round`() throws {
    #expect(throws: AggregationError.unrecoverable(dealer: id(5), shares: 7, needed: 5)) {
      try dealt(by: 5) { _, plain in try plain[..<32] + corrupted(Array(plain[32...])) }
    }
  }
}
