import Cryptography
import Federation
import SecureAggregation

/// One session with every message of every node, each through its bytes on the wire: the deployed state machines
/// of server and nodes, without HTTP between them. Who drops out does so before its upload.
struct FederatedExchange {
  /// A member of the cohort.
  struct Node: Sendable {
    let id: VerifyingKey
    var round: NodeRound
    /// Its contribution; nil for who drops out.
    let values: [Int64]?
  }

  /// Inputs that are masked before the server takes them: bounds the memory.
  private static let inputsAtOnce = 64

  /// The bytes of those that finish.
  private(set) var traffic = FederatedTraffic()
  private let session: FederatedSession
  private let work: NodeWork
  private var nodes: [Node]
  private var coordinator: RoundCoordinator
  private let enrolled: Set<VerifyingKey>
  private var now = UInt64(FederatedNodes.decidedAtMs)
  private var debits: [SegmentDebit] = []
  private var released: ReleasedSum?

  init(session: FederatedSession, task: TaskSpecification, nodes: [Node], work: NodeWork) throws {
    self.session = session
    self.nodes = nodes
    self.work = work
    enrolled = Set(nodes.map(\.id))
    coordinator = try RoundCoordinator(
      signed: session.signed, expected: enrolled, enrolled: enrolled, now: now)
    let finishing = nodes.count { $0.values != nil }
    traffic = FederatedTraffic(nodes: finishing)
    let opening = try FederatedTraffic.opening(session, task: task)
    traffic.sent += finishing * opening.sent
    traffic.received += finishing * opening.received
  }

  /// All steps; `debit` records the cost before any input is asked for.
  /// - Throws: `FederationError` if the session ends without a sum.
  mutating func run(debit: ([SegmentDebit]) throws -> Void) throws -> ReleasedSum {
    try advertise()
    try share()
    try debit(debits)
    try handle(.debited)
    try upload()
    try confirm()
    try reveal()
    guard let released else { throw stopped("unmasking") }
    return released
  }

  private func stopped(_ step: String) -> any Error {
    FederatedRunError.incomplete(step: step, session: session.number)
  }

  private mutating func handle(_ event: RoundCoordinator.Event) throws {
    let actions = try work.clock.time("aggregate") { try coordinator.handle(event, now: now) }
    for action in actions {
      switch action {
      case .debit(let list): debits = list
      case .completed(let sum): released = sum
      case .aborted(let reason):
        throw FederationError.component(name: "session \(session.number)", reason: reason)
      }
    }
  }

  /// Lets the deadline of a step pass if somebody is missing.
  private mutating func close(_ phase: RoundCoordinator.Phase) throws {
    guard coordinator.phase == phase else { return }
    now += UInt64(session.signed.descriptor.stepDeadlineMilliseconds)
    try handle(.tick)
  }

  // MARK: Steps

  private mutating func advertise() throws {
    let messages = try everywhere { node, _, bill in
      bill.request(.advertise, try node.round.advertise())
    }
    for message in messages { try handle(.advertisement(try Advertisement(read: message.value))) }
  }

  private mutating func share() throws {
    let enrolled = enrolled
    let messages = try everywhere { node, server, bill in
      guard node.round.drawsNeighbours else {
        guard let roster = server.roster(for: node.id) else { return nil }
        let received = try Roster(read: bill.answer(roster))
        return bill.request(.shares, try node.round.share(received, enrolled: enrolled))
      }
      guard let commitment = server.commitment(for: node.id) else { return nil }
      let draw = try node.round.draw(
        try RosterCommitment(read: bill.answer(commitment)), enrolled: enrolled)
      let request = try NeighbourRequest(read: bill.request(.neighbours, draw))
      guard let opening = try server.opening(request) else { return nil }
      return bill.request(.shares, try node.round.share(try RosterOpening(read: bill.answer(opening))))
    }
    for message in messages { try handle(.shares(try ShareUpload(read: message.value))) }
  }

  private mutating func upload() throws {
    let finishing = nodes.indices.filter { nodes[$0].values != nil }
    for start in stride(from: 0, to: finishing.count, by: Self.inputsAtOnce) {
      let part = Array(finishing[start..<min(start + Self.inputsAtOnce, finishing.count)])
      let inputs = try everywhere(part) { node, server, bill in
        guard let values = node.values, let delivery = server.delivery(for: node.id) else { return nil }
        let masked = try node.round.mask(
          values, delivery: try ShareDelivery(read: bill.answer(delivery)))
        bill.input(packedBytes: masked.packed.count)
        return masked.packed
      }
      for input in inputs {
        guard var pending = coordinator.pendingInput(for: input.id) else { throw stopped("upload") }
        try pending.append(input.value[...])
        try handle(.input(try pending.finish(), from: input.id))
      }
    }
    try close(.collecting)
  }

  private mutating func confirm() throws {
    let messages = try everywhere { node, server, bill in
      guard node.values != nil else { return nil }
      guard let notice = server.notice(for: node.id) else { return nil }
      return bill.request(
        .consistency, try node.round.confirm(try SurvivorNotice(read: bill.answer(notice))))
    }
    for message in messages { try handle(.consistency(try ConsistencySignature(read: message.value))) }
  }

  private mutating func reveal() throws {
    let messages = try everywhere { node, server, bill in
      guard node.values != nil else { return nil }
      let quorum: Quorum?
      if node.round.drawsNeighbours {
        guard let claim = server.quorumClaim(for: node.id) else { return nil }
        let challenge = try node.round.challenge(try QuorumClaim(read: bill.answer(claim)))
        quorum = try server.quorum(
          try QuorumChallenge(read: bill.request(.quorum, challenge)), for: node.id)
      } else {
        quorum = server.quorum(for: node.id)
      }
      guard let quorum else { return nil }
      let shares = try node.round.reveal(try Quorum(read: bill.answer(quorum)))
      bill.outcome()
      return bill.sealed(.unmask, shares)
    }
    for message in messages { try handle(.unmask(try UnmaskShares(read: message.value))) }
  }

  /// Lets nodes act in parallel on the server's present state; what they send comes in their order. Nil: the
  /// node sends nothing.
  private mutating func everywhere(
    _ which: [Int]? = nil,
    _ act: @Sendable (inout Node, RoundCoordinator, inout FederatedTraffic.Bill) throws -> [UInt8]?
  ) throws -> [(id: VerifyingKey, value: [UInt8])] {
    let (nodes, coordinator, which) = (nodes, coordinator, which ?? Array(nodes.indices))
    let results = try work.map("aggregate", which.count) { position in
      var node = nodes[which[position]]
      var bill = FederatedTraffic.Bill()
      let message = try act(&node, coordinator, &bill)
      return (node: node, bill: bill, message: message)
    }
    var messages: [(id: VerifyingKey, value: [UInt8])] = []
    for (position, result) in zip(which, results) {
      self.nodes[position] = result.node
      if result.node.values != nil { traffic.add(result.bill) }
      if let message = result.message { messages.append((result.node.id, message)) }
    }
    return messages
  }
}

extension WireRepresentable {
  /// Reads what came over the simulated wire.
  fileprivate init(read bytes: [UInt8]) throws { try self.init(wireBytes: bytes, peer: "a simulated peer") }
}
