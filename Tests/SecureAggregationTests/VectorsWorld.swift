import Cryptography

@testable import SecureAggregation

/// What a vector round is made from; everything else follows.
struct VectorPlan: Sendable {
  let label: String
  let suite: KeyStreamSuite
  let graph: NeighbourGraph
  let ringBits: Int
  let dimension: Int
  let minimumCohort: Int
  let minimumSurvivors: Int
  let fates: [Fate]
  let seed: UInt64

  static let completeChaCha20 = [
    VectorPlan(
      label: "drop-out at share", suite: .chacha20, graph: .complete, ringBits: 32, dimension: 5,
      minimumCohort: 4, minimumSurvivors: 3,
      fates: [.stays, .stays, .leavesBeforeSharing, .stays, .stays], seed: 101),
    VectorPlan(
      label: "drop-out at mask", suite: .chacha20, graph: .complete, ringBits: 20, dimension: 5,
      minimumCohort: 5, minimumSurvivors: 3,
      fates: [.stays, .stays, .stays, .leavesBeforeUploading, .stays, .stays], seed: 102),
    VectorPlan(
      label: "drop-out at confirm", suite: .chacha20, graph: .complete, ringBits: 24, dimension: 3,
      minimumCohort: 4, minimumSurvivors: 3,
      fates: [.leavesBeforeConfirming, .stays, .stays, .stays, .stays], seed: 103),
    VectorPlan(
      label: "drop-out at unmask", suite: .chacha20, graph: .complete, ringBits: 16, dimension: 37,
      minimumCohort: 4, minimumSurvivors: 3,
      fates: [.stays, .stays, .stays, .stays, .leavesBeforeRevealing], seed: 104),
  ]

  static let completeAES = [
    VectorPlan(
      label: "drop-out at mask", suite: .aes256CTR, graph: .complete, ringBits: 24, dimension: 7,
      minimumCohort: 4, minimumSurvivors: 3,
      fates: [.stays, .leavesBeforeUploading, .stays, .stays, .stays], seed: 105),
    VectorPlan(
      label: "nobody drops out", suite: .aes256CTR, graph: .complete, ringBits: 16, dimension: 11,
      minimumCohort: 4, minimumSurvivors: 3, fates: [.stays, .stays, .stays, .stays, .stays], seed: 106),
  ]

  /// The seed is one under which four neighbours of everybody stay.
  static let sparseChaCha20 = [
    VectorPlan(
      label: "one drop-out at every step", suite: .chacha20, graph: .sparse(degree: 6, threshold: 4),
      ringBits: 16, dimension: 9, minimumCohort: 10, minimumSurvivors: 8,
      fates: [
        .stays, .stays, .leavesBeforeUploading, .stays, .stays, .leavesBeforeSharing, .stays, .stays,
        .leavesBeforeConfirming, .stays, .leavesBeforeRevealing, .stays,
      ], seed: 137)
  ]

  /// What the session identifier is the hash of: here all that the parties agree on, as text.
  var descriptor: String {
    var (kind, degree, threshold) = ("complete", 0, 0)
    if case .sparse(let k, let t) = graph { (kind, degree, threshold) = ("sparse", k, t) }
    return "label=\(label);suite=\(suite.rawValue);graph=\(kind);degree=\(degree);threshold=\(threshold);"
      + "ring_bits=\(ringBits);dimension=\(dimension);minimum_cohort=\(minimumCohort);"
      + "minimum_survivors=\(minimumSurvivors);corrupt_permille=100"
  }

  func parameters() throws -> AggregationParameters {
    try AggregationParameters(
      sessionID: Hash.blake2b(domain: "accord/secagg/1/vectors", [Array(descriptor.utf8)]),
      dimension: dimension, ringBits: ringBits, minimumCohort: minimumCohort,
      minimumSurvivors: minimumSurvivors, corruptPermille: 100, suite: suite, graph: graph)
  }

