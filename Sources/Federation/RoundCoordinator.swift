package import Cryptography
package import SecureAggregation

/// One session on the server as a pure state machine: messages and the time come in, actions go out.
/// The host does the waiting, the storage and the network; the simulator can drive it as well.
package struct RoundCoordinator: Sendable {
  /// Where the session stands.
  package enum Phase: Sendable, Equatable, CustomStringConvertible {
    case advertising, sharing, debiting, collecting, confirming, unmasking, completed
    case aborted(String)

    package var description: String {
      switch self {
      case .advertising: "advertising"
      case .sharing: "sharing"
      case .debiting: "debiting"
      case .collecting: "collecting"
      case .confirming: "confirming"
      case .unmasking: "unmasking"
      case .completed: "completed"
      case .aborted(let reason): "aborted: \(reason)"
      }
    }
  }

  /// What can happen to a session.
  package enum Event: Sendable {
    case advertisement(Advertisement)
    case shares(ShareUpload)
    case input(CompleteInput, from: VerifyingKey)
    case consistency(ConsistencySignature)
    case unmask(UnmaskShares)
    /// The debits that were asked for are on disk.
    case debited
    /// The debits were refused or could not be written.
    case debitFailed(String)
    /// Time has passed.
    case tick
  }

  /// What the host must do.
  package enum Action: Sendable {
    /// Write these debits durably, then report `.debited`.
    case debit([SegmentDebit])
    /// The sum is released.
    case completed(ReleasedSum)
    /// The session is over without a result.
    case aborted(String)
  }

  /// The session's descriptor.
  package let signed: SignedDescriptor
  /// Where the session stands.
  package private(set) var phase: Phase = .advertising
  /// Whether answers to step 2 may go out: the debits are on disk. Nobody can be asked for an upload
  /// before.
  package var isDebited: Bool { debited != nil }
  private var pending: PendingDebits?
  private var debited: DebitedSession?
  /// The result, once completed.
  package private(set) var released: ReleasedSum?

  /// One aggregation for each group; a group that was lost has none.
  private var groups: [Int: AggregationCoordinator] = [:]
  /// Why a group was lost while others went on.
  private var lost: [Int: String] = [:]
  private let expected: Set<VerifyingKey>
  private var advertised: Set<VerifyingKey> = []
  private var deadline: UInt64

  /// Starts a session. `expected` are the nodes that are known to be waiting: when all of them have
  /// advertised, the first step closes early. Times are milliseconds of one clock.
  package init(
    signed: SignedDescriptor, expected: Set<VerifyingKey>, enrolled: Set<VerifyingKey>, now: UInt64
  ) throws(FederationError) {
    self.signed = signed
    self.expected = expected
    for group in 0..<signed.descriptor.groups {
      let parameters = try signed.descriptor.aggregationParameters(
        sessionID: signed.sessionID, group: group)
      groups[group] = AggregationCoordinator(parameters: parameters) { enrolled.contains($0) }
    }
    deadline = now + UInt64(signed.descriptor.trainingDeadlineMilliseconds)
  }

  // MARK: Answers to one node

  private func group(of id: VerifyingKey) -> Int {
    (try? signed.descriptor.group(of: id, sessionID: signed.sessionID)) ?? 0
  }

  private func aggregation(of id: VerifyingKey) -> AggregationCoordinator? { groups[group(of: id)] }

  /// Why the node's group was lost although the session goes on, or nil.
  package func loss(for id: VerifyingKey) -> String? { lost[group(of: id)] }

  /// Answer to step 1 on the complete graph, once there is one.
  package func roster(for id: VerifyingKey) -> Roster? { aggregation(of: id)?.roster }

  /// Answer to step 1 on the sparse graph, once there is one.
  package func commitment(for id: VerifyingKey) -> RosterCommitment? { aggregation(of: id)?.commitment }

  /// Answer to a node that drew its neighbours.
  package func opening(_ request: NeighbourRequest) throws(FederationError) -> RosterOpening? {
    guard let aggregation = aggregation(of: request.id) else { return nil }
    do { return try aggregation.open(request) } catch {
      throw .component(name: request.id.peerName, reason: "\(error)")
    }
  }

  /// Answer to step 2, once the cost is on disk.
  package func delivery(for id: VerifyingKey) -> ShareDelivery? {
    guard isDebited else { return nil }
    return try? aggregation(of: id)?.delivery(for: id)
  }

  /// Answer to step 3.
  package func notice(for id: VerifyingKey) -> SurvivorNotice? { aggregation(of: id)?.notice }

  /// Answer to step 4 on the complete graph.
  package func quorum(for id: VerifyingKey) -> Quorum? { aggregation(of: id)?.quorum }

  /// Answer to step 4 on the sparse graph.
  package func quorumClaim(for id: VerifyingKey) -> QuorumClaim? { aggregation(of: id)?.quorumClaim }

  /// Answer to a node that chose signers.
  package func quorum(
    _ challenge: QuorumChallenge, for id: VerifyingKey
  ) throws(FederationError) -> Quorum? {
    guard let aggregation = aggregation(of: id) else { return nil }
    do { return try aggregation.quorum(of: challenge.signers, for: id) } catch {
      throw .component(name: id.peerName, reason: "\(error)")
    }
  }

  /// Nodes in the rosters so far.
  package var cohortCount: Int { groups.values.reduce(0) { $0 + ($1.roster?.members.count ?? 0) } }

  /// The nodes that the current step still waits for.
  package var awaited: [VerifyingKey] {
    switch phase {
    case .advertising:
      expected.subtracting(advertised).sorted()
    case .sharing, .collecting, .confirming, .unmasking: groups.values.flatMap(\.pending).sorted()
    case .debiting, .completed, .aborted: []
    }
  }

  /// Whether `awaited` is empty, without the cost of listing it: it is asked after every message.
  private var awaitsNobody: Bool {
    switch phase {
    case .advertising: advertised.count >= expected.count && expected.isSubset(of: advertised)
    case .sharing, .collecting, .confirming, .unmasking: groups.values.allSatisfy { $0.pendingCount == 0 }
    case .debiting, .completed, .aborted: true
    }
  }

  /// A fresh receiver of one node's masked input, of O(d) memory.
  package func pendingInput(for id: VerifyingKey) -> PendingInput? {
    aggregation(of: id).map { PendingInput(parameters: $0.parameters) }
  }

  /// Handles one event. A throw means that the message was refused and nothing changed.
  package mutating func handle(_ event: Event, now: UInt64) throws(FederationError) -> [Action] {
    switch event {
    case .advertisement(let message):
      // A sparse graph is planned for those who waited: many more would make it too weak for all.
      if signed.descriptor.graph != .complete, phase == .advertising, !expected.contains(message.id) {
        throw .outOfOrder(
          step: "joining (\(message.id.peerName))",
          state: "the session was planned for the nodes that waited; wait for the next one")
      }
      try accept(peer: message.id, in: .advertising) { (c) in try c.receive(message) }
      advertised.insert(message.id)
    case .shares(let message):
      try accept(peer: message.id, in: .sharing) { (c) in try c.receive(message) }
    case .input(let input, let id):
      try accept(peer: id, in: .collecting) { (c) in try c.accept(input, from: id) }
    case .consistency(let message):
      try accept(peer: message.id, in: .confirming) { (c) in try c.receive(message) }
    case .unmask(let message):
      try accept(peer: message.id, in: .unmasking) { (c) in try c.receive(message) }
    case .debited:
      guard phase == .debiting, let pending else {
        throw .outOfOrder(step: "recording the debit", state: phase.description)
      }
      debited = pending.confirmed()
      enter(.collecting, now: now)
      return []
    case .debitFailed(let reason):
      return abort(reason)
    case .tick: break
    }
    return advance(now: now)
  }

  private mutating func accept(
    peer: VerifyingKey, in step: Phase,
    _ body: (inout AggregationCoordinator) throws -> Void
  ) throws(FederationError) {
    guard phase == step || isRepeat(step) else {
      throw .outOfOrder(step: "the \(step) step of \(peer.peerName)", state: "the session is \(phase)")
    }
    let group = group(of: peer)
    guard var aggregation = groups.removeValue(forKey: group) else {
      throw .component(
        name: peer.peerName, reason: "its group was lost: \(lost[group] ?? "it does not exist")")
    }
    // Taken out while it is changed, so that no copy of its vector is made.
    defer { groups[group] = aggregation }
    do { try body(&aggregation) } catch {
      throw .component(name: peer.peerName, reason: "\(error)")
    }
  }

  /// Closes a step in every group. A group that cannot go on is lost; the session is when none is left.
  private mutating func close(_ body: (inout AggregationCoordinator) throws -> Void) throws {
    for group in groups.keys.sorted() {
      guard var aggregation = groups.removeValue(forKey: group) else { continue }
      do {
        try body(&aggregation)
        groups[group] = aggregation
      } catch {
        guard !groups.isEmpty || lost.count + 1 < signed.descriptor.groups else { throw error }
        lost[group] = "\(error)"
      }
    }
    guard !groups.isEmpty else {
      throw FederationError.component(
        name: "the session", reason: lost.sorted { $0.key < $1.key }.first?.value ?? "no group is left")
    }
  }

  /// A message of a step that is over may be a retry whose answer was lost; the aggregation accepts it
  /// only if it is identical to the first one.
  private func isRepeat(_ step: Phase) -> Bool {
    func order(_ phase: Phase) -> Int {
      switch phase {
      case .advertising: 0
      case .sharing: 1
      case .debiting: 2
      case .collecting: 3
      case .confirming: 4
      case .unmasking: 5
      case .completed: 6
      case .aborted: -1
      }
    }
    return order(phase) > order(step)
  }

  private mutating func advance(now: UInt64) -> [Action] {
    let isOver = now >= deadline
    do {
      switch phase {
      case .advertising:
        guard isOver || awaitsNobody else { return [] }
        try close { _ = try $0.closeAdvertising() }
        enter(.sharing, now: now)
      case .sharing:
        guard isOver || awaitsNobody else { return [] }
        try close { try $0.closeSharing() }
        enter(.debiting, now: now)
        let debits = try PendingDebits(of: signed.descriptor)
        pending = debits
        return [.debit(debits.list)]
      case .debiting, .completed, .aborted: break
      case .collecting:
        guard isOver || awaitsNobody else { return [] }
        try close { _ = try $0.closeInputs() }
        enter(.confirming, now: now)
      case .confirming:
        guard isOver || awaitsNobody else { return [] }
        try close { _ = try $0.closeConsistency() }
        enter(.unmasking, now: now)
      case .unmasking:
        guard isOver || awaitsNobody else { return [] }
        return try finish()
      }
    } catch {
      return abort("\(error)")
    }
    return []
  }

  private mutating func finish() throws -> [Action] {
    var releases: [GroupRelease] = []
    let descriptor = signed.descriptor
    try close { try ReleasedSum.checkRange(try $0.finish(), descriptor: descriptor) }
    for (group, aggregation) in groups.sorted(by: { $0.key < $1.key }) {
      if let result = aggregation.result { releases.append(GroupRelease(group: group, result: result)) }
    }
    guard let debited else {
      throw FederationError.outOfOrder(step: "releasing a sum", state: "its cost is not debited")
    }
    let sum = ReleasedSum(groups: releases, signed: signed, after: debited)
    released = sum
    phase = .completed
    return [.completed(sum)]
  }

  private mutating func abort(_ reason: String) -> [Action] {
    switch phase {
    case .completed, .aborted: return []
    default:
      phase = .aborted(reason)
      return [.aborted(reason)]
    }
  }

  private mutating func enter(_ next: Phase, now: UInt64) {
    phase = next
    deadline = now + UInt64(signed.descriptor.stepDeadlineMilliseconds)
  }
}
