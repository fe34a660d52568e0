#if DEBUG
  import Cryptography

  @testable import SecureAggregation

  /// Every message that was made so far, for replays and as the raw material of forgeries.
  struct MessagePool: Sendable {
    var advertisements: [Advertisement] = []
    var rosters: [Roster] = []
    var commitments: [RosterCommitment] = []
    var requests: [NeighbourRequest] = []
    var openings: [RosterOpening] = []
    var uploads: [ShareUpload] = []
    var deliveries: [ShareDelivery] = []
    var inputs: [[UInt8]] = []
    var notices: [SurvivorNotice] = []
    var confirmations: [ConsistencySignature] = []
    var quorums: [Quorum] = []
    var claims: [QuorumClaim] = []
    var reveals: [UnmaskShares] = []
  }

  /// Real clients and a real coordinator, with an adversary in between that holds the network and one
  /// client's identity key, as many as the parameters assume to be corrupt. After every action it is
  /// checked that
  /// - a client reveals for each dealer one kind of share only, always the same one, and signs one survivor
  ///   list only;
  /// - a client never masks twice with different bytes;
  /// - two honest clients that reveal do so under the same survivor list (the quorum);
  /// - the sum is the plain sum of the survivors' inputs, unless the adversary got an input of its own, or a
  ///   message of its own in the server's name, accepted;
  /// - honest clients are not blamed for corrupt shares.
  struct AggregationScript: Sendable {
    enum Step: Int, CaseIterable, Comparable, Sendable {
      case advertise, share, mask, confirm, unmask
      static func < (a: Step, b: Step) -> Bool { a.rawValue < b.rawValue }
    }

    /// Far too small to protect anybody; its parameters are not checked.
    static let sparse = NeighbourGraph.sparse(degree: 4, threshold: 3)
    static let dimension = 3
    /// The roster index of the client whose key the adversary holds.
    static let corrupt = 1

    let parameters: AggregationParameters
    var clients: [AggregationClient] = []
    var coordinator: AggregationCoordinator
    var pool = MessagePool()
    /// The clients' inputs, ring values.
    let inputs: [[UInt32]]

    // What was seen, for the checks.
    var masked: [Int: [UInt8]] = [:]
    var confirmed: [Int: (notice: SurvivorNotice, signature: ConsistencySignature)] = [:]
    var revealed: [Int: UnmaskShares] = [:]
    /// Whether something that a client did not make was added to the sum.
    var hasForeignInput = false
    /// Whether a client accepted something that the coordinator did not send to it.
    var hasForeignOrder = false
    /// Who sent shares of the adversary's choice.
    var liars: Set<Int> = []

    init(_ graph: NeighbourGraph) throws {
      let count = graph == .complete ? 5 : 6
      parameters = try AggregationParameters(
        sessionID: FuzzWorld.digest("session"), dimension: Self.dimension, ringBits: 20,
        minimumCohort: count, minimumSurvivors: count - 2, corruptPermille: 200, graph: graph)
      let enrolled = Set(FuzzWorld.identities.prefix(count).map(\.verifyingKey))
      coordinator = AggregationCoordinator(parameters: parameters, graphPolicy: .unchecked) {
        enrolled.contains($0)
      }
      inputs = (0..<count).map { client in (0..<Self.dimension).map { UInt32(1 + client * 100 + $0 * 7) } }
      var random = RandomStream(testSeed: 7)
      for identity in FuzzWorld.identities.prefix(count) {
        clients.append(
          AggregationClient(
            parameters: parameters, identity: identity, random: random.fork(), graphPolicy: .unchecked))
      }
    }

    /// Whether a sum came out.
    var isFinished: Bool { coordinator.result != nil }

    func isEnrolled(_ id: ParticipantID) -> Bool { clients.contains { $0.id == id } }

    func index(of id: ParticipantID) -> Int? { clients.firstIndex { $0.id == id } }

    // MARK: The honest protocol

    /// Everybody but `absent` does its part of a step, and the coordinator closes it.
    mutating func honest(_ step: Step, without absent: Set<Int> = []) throws {
      let present = clients.indices.filter { !absent.contains($0) }
      for index in present { try honest(step, of: index) }
      try close(step)
    }

    mutating func honest(_ step: Step, of index: Int) throws {
      let id = clients[index].id
      switch step {
      case .advertise:
        try advertise(index)
        try coordinator.receive(pool.advertisements.last ?? { throw FuzzFinding("nothing advertised") }())
      case .share: try coordinator.receive(honestUpload(of: index))
      case .mask:
        let delivery = try coordinator.delivery(for: id)
        pool.deliveries.append(delivery)
        try accept(mask(index, delivery), from: index)
      case .confirm:
        guard let notice = coordinator.notice else { return }
        try coordinator.receive(confirm(index, notice))
      case .unmask:
        guard var quorum = coordinator.quorum, let claim = coordinator.quorumClaim else { return }
        if parameters.graph != .complete {
          pool.claims.append(claim)
          quorum = try coordinator.quorum(of: clients[index].challenge(claim), for: id)
        }
        try coordinator.receive(reveal(index, quorum))
      }
    }

    private mutating func honestUpload(of index: Int) throws -> ShareUpload {
      guard let roster = coordinator.roster else { throw FuzzFinding("a step without a roster") }
      guard parameters.graph != .complete, let commitment = coordinator.commitment else {
        return try share(index, roster)
      }
      let request = try draw(index, commitment)
      let opening = try coordinator.open(request)
      pool.openings.append(opening)
      return try share(index, opening)
    }

    mutating func close(_ step: Step) throws {
      switch step {
      case .advertise:
        pool.rosters.append(try coordinator.closeAdvertising())
        if let commitment = coordinator.commitment { pool.commitments.append(commitment) }
      case .share: try coordinator.closeSharing()
      case .mask: pool.notices.append(try coordinator.closeInputs())
      case .confirm: pool.quorums.append(try coordinator.closeConsistency())
      case .unmask: try finish()
      }
    }

    // MARK: Calls that are watched

    mutating func advertise(_ index: Int) throws {
      pool.advertisements.append(try clients[index].advertise())
    }

    mutating func share(_ index: Int, _ roster: Roster) throws -> ShareUpload {
      let upload = try clients[index].share(roster: roster, isEnrolled: isEnrolled)
      if roster != coordinator.roster { hasForeignOrder = true }
      pool.uploads.append(upload)
      return upload
    }

    mutating func draw(_ index: Int, _ commitment: RosterCommitment) throws -> NeighbourRequest {
      let request = try clients[index].draw(commitment, isEnrolled: isEnrolled)
      if commitment != coordinator.commitment { hasForeignOrder = true }
      try expect(
        pool.requests.allSatisfy { $0.id != request.id || $0 == request },
        "a client drew its neighbours twice")
      pool.requests.append(request)
      return request
    }

    mutating func share(_ index: Int, _ opening: RosterOpening) throws -> ShareUpload {
      let upload = try clients[index].share(opening: opening)
      pool.uploads.append(upload)
      return upload
    }

    /// Masks the client's input, or the input of another one (`variant`), which only counts as a retry.
    mutating func mask(_ index: Int, _ delivery: ShareDelivery, variant: Int = 0) throws -> [UInt8] {
      let input = inputs[(index + variant) % inputs.count]
      let packed = try clients[index].mask(input, delivery: delivery).packed
      try expect(masked[index] ?? packed == packed, "client \(index) masked two inputs under the same seeds")
      masked[index] = packed
      if variant != 0 { hasForeignInput = true }
      if (try? coordinator.delivery(for: clients[index].id)) != delivery { hasForeignOrder = true }
      pool.inputs.append(packed)
      return packed
    }

    /// Hands bytes to the coordinator as the input of a client.
    mutating func accept(_ packed: [UInt8], from index: Int) throws {
      var pending = PendingInput(parameters: parameters)
      try pending.append(packed)
      try coordinator.accept(pending.finish(), from: clients[index].id)
      if packed != masked[index] { hasForeignInput = true }
    }

    mutating func confirm(_ index: Int, _ notice: SurvivorNotice) throws -> ConsistencySignature {
      let signature = try clients[index].confirm(notice)
      if let earlier = confirmed[index] {
        try expect(
          earlier.notice == notice && earlier.signature == signature,
          "client \(index) signed two survivor lists")
      }
      confirmed[index] = (notice, signature)
      pool.confirmations.append(signature)
      return signature
    }

    mutating func reveal(_ index: Int, _ quorum: Quorum) throws -> UnmaskShares {
      let message = try clients[index].reveal(quorum)
      try expect(revealed[index] ?? message == message, "client \(index) revealed two sets of shares")
      let seeds = Set(message.seedShares.map(\.index))
      try expect(
        seeds.isDisjoint(with: message.maskKeyShares.map(\.index)),
        "client \(index) revealed both of a dealer")
      revealed[index] = message
      pool.reveals.append(message)
      let lists = revealed.keys.filter { $0 != Self.corrupt }.map { confirmed[$0]?.notice }
      try expect(
        lists.allSatisfy { $0 != nil && $0 == lists.first }, "honest clients revealed under different lists")
      return message
    }

    mutating func receive(_ message: UnmaskShares) throws {
      try coordinator.receive(message)
      if let index = index(of: message.id), message != revealed[index] { liars.insert(index) }
    }

    mutating func finish() throws {
      let result = try coordinator.finish()
      let again = try coordinator.finish()
      try expect(again == result, "a session has two results")
      for fault in result.faults {
        let suspects = [fault.dealer, fault.holder].compactMap(index)
        try expect(!liars.isDisjoint(with: suspects), "two honest clients are blamed for a corrupt share")
      }
      let survivors = result.survivors.compactMap(index)
      guard !hasForeignInput, !hasForeignOrder else { return }
      try expect(survivors.allSatisfy { masked[$0] != nil }, "a survivor never masked an input")
      let sum = (0..<Self.dimension).map { coordinate in
        survivors.reduce(UInt32(0)) { $0 + inputs[$1][coordinate] }
      }
      try expect(result.sum == sum, "the sum of \(survivors) is wrong")
    }
  }
#endif
