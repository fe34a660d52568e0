package import Cryptography
import Messages
package import Privacy
package import SecureAggregation
import Foundation

/// What a session does.
package enum SessionKind: String, Codable, Sendable, CaseIterable {
  /// Agrees on magnitudes and vocabularies.
  case coarseStatistics
  /// Agrees on bins and moments.
  case fineStatistics
  /// Trains one round (and measures the model it starts from).
  case training
  /// Measures the final model.
  case evaluation
  /// Answers queries of a statistics task.
  case statistics

  /// Whether a session of this kind may aggregate these segments, in this order.
  func allows(_ segments: [SegmentName]) -> Bool {
    switch self {
    case .coarseStatistics: segments == [.coarse]
    case .fineStatistics: segments == [.fine]
    case .training:
      segments.first == .update
        && [[], [.clipping], [.evaluation], [.clipping, .evaluation]].contains(Array(segments.dropFirst()))
    case .evaluation: segments == [.evaluation]
    case .statistics: !segments.isEmpty && Self.areQueries(segments)
    }
  }
}

extension SessionKind {
  /// Queries only, in the order of the task.
  private static func areQueries(_ segments: [SegmentName]) -> Bool {
    var last = -1
    for segment in segments {
      guard case .query(let index) = segment, index > last else { return false }
      last = index
    }
    return true
  }
}

