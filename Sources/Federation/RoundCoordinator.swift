package import Cryptography
package import Privacy
package import SecureAggregation

/// What a session costs one population; the host writes it down before any upload is asked for.
package struct SegmentDebit: Sendable, Equatable {
  /// Which segment it pays for.
  package let segment: SegmentName
  /// Whose budget.
  package let population: Population
  /// What it is charged with.
  package let event: PrivacyEvent
}

/// The noised sum of a session. It exists only after the session's budget was debited: the one place
/// that makes it is the coordinator's last step, which is reached through `.debited` alone.
package struct ReleasedSum: Sendable {
  /// The sum in the ring and who is part of it.
  package let result: AggregationResult
  /// What the session agreed on.
  package let descriptor: RoundDescriptor
  /// sid.
  package let sessionID: Digest

  fileprivate init(result: AggregationResult, signed: SignedDescriptor) {
    self.result = result
    descriptor = signed.descriptor
    sessionID = signed.sessionID
  }

  /// The centred integer sums of one segment.
  package func integers(of name: SegmentName) -> [Int64]? {
    var offset = 0
    for segment in descriptor.segments {
      if segment.name == name {
        return Array(result.centredSum[offset..<offset + segment.length])
      }
      offset += segment.length
    }
    return nil
  }

  /// The sums of one segment in its own units.
  package func values(of name: SegmentName) -> [Double]? {
    guard let segment = descriptor.segments.first(where: { $0.name == name }),
      let integers = integers(of: name)
    else { return nil }
    return integers.map { Double($0) / segment.scale }
  }
}

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
  /// Answer to step 1, once there is one.
  package private(set) var roster: Roster?
  /// Answers to step 2. Empty until the debits are on disk: nobody can be asked for an upload before.
  package private(set) var deliveries: [VerifyingKey: ShareDelivery] = [:]
  /// Answer to step 3.
  package private(set) var notice: SurvivorNotice?
  /// Answer to step 4.
  package private(set) var quorum: Quorum?
  /// The result, once completed.
  package private(set) var released: ReleasedSum?

  private var aggregation: AggregationCoordinator
  /// Answers to step 2 that wait for the debit.
  private var undebited: [VerifyingKey: ShareDelivery] = [:]
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
    let parameters = try signed.descriptor.aggregationParameters(sessionID: signed.sessionID)
    aggregation = AggregationCoordinator(
      parameters: parameters, isEnrolled: { enrolled.contains($0) })
    deadline = now + UInt64(signed.descriptor.trainingDeadlineMilliseconds)
  }

  /// The nodes that the current step still waits for.
  package var awaited: [VerifyingKey] {
    switch phase {
    case .advertising:
      expected.subtracting(advertised).sorted()
    case .sharing, .collecting, .confirming, .unmasking: aggregation.pending
    case .debiting, .completed, .aborted: []
    }
  }

  /// A fresh receiver of one node's masked input, of O(d) memory.
  package func pendingInput() -> PendingInput { PendingInput(parameters: aggregation.parameters) }

  /// Handles one event. A throw means that the message was refused and nothing changed.
  package mutating func handle(_ event: Event, now: UInt64) throws(FederationError) -> [Action] {
    switch event {
    case .advertisement(let message):
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
      guard phase == .debiting else {
        throw .outOfOrder(step: "recording the debit", state: phase.description)
      }
      deliveries = undebited
      undebited = [:]
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
    do { try body(&aggregation) } catch {
      throw .component(name: peer.peerName, reason: "\(error)")
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
        guard isOver || awaited.isEmpty else { return [] }
        roster = try aggregation.closeAdvertising()
        enter(.sharing, now: now)
      case .sharing:
        guard isOver || awaited.isEmpty else { return [] }
        undebited = try aggregation.closeSharing()
        enter(.debiting, now: now)
        return [.debit(try debits())]
      case .debiting, .completed, .aborted: break
      case .collecting:
        guard isOver || awaited.isEmpty else { return [] }
        notice = try aggregation.closeInputs()
        enter(.confirming, now: now)
      case .confirming:
        guard isOver || awaited.isEmpty else { return [] }
        quorum = try aggregation.closeConsistency()
        enter(.unmasking, now: now)
      case .unmasking:
        guard isOver || awaited.isEmpty else { return [] }
        return try finish()
      }
    } catch {
      return abort("\(error)")
    }
    return []
  }

  private mutating func finish() throws -> [Action] {
    let sum = ReleasedSum(result: try aggregation.finish(), signed: signed)
    try checkRange(sum)
    released = sum
    phase = .completed
    return [.completed(sum)]
  }

  /// A wrong recovery would leave uniform ring elements: the sum must lie within what the contributions
  /// and the noise can reach. A uniform coordinate passes as often as that bound fills the ring (half of it
  /// or so when the plan uses a ring to the full), so a whole vector of d passes with about 2^-d.
  private func checkRange(_ sum: ReleasedSum) throws(FederationError) {
    let descriptor = sum.descriptor
    for segment in descriptor.segments {
      let clip = try segment.integerClip()
      let people = Double(sum.result.survivors.count) * Double(descriptor.maximumContributors)
      let share = try segment.noiseShare(
        cohort: sum.result.cohort.count, minimumSurvivors: descriptor.minimumSurvivors,
        corruptPermille: descriptor.corruptPermille)
      let noise = 40 * (share * Double(sum.result.survivors.count)).squareRoot() + 40
      let bound = Double(clip.maximumAbsoluteCoordinate) * people + noise
      for value in sum.integers(of: segment.name) ?? [] where Double(value.magnitude) > bound {
        throw .component(
          name: "unmasking",
          reason: "the sum of segment \(segment.name.rawValue) is outside its possible range")
      }
    }
  }

  private func debits() throws(FederationError) -> [SegmentDebit] {
    var debits: [SegmentDebit] = []
    for segment in signed.descriptor.segments {
      debits.append(
        SegmentDebit(
          segment: segment.name, population: segment.population, event: try segment.privacyEvent()))
    }
    return debits
  }

  private mutating func abort(_ reason: String) -> [Action] {
    switch phase {
    case .completed, .aborted: return []
    default:
      phase = .aborted(reason)
      undebited = [:]
      return [.aborted(reason)]
    }
  }

  private mutating func enter(_ next: Phase, now: UInt64) {
    phase = next
    deadline = now + UInt64(signed.descriptor.stepDeadlineMilliseconds)
  }
}
