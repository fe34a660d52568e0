import Cryptography

@testable import SecureAggregation

/// When a participant of a test leaves.
enum Fate: CaseIterable, Sendable {
  case stays, leavesBeforeSharing, leavesBeforeUploading, leavesBeforeConfirming, leavesBeforeRevealing

  var shares: Bool { self != .leavesBeforeSharing }
  var uploads: Bool { shares && self != .leavesBeforeUploading }
  var confirms: Bool { uploads && self != .leavesBeforeConfirming }
  var reveals: Bool { self == .stays }
}

enum Fixture {
  /// Identities sorted by public key, so that position and roster index agree.
  static let identities: [SigningKey] = {
    var random = RandomStream(testSeed: 1)
    return (0..<200).map { _ in SigningKey(using: &random) }.sorted { $0.verifyingKey < $1.verifyingKey }
  }()

  static let enrolled = Set(identities.map(\.verifyingKey))

  static func parameters(
    sid: String = "session", dimension: Int = 5, ringBits: Int = 20, minimumCohort: Int = 2,
    minimumSurvivors: Int = 2, corruptPermille: Int = 100, suite: KeyStreamSuite = .chacha20,
    graph: NeighbourGraph = .complete
  ) throws -> AggregationParameters {
    try AggregationParameters(
      sessionID: Hash.blake2b(Array(sid.utf8)), dimension: dimension, ringBits: ringBits,
      minimumCohort: minimumCohort, minimumSurvivors: minimumSurvivors, corruptPermille: corruptPermille,
      suite: suite, graph: graph)
  }

  /// A sparse graph that is far too small to protect anybody, for tests of the messages.
  static let smallGraph = NeighbourGraph.sparse(degree: 8, threshold: 5)

  static func isEnrolled(_ id: ParticipantID) -> Bool { enrolled.contains(id) }
}

/// A cohort of real clients and a real coordinator, driven step by step. Everything is a value: a copy is
/// a snapshot from which several continuations can be tried.
struct Session {
  let parameters: AggregationParameters
  /// In roster order.
  var clients: [AggregationClient] = []
  var coordinator: AggregationCoordinator
  var roster: Roster
  var deliveries: [ParticipantID: ShareDelivery] = [:]
  var inputs: [[Int64]] = []

  /// Advertises everybody and closes the roster.
  init(_ n: Int, parameters: AggregationParameters, seed: UInt64 = 7) throws {
    self.parameters = parameters
    coordinator = AggregationCoordinator(
      parameters: parameters, graphPolicy: .unchecked, isEnrolled: Fixture.isEnrolled)
    var random = RandomStream(testSeed: seed)
    let bound = (Int64(1) << (parameters.ringBits - 1)) / Int64(n) - 1
    for index in 0..<n {
      var client = AggregationClient(
        parameters: parameters, identity: Fixture.identities[index], random: random.fork(),
        graphPolicy: .unchecked)
      try coordinator.receive(client.advertise())
      clients.append(client)
      inputs.append(
        (0..<parameters.dimension).map { _ in
          Int64(random.uniform(below: UInt64(2 * bound + 1))) - bound
        })
    }
    roster = try coordinator.closeAdvertising()
  }

  init(_ n: Int, seed: UInt64 = 7) throws {
    try self.init(n, parameters: Fixture.parameters(), seed: seed)
  }

  var everybody: [Int] { Array(clients.indices) }

  func commitment() throws -> RosterCommitment {
    try coordinator.commitment ?? { throw AggregationError.wrongStep(called: .share, current: .advertise) }()
  }

  mutating func upload(of index: Int) throws -> ShareUpload {
    guard parameters.graph != .complete else {
      return try clients[index].share(roster: roster, isEnrolled: Fixture.isEnrolled)
    }
    let request = try clients[index].draw(commitment(), isEnrolled: Fixture.isEnrolled)
    return try clients[index].share(opening: coordinator.open(request))
  }

  mutating func share(_ who: [Int]? = nil) throws {
    for index in who ?? everybody { try coordinator.receive(upload(of: index)) }
    try closeSharing()
  }

  mutating func closeSharing() throws {
    try coordinator.closeSharing()
    for index in coordinator.sharers {
      deliveries[clients[index].id] = try coordinator.delivery(for: clients[index].id)
    }
  }

  func delivery(for index: Int) throws -> ShareDelivery {
    try deliveries[clients[index].id] ?? { throw AggregationError.ownEntryMissing(.share) }()
  }

  func ring(_ index: Int) throws -> [UInt32] {
    try RingVector(centred: inputs[index], ringBits: parameters.ringBits).words
  }

