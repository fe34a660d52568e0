import Cryptography
import Federation
import SecureAggregation
import Testing

/// When a node of a test leaves.
enum Fate: CaseIterable, Sendable {
  case stays, leavesBeforeSharing, leavesBeforeUploading, leavesBeforeConfirming, leavesBeforeRevealing

  var shares: Bool { self != .leavesBeforeSharing }
  var uploads: Bool { shares && self != .leavesBeforeUploading }
  var confirms: Bool { uploads && self != .leavesBeforeConfirming }
  var reveals: Bool { self == .stays }

  static let drops = allCases.filter { $0 != .stays }

  /// `drops` of `n` nodes, chosen by the seed, leave: all with `fate`, or each with one of its own.
  static func pattern(_ n: Int, drops: Int, fate: Fate? = nil, seed: UInt64) -> [Fate] {
    var random = RandomStream(testSeed: seed)
    var fates = [Fate](repeating: .stays, count: n)
    var left = Array(0..<n)
    for _ in 0..<drops {
      let node = left.remove(at: Int(random.uniform(below: UInt64(left.count))))
      fates[node] = fate ?? Fate.drops[Int(random.uniform(below: UInt64(Fate.drops.count)))]
    }
    return fates
  }
}

/// One session in one process: a coordinator, real nodes, a clock that the test moves. Every message goes
/// through its bytes on the wire. It is a value: a copy is a snapshot to continue from.
struct Session {
  let signed: SignedDescriptor
  var coordinator: RoundCoordinator
  var nodes: [NodeRound]
  var now = Fixture.now
  /// Of the nodes, in their order.
  let identities: [SigningKey]
  /// Every debit that was asked for.
  private(set) var debits: [[SegmentDebit]] = []
  private(set) var released: ReleasedSum?
  private(set) var abortReason: String?

  init(
    _ descriptor: RoundDescriptor, nodes count: Int, policy: NodePolicy = Fixture.policy(), seed: UInt64 = 1,
    task: TaskSpecification? = nil, identities: [SigningKey] = Fixture.identities
  ) throws {
    let task = try task ?? Fixture.task()
    signed = SignedDescriptor(descriptor, key: Fixture.serverKey)
    self.identities = Array(identities.prefix(count))
    let keys = Set(self.identities.map(\.verifyingKey))
    coordinator = try RoundCoordinator(signed: signed, expected: keys, enrolled: keys, now: Fixture.now)
    var random = RandomStream(testSeed: seed)
    nodes = []
    for identity in self.identities {
      let received = try SignedDescriptor(
        verifying: signed.bytes, signature: signed.signature, serverKey: Fixture.serverKey.verifyingKey)
      nodes.append(
        try NodeRound(
          signed: received, task: task, policy: policy, identity: identity, random: random.fork()))
    }
  }

  func id(_ node: Int) -> VerifyingKey { identities[node].verifyingKey }

  var everybody: [Int] { Array(nodes.indices) }

  /// Feeds one event and remembers what the host would have to do.
  @discardableResult
  mutating func handle(_ event: RoundCoordinator.Event) throws -> [RoundCoordinator.Action] {
    let actions = try coordinator.handle(event, now: now)
    for action in actions {
      switch action {
      case .debit(let list): debits.append(list)
      case .completed(let sum): released = sum
      case .aborted(let reason): abortReason = reason
      }
    }
    return actions
  }

  /// Lets time pass.
  @discardableResult
  mutating func wait(_ milliseconds: UInt64) throws -> [RoundCoordinator.Action] {
    now += milliseconds
    return try handle(.tick)
  }

  /// Lets the deadline of a step pass if it is still open.
  mutating func endStep(_ phase: RoundCoordinator.Phase) throws {
    guard coordinator.phase == phase else { return }
    let descriptor = signed.descriptor
    try wait(
      UInt64(
        phase == .advertising
          ? descriptor.trainingDeadlineMilliseconds : descriptor.stepDeadlineMilliseconds))
  }

  // MARK: What one node sends