/// τ: everything that a session's members must agree on. Signed by the server; the session's identifier
/// is its digest, and every key, mask, share and signature is bound to that.
package struct RoundDescriptor: Sendable, Equatable {
  /// The wire protocol's version.
  package static let protocolVersion: UInt32 = 1
  /// The domain of the server's signature and of sid.
  package static let domain = "accord/v1/descriptor"
  package var federation: String
  package var sessionNumber: UInt64
  package var kind: SessionKind
  /// Training round from 1; 0 outside training.
  package var round: Int
  package var taskDigest: Digest
  package var modelDigest: Digest
  package var seed: UInt64
  package var segments: [Segment]
  package var ringBits: Int
  package var minimumCohort: Int
  package var minimumSurvivors: Int
  package var corruptPermille: Int
  package var dropoutPermille: Int
  package var maximumContributors: Int
  package var stepDeadlineMilliseconds: Int
  package var trainingDeadlineMilliseconds: Int
  /// The consent ledger's checkpoint (a signed note) that nodes must have reached.
  package var checkpoint: String
  package var issuedAtMilliseconds: UInt64
  /// Updates are sealed to this key; it lives as long as the session.
  package var uploadKey: AgreementPublicKey
  package var unit: PrivacyUnit
  /// What masks are expanded with.
  package var suite: KeyStreamSuite
  /// Who masks against whom.
  package var graph: NeighbourGraph
  /// Disjoint groups; cohort, survivors and the corrupt fraction are those of each of them.
  package var groups: Int

  package init(
    federation: String, sessionNumber: UInt64, kind: SessionKind, round: Int, taskDigest: Digest,
    modelDigest: Digest, seed: UInt64, segments: [Segment], ringBits: Int, minimumCohort: Int,
    minimumSurvivors: Int, corruptPermille: Int, dropoutPermille: Int, maximumContributors: Int,
    stepDeadlineMilliseconds: Int, trainingDeadlineMilliseconds: Int, checkpoint: String,
    issuedAtMilliseconds: UInt64, uploadKey: AgreementPublicKey, unit: PrivacyUnit,
    suite: KeyStreamSuite = .chacha20, graph: NeighbourGraph = .complete, groups: Int = 1
  ) {
    self.federation = federation
    self.sessionNumber = sessionNumber
    self.kind = kind
    self.round = round
    self.taskDigest = taskDigest
    self.modelDigest = modelDigest
    self.seed = seed
    self.segments = segments
    self.ringBits = ringBits
    self.minimumCohort = minimumCohort
    self.minimumSurvivors = minimumSurvivors
    self.corruptPermille = corruptPermille
    self.dropoutPermille = dropoutPermille
    self.maximumContributors = maximumContributors
    self.stepDeadlineMilliseconds = stepDeadlineMilliseconds
    self.trainingDeadlineMilliseconds = trainingDeadlineMilliseconds
    self.checkpoint = checkpoint
    self.issuedAtMilliseconds = issuedAtMilliseconds
    self.uploadKey = uploadKey
    self.unit = unit
    self.suite = suite
    self.graph = graph
    self.groups = groups
  }

  /// Coordinates of the aggregated vector.
  package var dimension: Int { segments.reduce(0) { $0 + $1.length } }

  /// The bytes that are signed.
  package func encode() -> [UInt8] {
    var wire = WireRoundDescriptor()
    wire.protocolVersion = Self.protocolVersion
    wire.federation = federation
    wire.sessionNumber = sessionNumber
    wire.kind = kind.rawValue
    wire.round = UInt32(round)
    wire.taskDigest = Data(taskDigest.bytes)
    wire.modelDigest = Data(modelDigest.bytes)
    wire.seed = seed
    wire.segments = segments.map { segment in
      var wire = WireSegment()
      wire.name = segment.name.rawValue
      wire.length = UInt32(segment.length)
      wire.population = segment.population.rawValue
      wire.clipNorm = segment.clipNorm
      wire.scale = segment.scale
      wire.noiseVariance = segment.noiseVariance
      if let sensitivity = segment.sensitivity {
        wire.l1 = UInt64(sensitivity.l1)
        wire.l2Squared = UInt64(sensitivity.l2Squared)
        wire.lInfinity = UInt64(sensitivity.lInfinity)
      }
      return wire
    }
    wire.ringBits = UInt32(ringBits)
    wire.keyStream = suite.rawValue
    if case .sparse(let degree, let threshold) = graph {
      wire.graphDegree = UInt32(degree)
      wire.graphThreshold = UInt32(threshold)
    }
    wire.groups = UInt32(groups)
    wire.minimumCohort = UInt32(minimumCohort)
    wire.minimumSurvivors = UInt32(minimumSurvivors)
    wire.corruptPermille = UInt32(corruptPermille)
    wire.dropoutPermille = UInt32(dropoutPermille)
    wire.maximumContributors = UInt32(maximumContributors)
    wire.stepDeadlineMs = UInt32(stepDeadlineMilliseconds)
    wire.trainingDeadlineMs = UInt32(trainingDeadlineMilliseconds)
    wire.checkpoint = checkpoint
    wire.issuedAtMs = issuedAtMilliseconds
    wire.uploadKey = Data(uploadKey.bytes)
    wire.unit = unit.rawValue
    return encodeMessage(wire)
  }

  /// Reads and validates signed bytes.
  package static func decode(_ bytes: [UInt8], peer: String) throws(FederationError) -> RoundDescriptor {
    let wire = try wireMessage(WireRoundDescriptor.self, bytes, peer: peer)
    guard wire.protocolVersion == protocolVersion else {
      throw .mismatch(
        what: "the server's protocol version", expected: "\(protocolVersion)",
        actual: "\(wire.protocolVersion)")
    }
    guard let suite = KeyStreamSuite(rawValue: wire.keyStream) else {
      throw .mismatch(
        what: "the key stream",
        expected: KeyStreamSuite.allCases.map(\.rawValue).joined(separator: " or "),
        actual: wire.keyStream)
    }
    guard (wire.graphDegree == 0) == (wire.graphThreshold == 0), wire.graphDegree <= 1 << 16,
      wire.graphThreshold <= 1 << 16
    else { throw badField(peer, "RoundDescriptor", "graph_degree", "is out of range") }
    guard wire.graphDegree <= NeighbourGraph.maximumDegree, wire.minimumCohort <= MessageLimits.cohort,
      wire.minimumSurvivors <= MessageLimits.cohort, wire.corruptPermille <= 1_000,
      wire.dropoutPermille <= 1_000
    else { throw badField(peer, "RoundDescriptor", "graph_degree or a cohort field", "is out of range") }
    guard (1...256).contains(wire.groups) else {
      throw badField(peer, "RoundDescriptor", "groups", "must be from 1 to 256")
    }
    guard let kind = SessionKind(rawValue: wire.kind), let unit = PrivacyUnit(rawValue: wire.unit) else {
      throw badField(peer, "RoundDescriptor", "kind or unit", "is unknown")
    }
    guard (1...StatisticsSpecification.maximumQueries).contains(wire.segments.count),
      wire.federation.utf8.count <= 256,
      wire.checkpoint.utf8.count <= 16_384
    else { throw badField(peer, "RoundDescriptor", "segments", "has an invalid size") }
    var segments: [Segment] = []
    for segment in wire.segments {
      guard let name = SegmentName(rawValue: segment.name),
        let population = Population(rawValue: segment.population),
        (1...(1 << 26)).contains(segment.length),
        segment.clipNorm > 0, segment.clipNorm <= 1e9, segment.scale > 0, segment.scale <= 1e12,
        segment.noiseVariance >= 0, segment.noiseVariance <= 1e18,
        let sensitivity = sensitivity(of: segment)
      else { throw badField(peer, "RoundDescriptor", "segments", "holds a segment that is out of range") }
      segments.append(
        Segment(
          name: name, length: Int(segment.length), population: population,
          clipNorm: segment.clipNorm, scale: segment.scale, noiseVariance: segment.noiseVariance,
          sensitivity: sensitivity.bounds))
    }
    guard Set(segments.map(\.name)).count == segments.count,
      segments.reduce(0, { $0 + $1.length }) <= 1 << 26
    else { throw badField(peer, "RoundDescriptor", "segments", "repeats a name or is too long") }
    guard wire.sessionNumber > 0, wire.sessionNumber < 1 << 53, wire.round <= 1_000_000 else {
      throw badField(peer, "RoundDescriptor", "session_number or round", "is out of range")
    }
    guard kind.allows(segments.map(\.name)) else {
      throw badField(
        peer, "RoundDescriptor", "segments", "do not belong to a session of kind \(kind.rawValue)")
    }
    return RoundDescriptor(
      federation: wire.federation, sessionNumber: wire.sessionNumber, kind: kind,
      round: Int(wire.round),
      taskDigest: try fixed(wire.taskDigest, peer, "RoundDescriptor", "task_digest"),
      modelDigest: try fixed(wire.modelDigest, peer, "RoundDescriptor", "model_digest"),
      seed: wire.seed, segments: segments, ringBits: Int(wire.ringBits),
      minimumCohort: Int(wire.minimumCohort), minimumSurvivors: Int(wire.minimumSurvivors),
      corruptPermille: Int(wire.corruptPermille), dropoutPermille: Int(wire.dropoutPermille),
      maximumContributors: Int(wire.maximumContributors),
      stepDeadlineMilliseconds: Int(wire.stepDeadlineMs),
      trainingDeadlineMilliseconds: Int(wire.trainingDeadlineMs), checkpoint: wire.checkpoint,
      issuedAtMilliseconds: wire.issuedAtMs,
      uploadKey: try fixed(wire.uploadKey, peer, "RoundDescriptor", "upload_key"), unit: unit, suite: suite,
      graph: wire.graphDegree == 0
        ? .complete : .sparse(degree: Int(wire.graphDegree), threshold: Int(wire.graphThreshold)),
      groups: Int(wire.groups))
  }

  /// The bounds of a segment of counted integers, none of a clipped one; nil if they are out of range.
  private static func sensitivity(of wire: WireSegment) -> (bounds: StatisticsSensitivity?, isCounted: Bool)?
  {
    guard wire.l1 != 0 || wire.l2Squared != 0 || wire.lInfinity != 0 else { return (nil, false) }
    guard (1...1 << 40).contains(wire.l1), (1...1 << 62).contains(wire.l2Squared),
      (1...1 << 31).contains(wire.lInfinity)
    else { return nil }
    let bounds = StatisticsSensitivity(
      l1: Int64(wire.l1), l2Squared: Int64(wire.l2Squared), lInfinity: Int64(wire.lInfinity))
    return (bounds, true)
  }

  /// sid of signed descriptor bytes.
  package static func sessionID(of bytes: [UInt8]) -> Digest { Hash.blake2b(domain: domain, [bytes]) }

  /// What the secure aggregation of one group needs to know. With a single group it has the session's own
  /// identifier.
  package func aggregationParameters(
    sessionID: Digest, group: Int = 0
  ) throws(FederationError) -> AggregationParameters {
    try component("session parameters") {
      let own =
        groups == 1
        ? sessionID : try GroupPlan(sessionID: sessionID, groups: groups).sessionID(ofGroup: group)
      return try AggregationParameters(
        sessionID: own, dimension: dimension, ringBits: ringBits,
        minimumCohort: minimumCohort, minimumSurvivors: minimumSurvivors,
        corruptPermille: corruptPermille, suite: suite, graph: graph)
    }
  }

  /// The fewest inputs that any sum of a (group's) cohort of `cohort` has, to which noise is calibrated.
  func assuredSurvivors(cohort: Int) throws(FederationError) -> Int {
    try component("noise share") {
      try GraphPolicy.standard.assuredSurvivors(
        graph: graph, minimumSurvivors: minimumSurvivors, corruptPermille: corruptPermille, cohort: cohort)
    }
  }

  /// The group of a node.
  package func group(of id: VerifyingKey, sessionID: Digest) throws(FederationError) -> Int {
    guard groups > 1 else { return 0 }
    return try component("groups") {
      try GroupPlan(sessionID: sessionID, groups: groups).group(of: id)
    }
  }
}

/// A descriptor whose signature was checked, with its identifier.
package struct SignedDescriptor: Sendable {
  /// The content.
  package let descriptor: RoundDescriptor
  /// The signed bytes, verbatim.
  package let bytes: [UInt8]
  /// The server's signature.
  package let signature: Signature
  /// sid.
  package let sessionID: Digest

  /// Signs a descriptor (server).
  package init(_ descriptor: RoundDescriptor, key: SigningKey) {
    self.descriptor = descriptor
    bytes = descriptor.encode()
    signature = key.sign(domain: RoundDescriptor.domain, [bytes])
    sessionID = RoundDescriptor.sessionID(of: bytes)
  }

  /// Checks and reads a descriptor (node).
  package init(
    verifying bytes: [UInt8], signature: Signature, serverKey: VerifyingKey
  ) throws(FederationError) {
    guard serverKey.verifies(signature, domain: RoundDescriptor.domain, [bytes]) else {
      throw .badSignature(what: "the round descriptor", peer: "the server")
    }
    descriptor = try RoundDescriptor.decode(bytes, peer: "the server")
    self.bytes = bytes
    self.signature = signature
    sessionID = RoundDescriptor.sessionID(of: bytes)
  }
}
