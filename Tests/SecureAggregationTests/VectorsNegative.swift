import Cryptography

@testable import SecureAggregation

/// Messages that a party must refuse, in place of those of a recorded round.
struct VectorNegative: Sendable {
  struct Event: Sendable {
    let message: VectorMessage
    let sender: Int?
    let receiver: Int?
    /// Another input than that of the round, in the words of the ring.
    var input: [UInt32]?
  }

  let name: String
  let comment: String
  let base: VectorBase
  /// How many messages of the round are delivered before.
  let after: Int
  /// All but the last are accepted.
  let events: [Event]
  let error: AggregationError

  var json: JSON {
    let messages = events.map { event in
      VectorEvent.json(event.message, from: event.sender, to: event.receiver)
        + (event.input.map { ["input": .ints($0)] } ?? [:])
    }
    return [
      "name": .text(name), "comment": .text(comment), "file": .text(base.file), "round": .int(base.number),
      "after": .int(after), "messages": .list(messages), "error": error.vector,
    ]
  }
}

extension AggregationError {
  /// The name of the case, and whom and what it names.
  var vector: JSON {
    var json: [(String, JSON)] = [("case", .text(caseName))]
    for child in Mirror(reflecting: self).children {
      let payload = Mirror(reflecting: child.value)
      let values = payload.displayStyle == .tuple ? payload.children.map(\.value) : [child.value]
      for value in values {
        switch value {
        case let id as ParticipantID: json.append(("participant", .hex(id)))
        case let step as AggregationStep: json.append(("step", .text(step.rawValue)))
        case let defect as Defect: json.append(("defect", .text("\(defect)")))
        default: break
        }
      }
    }
    return .object(json)
  }

  private var caseName: String {
    switch self {
    case .graphMismatch: "graphMismatch"
    case .rosterRootMismatch: "rosterRootMismatch"
    case .ownAdvertisementMissing: "ownAdvertisementMissing"
    case .ownAdvertisementSubstituted: "ownAdvertisementSubstituted"
    case .sharersChanged: "sharersChanged"
    case .nonZeroPadding: "nonZeroPadding"
    case .quorumNotCommitted: "quorumNotCommitted"
    case .aborted: "aborted"
    case .invalidBound: "invalidBound"
    default: Mirror(reflecting: self).children.first?.label ?? ""
    }
  }
}

/// A recorded round to depart from.
struct VectorBase: Sendable {
  let file: String
  let number: Int
  let round: VectorRound

  struct Unsuitable: Error {}

  static func complete(_ number: Int) throws -> VectorBase {
    VectorBase(
      file: "round-complete-chacha20.json", number: number,
      round: try VectorRound(VectorPlan.completeChaCha20[number]))
  }

  static func sparse() throws -> VectorBase {
    VectorBase(
      file: "round-sparse-chacha20.json", number: 0, round: try VectorRound(VectorPlan.sparseChaCha20[0]))
  }

  func id(_ index: Int) -> ParticipantID { Fixture.identities[index].verifyingKey }

  /// The position of the first message of a kind between two parties.
  func position(_ kind: String, from sender: Int?, to receiver: Int?) throws -> Int {
    let position = round.events.firstIndex {
      $0.message.kind == kind && $0.sender == sender && $0.receiver == receiver
    }
    guard let position else { throw Unsuitable() }
    return position
  }

  func position(closing step: AggregationStep) throws -> Int {
    let position = round.events.firstIndex { event in
      if case .close(step) = event.message { return true }
      return false
    }
    guard let position else { throw Unsuitable() }
    return position
  }

  /// The round's message of a kind, changed. `again`: sent after the right one.
  func change(
    _ name: String, _ comment: String, _ kind: String, from sender: Int? = nil, to receiver: Int? = nil,
    again: Bool = false, input: [UInt32]? = nil, _ error: AggregationError,
    _ change: (VectorMessage, VectorWorld) throws -> VectorMessage?
  ) throws -> VectorNegative {
    let position = try position(kind, from: sender, to: receiver)
    let event = round.events[position]
    guard let message = try change(event.message, event.before) else { throw Unsuitable() }
    return VectorNegative(
      name: name, comment: comment, base: self, after: again ? position + 1 : position,
      events: [.init(message: message, sender: sender, receiver: receiver, input: input)], error: error)
  }