  mutating func advertisement(_ node: Int) throws -> Advertisement {
    try overTheWire(nodes[node].advertise())
  }

  mutating func shareUpload(_ node: Int) throws -> ShareUpload {
    let enrolled = Set(identities.map(\.verifyingKey))
    guard nodes[node].drawsNeighbours else {
      let roster = try overTheWire(#require(coordinator.roster(for: id(node))))
      return try overTheWire(nodes[node].share(roster, enrolled: enrolled))
    }
    let commitment = try overTheWire(#require(coordinator.commitment(for: id(node))))
    let request = try overTheWire(nodes[node].draw(commitment, enrolled: enrolled))
    let opening = try #require(try coordinator.opening(request))
    return try overTheWire(nodes[node].share(overTheWire(opening)))
  }

  mutating func masked(_ node: Int, _ contribution: [Int64]) throws -> MaskedInput {
    let delivery = try overTheWire(#require(coordinator.delivery(for: id(node))))
    return try nodes[node].mask(contribution, delivery: delivery)
  }

  /// The packed bytes as the server receives them, in chunks of an awkward size.
  func complete(_ bytes: [UInt8]) throws -> CompleteInput {
    var pending = try #require(coordinator.pendingInput(for: id(0)))
    for start in stride(from: 0, to: bytes.count, by: 13) {
      try pending.append(bytes[start..<min(start + 13, bytes.count)])
    }
    return try pending.finish()
  }

  mutating func confirmation(_ node: Int) throws -> ConsistencySignature {
    try overTheWire(nodes[node].confirm(overTheWire(#require(coordinator.notice(for: id(node))))))
  }

  mutating func reveal(_ node: Int) throws -> UnmaskShares {
    guard nodes[node].drawsNeighbours else {
      return try overTheWire(
        nodes[node].reveal(overTheWire(#require(coordinator.quorum(for: id(node))))))
    }
    let claim = try overTheWire(#require(coordinator.quorumClaim(for: id(node))))
    let challenge = try overTheWire(nodes[node].challenge(claim))
    let quorum = try overTheWire(try #require(try coordinator.quorum(challenge, for: id(node))))
    return try overTheWire(nodes[node].reveal(quorum))
  }

  // MARK: Whole steps

  mutating func advertise(_ who: [Int]? = nil) throws {
    for node in who ?? everybody { try handle(.advertisement(advertisement(node))) }
    try endStep(.advertising)
  }

  mutating func share(_ who: [Int]? = nil) throws {
    for node in who ?? everybody { try handle(.shares(shareUpload(node))) }
    try endStep(.sharing)
  }

  mutating func upload(_ contributions: [[Int64]], _ who: [Int]? = nil) throws {
    for node in who ?? everybody {
      let packed = try masked(node, contributions[node]).packed
      try handle(.input(complete(packed), from: id(node)))
    }
    try endStep(.collecting)
  }

  mutating func confirm(_ who: [Int]? = nil) throws {
    for node in who ?? everybody { try handle(.consistency(confirmation(node))) }
    try endStep(.confirming)
  }

  mutating func unmask(_ who: [Int]? = nil) throws {
    for node in who ?? everybody { try handle(.unmask(reveal(node))) }
    try endStep(.unmasking)
  }

  /// All steps with the given fates; ends early when the session is aborted.
  mutating func run(
    _ contributions: [[Int64]], fates: [Fate]? = nil,
    debit: ([SegmentDebit]) -> RoundCoordinator.Event = { _ in .debited }
  ) throws {
    let fates = fates ?? nodes.map { _ in .stays }
    func who(_ does: (Fate) -> Bool) -> [Int] { fates.indices.filter { does(fates[$0]) } }
    try advertise()
    if abortReason == nil { try share(who(\.shares)) }
    if abortReason == nil { try handle(debit(debits[debits.count - 1])) }
    if abortReason == nil { try upload(contributions, who(\.uploads)) }
    if abortReason == nil { try confirm(who(\.confirms)) }
    if abortReason == nil { try unmask(who(\.reveals)) }
  }
}
