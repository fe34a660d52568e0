import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 6: an old round is replayed, or a node comes back from a backup. A second input under the same
/// seeds is a two-time pad: the difference of the masked inputs is the difference of the inputs.
///
/// That a node never makes two clients for one session, even when its files are old, is the business of
/// its durable records (`NodePolicy`: session numbers grow) and of the server's receipts; here is what the
/// client itself refuses, and that sessions share no mask.
struct AttackReplayTests {
  private let victim = 0

  private func difference(_ a: [UInt32], _ b: [UInt32]) -> [Int64] {
    let words = zip(a, b).map { $0 &- $1 }
    return RingVector(trusted: words, ringBits: 32).centred
  }

  private func words(_ input: MaskedInput) throws -> [UInt32] {
    try RingVector(packed: input.packed, dimension: input.dimension, ringBits: 32).words
  }

  /// An input that differs from the victim's by known amounts.
  private func other(_ session: Session) -> [Int64] {
    session.inputs[victim].enumerated().map { $1 / 2 + Int64($0) }
  }

  /// What the attacker gains from a client that was restored from a snapshot taken before it uploaded.
  @Test(arguments: attackedGraphs)
  func `two inputs under one mask reveal their difference`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    try session.share()
    var backup = session
    backup.inputs[victim] = other(session)
    let first = try words(session.masked(victim))
    let second = try words(backup.masked(victim))
    let plain = zip(session.inputs[victim], other(session)).map { $0 - $1 }
    #expect(difference(first, second) == plain)
  }

  /// Guarded check: the comparison with `sent.input` at the top of `AggregationClient.mask`,
  /// AggregationClient+Masking.swift: a second input, or the same one for other neighbours, is refused; so is
  /// any after the input was acknowledged, when it cannot be compared any more.
  @Test(arguments: attackedGraphs)
  func `one client masks one input`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    try session.share()
    let delivery = try session.delivery(for: victim)
    let own = try session.ring(victim)
    let first = try words(session.masked(victim))
    let changed = try RingVector(centred: other(session), ringBits: 32).words
    var fewer = delivery
    let dropped = try #require(fewer.evidence.last { $0.index != victim }).index
    fewer.evidence.removeAll { $0.index == dropped }
    fewer.shares.removeAll { $0.sender == dropped }
    for isAcknowledged in [false, true] {
      if isAcknowledged { session.clients[victim].acknowledgeInput() }
      for (input, delivery) in [(changed, delivery), (own, fewer)] {
        var gained: [Int64]?
        let error = refusal {
          gained = difference(first, try words(session.clients[victim].mask(input, delivery: delivery)))
        }
        #expect(
          gained == nil, "the server learns a difference of inputs or a mask: \(String(describing: gained))")
        #expect(error == .conflictingRetry(.mask))
      }
      if !isAcknowledged { #expect(try words(session.masked(victim)) == first) }
    }
  }

  /// Guarded check: the states: nothing follows `abort`, and no step can be run again.
  @Test(arguments: attackedGraphs)
  func `an aborted client never masks again`(graph: NeighbourGraph) throws {
    var session = try Session.attacked(graph)
    try session.share()
    session.clients[victim].abort()
    #expect(throws: AggregationError.aborted) { try session.masked(victim) }
    #expect(throws: AggregationError.aborted) { try session.clients[victim].advertise() }
  }

  /// Guarded check: sid in `KeySchedule`, and the root (which contains sid) in `pairMask`: a node restored
  /// with the same randomness makes other masks in another session, so no difference is readable.
  @Test(arguments: attackedGraphs)
  func `the same randomness in another session gives other masks`(graph: NeighbourGraph) throws {
    var masked: [[UInt32]] = []
    var inputs: [[Int64]] = []
    for sid in ["round 1", "round 2"] {
      var session = try Session.attacked(graph, sid: sid, seed: 3)
      if sid == "round 2" { session.inputs[victim] = other(session) }
      try session.share()
      masked.append(try words(session.masked(victim)))
      inputs.append(session.inputs[victim])
    }
    let plain = zip(inputs[0], inputs[1]).map { $0 - $1 }
    let seen = difference(masked[0], masked[1])
    #expect(zip(seen, plain).allSatisfy { $0 != $1 })
  }

  /// Guarded check: sid, root and identity in what is signed (`ShareUpload.signedBytes`,
  /// `SurvivorNotice.signedBytes`, Messages.swift), verified by coordinator and clients: no message of an old
  /// round counts in a new one.
  @Test(arguments: attackedGraphs)
  func `messages of an old round are refused in a new one`(graph: NeighbourGraph) throws {
    var old = try Session.attacked(graph, sid: "old")
    var new = try Session.attacked(graph, sid: "new")
    let id = new.clients[victim].id
    #expect(throws: AggregationError.conflictingDuplicate(id, .advertise)) {
      try new.coordinator.receive(old.roster.members[victim])
    }
    var upload = try old.upload(of: victim)
    #expect(throws: AggregationError.wrongRoster(id)) { try new.coordinator.receive(upload) }
    upload.root = new.roster.root
    #expect(throws: AggregationError.badSignature(id, .share)) { try new.coordinator.receive(upload) }
    try old.share()
    try new.share()
    let input = try new.ring(victim)
    let replayed = try old.delivery(for: victim)
    #expect(throws: AggregationError.ownEntrySubstituted(.share)) {
      try new.clients[victim].mask(input, delivery: replayed)
    }
    let (before, after) = (try old.upload(), try new.upload())
    #expect(before == after)
    let signature = try old.clients[victim].confirm(before)
    #expect(throws: AggregationError.badSignature(id, .confirm)) {
      try new.coordinator.receive(signature)
    }
    _ = try old.confirm(before)
    _ = try new.clients[victim].confirm(after)
    let claimed = old.signatures(on: before, of: old.everybody)
    let error = refusal { _ = try new.provoke(victim, claimed) }
    guard case .badSignature(_, .confirm) = error else {
      Issue.record("a quorum of an old round was accepted: \(String(describing: error))")
      return
    }
  }
}