  func advertisement(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout Advertisement) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "advertisement", from: 1, again: again, error) { message, _ in
      guard case .advertisement(var advertisement) = message else { return nil }
      try body(&advertisement)
      return .advertisement(advertisement)
    }
  }

  /// A roster whose root fits its changed members.
  func roster(
    _ name: String, _ comment: String, _ error: AggregationError, _ body: (inout Roster) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "roster", to: 0, error) { message, world in
      guard case .roster(var roster) = message else { return nil }
      try body(&roster)
      roster.root = Roster.root(of: roster.members, sid: world.parameters.sessionID)
      return .roster(roster)
    }
  }

  func upload(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout ShareUpload) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "share_upload", from: 1, again: again, error) { message, world in
      guard case .upload(var upload) = message else { return nil }
      try body(&upload)
      return .upload(upload)
    }
  }

  func delivery(
    _ name: String, _ comment: String, to receiver: Int = 0, input: [UInt32]? = nil,
    _ error: AggregationError, _ body: (inout ShareDelivery, VectorWorld) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "share_delivery", to: receiver, input: input, error) { message, world in
      guard case .delivery(var delivery) = message else { return nil }
      try body(&delivery, world)
      return .delivery(delivery)
    }
  }

  func input(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout [UInt8]) -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "masked_input", from: 0, again: again, error) { message, _ in
      guard case .input(var bytes) = message else { return nil }
      body(&bytes)
      return .input(bytes)
    }
  }

  func notice(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout SurvivorNotice) -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "survivor_notice", to: 0, again: again, error) { message, _ in
      guard case .notice(var notice) = message else { return nil }
      body(&notice)
      return .notice(notice)
    }
  }

  func quorum(
    _ name: String, _ comment: String, _ error: AggregationError,
    _ body: (inout Quorum, VectorWorld) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "quorum", to: 0, error) { message, world in
      guard case .quorum(var quorum) = message else { return nil }
      try body(&quorum, world)
      return .quorum(quorum)
    }
  }

  func reveal(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout UnmaskShares) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "unmask_shares", from: 0, again: again, error) { message, _ in
      guard case .reveal(var reveal) = message else { return nil }
      try body(&reveal)
      return .reveal(reveal)
    }
  }

  func opening(
    _ name: String, _ comment: String, _ error: AggregationError,
    _ body: (inout RosterOpening, VectorWorld) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "roster_opening", to: 0, error) { message, world in
      guard case .opening(var opening) = message else { return nil }
      try body(&opening, world)
      return .opening(opening)
    }
  }

  func commitment(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout RosterCommitment) throws -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "roster_commitment", to: 0, again: again, error) { message, _ in
      guard case .commitment(var commitment) = message else { return nil }
      try body(&commitment)
      return .commitment(commitment)
    }
  }

  func request(
    _ name: String, _ comment: String, _ error: AggregationError, _ body: (inout NeighbourRequest) -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "neighbour_request", from: 0, error) { message, _ in
      guard case .request(var request) = message else { return nil }
      body(&request)
      return .request(request)
    }
  }

  func claim(
    _ name: String, _ comment: String, again: Bool = false, _ error: AggregationError,
    _ body: (inout QuorumClaim) -> Void
  ) throws -> VectorNegative {
    try change(name, comment, "quorum_claim", to: 0, again: again, error) { message, _ in
      guard case .claim(var claim) = message else { return nil }
      body(&claim)
      return .claim(claim)
    }
  }

  /// The advertisement signed again after a change by its own sender.
  func signed(_ message: Advertisement, by index: Int) -> Advertisement {
    var message = message
    message.signature = Fixture.identities[index].sign(
      Advertisement.signedBytes(
        sid: round.world.parameters.sessionID, id: message.id, shareKey: message.shareKey,
        maskKey: message.maskKey, seedCommitment: message.seedCommitment))
    return message
  }
}