  var json: JSON {
    var (kind, degree, threshold) = ("complete", 0, 0)
    if case .sparse(let k, let t) = graph { (kind, degree, threshold) = ("sparse", k, t) }
    return [
      "label": .text(label), "suite": .text(suite.rawValue), "graph": .text(kind), "degree": .int(degree),
      "threshold": .int(threshold), "ring_bits": .int(ringBits), "dimension": .int(dimension),
      "minimum_cohort": .int(minimumCohort), "minimum_survivors": .int(minimumSurvivors),
      "corrupt_permille": 100,
    ]
  }
}

/// All parties of a round. A value: a copy is a snapshot from which it can be continued otherwise.
struct VectorWorld: Sendable {
  let parameters: AggregationParameters
  var clients: [AggregationClient] = []
  var coordinator: AggregationCoordinator
  /// Words below 2^b.
  var inputs: [[UInt32]] = []
  let enrolled: Set<ParticipantID>

  init(_ plan: VectorPlan) throws {
    let parameters = try plan.parameters()
    let identities = Fixture.identities.prefix(plan.fates.count)
    let enrolled = Set(identities.map(\.verifyingKey))
    self.parameters = parameters
    self.enrolled = enrolled
    coordinator = AggregationCoordinator(parameters: parameters, graphPolicy: .unchecked) {
      enrolled.contains($0)
    }
    var random = RandomStream(testSeed: plan.seed)
    for identity in identities {
      clients.append(
        AggregationClient(
          parameters: parameters, identity: identity, random: random.fork(), graphPolicy: .unchecked))
      inputs.append(
        (0..<plan.dimension).map { _ in UInt32(random.uniform(below: 1 << UInt64(plan.ringBits))) })
    }
  }

  /// Hands a message to the participant with that index, or to the server, and returns the answer that the
  /// protocol has for it.
  mutating func deliver(
    _ message: VectorMessage, from sender: Int?, to receiver: Int?, input: [UInt32]? = nil
  ) throws -> VectorMessage? {
    guard let receiver else { return try deliverToServer(message, from: sender) }
    let enrolled = enrolled
    switch message {
    case .roster(let roster):
      return .upload(try clients[receiver].share(roster: roster) { enrolled.contains($0) })
    case .commitment(let commitment):
      return .request(try clients[receiver].draw(commitment) { enrolled.contains($0) })
    case .opening(let opening): return .upload(try clients[receiver].share(opening: opening))
    case .delivery(let delivery):
      return .input(try clients[receiver].mask(input ?? inputs[receiver], delivery: delivery).packed)
    case .notice(let notice): return .confirmation(try clients[receiver].confirm(notice))
    case .claim(let claim): return .choice(try clients[receiver].challenge(claim))
    case .quorum(let quorum): return .reveal(try clients[receiver].reveal(quorum))
    default: throw JSON.Missing(name: "a message to a participant")
    }
  }

  private mutating func deliverToServer(
    _ message: VectorMessage, from sender: Int?
  ) throws -> VectorMessage? {
    switch message {
    case .advertisement(let advertisement): try coordinator.receive(advertisement)
    case .request(let request): return .opening(try coordinator.open(request))
    case .upload(let upload): try coordinator.receive(upload)
    case .input(let bytes):
      guard let sender else { throw JSON.Missing(name: "a sender") }
      var pending = PendingInput(parameters: parameters)
      try pending.append(bytes)
      try coordinator.accept(pending.finish(), from: clients[sender].id)
    case .confirmation(let confirmation): try coordinator.receive(confirmation)
    case .choice(let signers):
      guard let sender else { throw JSON.Missing(name: "a sender") }
      return .quorum(try coordinator.quorum(of: signers, for: clients[sender].id))
    case .reveal(let shares): try coordinator.receive(shares)
    case .close(.advertise): _ = try coordinator.closeAdvertising()
    case .close(.share): try coordinator.closeSharing()
    case .close(.mask): _ = try coordinator.closeInputs()
    case .close(.confirm): _ = try coordinator.closeConsistency()
    case .close(.unmask): _ = try coordinator.finish()
    default: throw JSON.Missing(name: "a message to the server")
    }
    return nil
  }
}