  mutating func masked(_ index: Int) throws -> MaskedInput {
    try clients[index].mask(ring(index), delivery: delivery(for: index))
  }

  func complete(_ bytes: [UInt8]) throws -> CompleteInput {
    var pending = PendingInput(parameters: parameters)
    for start in stride(from: 0, to: bytes.count, by: 7_001) {
      try pending.append(bytes[start..<min(start + 7_001, bytes.count)])
    }
    return try pending.finish()
  }

  mutating func upload(_ who: [Int]? = nil) throws -> SurvivorNotice {
    for index in who ?? everybody {
      try coordinator.accept(complete(masked(index).packed), from: clients[index].id)
    }
    return try coordinator.closeInputs()
  }

  mutating func confirm(_ notice: SurvivorNotice, _ who: [Int]? = nil) throws -> Quorum {
    for index in who ?? notice.uploaded { try coordinator.receive(clients[index].confirm(notice)) }
    return try coordinator.closeConsistency()
  }

  mutating func reveal(_ quorum: Quorum, _ who: [Int]) throws {
    for index in who {
      guard parameters.graph != .complete, let claim = coordinator.quorumClaim else {
        try coordinator.receive(clients[index].reveal(quorum))
        continue
      }
      let chosen = try clients[index].challenge(claim)
      try coordinator.receive(
        clients[index].reveal(coordinator.quorum(of: chosen, for: clients[index].id)))
    }
  }

  /// The plain integer sum of the inputs of the given participants.
  func plainSum(_ who: [Int]) -> [Int64] {
    (0..<parameters.dimension).map { coordinate in who.reduce(0) { $0 + inputs[$1][coordinate] } }
  }

  /// Runs all steps with the given fates.
  mutating func run(_ fates: [Fate]) throws -> AggregationResult {
    func who(_ does: (Fate) -> Bool) -> [Int] { fates.indices.filter { does(fates[$0]) } }
    try share(who(\.shares))
    let notice = try upload(who(\.uploads))
    let quorum = try confirm(notice, who(\.confirms))
    try reveal(quorum, who(\.reveals))
    return try coordinator.finish()
  }
}

/// Everything that a hostile dealer may do with the shares that it seals.
extension Session {
  /// The upload of `index` with other plaintexts, correctly sealed and signed.
  mutating func tamperedUpload(
    of index: Int, _ change: (_ recipient: Int, _ plain: [UInt8]) -> [UInt8]
  ) throws -> ShareUpload {
    var upload = try upload(of: index)
    let client = clients[index]
    guard case .shared(_, let sharing) = client.state else { return upload }
    var random = RandomStream(testSeed: 99)
    for position in upload.shares.indices {
      let recipient = upload.shares[position].recipient
      guard let key = sharing.peers[recipient]?.shareKey else { continue }
      let data = client.schedule.shareAdditionalData(
        root: roster.root, sender: client.id, recipient: clients[recipient].id)
      let plain = try AEAD.open(upload.shares[position].ciphertext, key: key, additionalData: data)
      upload.shares[position].ciphertext = AEAD.seal(
        change(recipient, plain), key: key, additionalData: data, using: &random)
    }
    let bundle = ShareUpload.bundleDigest(of: upload.shares)
    upload.signature = client.identity.sign(
      ShareUpload.signedBytes(
        sid: parameters.sessionID, root: roster.root, id: client.id, bundle: bundle))
    clients[index].state = .shared(
      try secrets(of: client),
      AggregationClient.Sharing(
        cohort: sharing.cohort, bundleDigest: bundle, peers: sharing.peers, own: sharing.own))
    return upload
  }

  private func secrets(of client: AggregationClient) throws -> AggregationClient.Secrets {
    guard case .shared(let secrets, _) = client.state else { throw client.wrongStep(.share) }
    return secrets
  }
}

/// Another share than `bytes`. The error is random: errors of small integers can cancel in Lagrange sums.
func corrupted(_ bytes: [UInt8]) throws -> [UInt8] {
  var random = RandomStream(seed: SecretBytes(copying: bytes))
  return (try Scalar(canonical: bytes) + Scalar(using: &random)).exportBytes()
}

/// The first position at which two vectors differ, nil if they are equal. For long vectors: a failed
/// comparison of whole arrays would make the test library compute their difference for minutes.
func firstDifference<Element: Equatable>(_ a: [Element], _ b: [Element]) -> Int? {
  zip(a, b).enumerated().first { $1.0 != $1.1 }?.offset ?? (a.count == b.count ? nil : min(a.count, b.count))
}
