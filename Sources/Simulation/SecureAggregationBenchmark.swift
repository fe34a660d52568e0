import Cryptography
import SecureAggregation
import Foundation

/// One secure aggregation with real participants and a real coordinator in one process, timed step by step.
///
/// Inputs are uniform numbers that cannot wrap; the sum of the survivors' is compared with the released one
/// coordinate by coordinate. The bare key stream is expanded in the same run, on the same cores, in the
/// chunks that masks are made of: half of it before and half after what it is compared with.
package struct SecureAggregationBenchmark {
  /// What is to be measured.
  package struct Options: Sendable, Codable {
    /// Number of participants.
    package var clients = 1_000
    /// Coordinates of every input.
    package var dimension = 100_000
    /// Fraction of the participants that drops between sharing and uploading.
    package var lateDropouts = 0.05
    /// Fraction that is assumed to be corrupt, in thousandths.
    package var corruptPermille = 100
    /// Fraction that the graph is made to survive dropping, in thousandths; at least the late ones.
    package var dropoutPermille = 100
    /// The key-stream suite.
    package var suite = KeyStreamSuite.chacha20.rawValue
    /// Width of the ring.
    package var ringBits = 32
    /// Seed of keys, inputs and drop-outs.
    package var seed: UInt64 = 1

    package init() {}
  }

  /// Seconds of one step over all participants: by the clock, and of processor time.
  package struct Step: Sendable, Codable {
    package var name: String
    package var seconds = 0.0
    package var coreSeconds = 0.0
  }

  /// What was measured.
  package struct Report: Sendable, Codable {
    package var options: Options
    package var cores: Int
    package var graph: String
    package var degree: Int
    package var threshold: Int
    package var survivors: Int
    package var dropped: Int
    /// Whether the released sum equals that of the survivors' inputs.
    package var exact: Bool
    package var client: [Step]
    package var server: [Step]
    package var clientSeconds: Double
    package var serverSeconds: Double
    package var serverCoreSeconds: Double
    /// Key stream that clients had to expand, all together.
    package var clientKeyStreamBytes: Int
    package var serverKeyStreamBytes: Int
    /// What the bare key stream takes for these bytes, on the same cores in the same run.
    package var clientBareSeconds: Double
    package var serverBareSeconds: Double
    /// Whole masking step (checks, agreements, expansion, packing) over the bare key stream.
    package var clientRatio: Double
    /// Expansion and addition alone over the bare key stream.
    package var clientExpansionRatio: Double
    /// Whole unmasking (recovery, agreements, expansion, hashing) over the bare key stream.
    package var serverRatio: Double
    package var serverExpansionRatio: Double
    /// Encoded bytes that one participant sends and receives on average.
    package var bytesSentPerClient: Int
    package var bytesReceivedPerClient: Int
    package var packedInputBytes: Int
    /// Peak resident memory of the process: all participants and the server.
    package var peakMemoryBytes: Int
    /// The most that the server can have held: its state with the shares of step 2 and of step 5, and what
    /// the last step added.
    package var serverMemoryBytes: Int
  }

  /// Bytes of a message on the wire.
  package typealias MessageSize = (any Sendable) -> Int

  private let options: Options
  private let suite: KeyStreamSuite
  private let size: MessageSize
  private let progress: (String) -> Void
  private var client = StepClock([
    "advertise", "draw", "share", "mask: check", "mask: agree",
    "mask: expand and add", "mask: pack", "confirm", "challenge and reveal",
  ])
  private var server = StepClock([
    "receive advertisements", "fix the roster", "open neighbours",
    "receive shares", "deliver shares", "receive and add inputs", "receive confirmations",
    "answer challenges", "receive shares of secrets", "unmask: recover", "unmask: agree",
    "unmask: expand and subtract", "unmask: conclude",
  ])
  private var memoryOfInbox = 0
  private var sent = 0
  private var received = 0

  /// - Parameters:
  ///   - size: bytes of a message on the wire.
  ///   - progress: told what happens now.
  /// - Throws: `AggregationError.suiteUnavailable` for a suite that is unknown or that this processor lacks.
  package init(
    _ options: Options, size: @escaping MessageSize, progress: @escaping (String) -> Void
  ) throws {
    guard let suite = KeyStreamSuite(rawValue: options.suite) else {
      throw BenchmarkError.unknownSuite(options.suite)
    }
    guard suite.isAvailable else { throw AggregationError.suiteUnavailable(suite) }
    self.options = options
    self.suite = suite
    self.size = size
    self.progress = progress
  }

  private func parameters() throws -> (AggregationParameters, GraphParameters) {
    let late = Int((options.lateDropouts * 1000).rounded(.up))
    let dropout = max(options.dropoutPermille, late)
    let isSparse = options.clients > NeighbourGraph.complete.maximumCohort
    let graph =
      isSparse
      ? try GraphParameters.search(
        cohort: options.clients, corruptPermille: options.corruptPermille, dropoutPermille: dropout)
      : try GraphParameters.complete(
        cohort: options.clients, corruptPermille: options.corruptPermille, dropoutPermille: dropout)
    let survivors = options.clients - options.clients * dropout / 1000
    return (
      try AggregationParameters(
        sessionID: Hash.blake2b(Array("accord bench secure-aggregation \(options.seed)".utf8)),
        dimension: options.dimension, ringBits: options.ringBits, minimumCohort: options.clients,
        minimumSurvivors: max(2, survivors), corruptPermille: options.corruptPermille, suite: suite,
        graph: isSparse ? .sparse(degree: graph.degree, threshold: graph.threshold) : .complete), graph
    )
  }

  /// Runs everything once.
  package mutating func run() throws -> Report {
    let (parameters, graph) = try parameters()
    ProcessMemory.useOneArena()
    var random = RandomStream(testSeed: options.seed)
    let identities = (0..<options.clients).map { _ in SigningKey(using: &random) }
      .sorted { $0.verifyingKey < $1.verifyingKey }
    let enrolled = Set(identities.map(\.verifyingKey))
    var clients = identities.map {
      AggregationClient(parameters: parameters, identity: $0, random: random.fork())
    }
    var coordinator = AggregationCoordinator(parameters: parameters) { enrolled.contains($0) }
    let dropped = try dropouts(&random)

    try setUp(&clients, &coordinator, enrolled: enrolled)
    var expected = [UInt32](repeating: 0, count: options.dimension)
    let masking = try upload(
      &clients, &coordinator, dropped: dropped, expected: &expected, random: &random)
    try agree(&clients, &coordinator, dropped: dropped)

    // Whatever is freed now belonged to participants; what the coordinator frees below, to the server.
    clients = []
    let beforeUnmasking = ProcessMemory.inUse
    let peakSoFar = ProcessMemory.peakResident
    progress("the server unmasks")
    let bytesPerMask = options.dimension * (options.ringBits == 16 ? 2 : 4)
    var serverMasks = 0
    // Six gigabytes before and six after: the machine's speed wanders.
    let sample = max(1, 6_000_000_000 / bytesPerMask)
    var bare = try expandBare(masks: sample, bytes: bytesPerMask)
    ProcessMemory.forgetPeak()
    let residentBefore = ProcessMemory.resident
    let result = try unmask(&coordinator, masks: &serverMasks)
    let transient = max(0, ProcessMemory.peakResident - residentBefore)
    bare += try expandBare(masks: sample, bytes: bytesPerMask)
    bare *= Double(serverMasks) / Double(2 * sample)
    let inbox = memoryOfInbox
    coordinator = AggregationCoordinator(parameters: parameters) { _ in false }
    let serverState = max(0, beforeUnmasking - ProcessMemory.inUse)
    let mask = options.ringBits == 32 ? UInt32.max : (UInt32(1) << UInt32(options.ringBits)) - 1
    let exact = result.sum == expected.map { $0 & mask }

    let maskingSteps = client.total(prefix: "mask:")
    let unmaskingSteps = server.total(prefix: "unmask:")
    return Report(
      options: options, cores: ProcessInfo.processInfo.activeProcessorCount,
      graph: parameters.graph == .complete ? "complete" : "sparse", degree: graph.degree,
      threshold: graph.threshold, survivors: result.survivors.count,
      dropped: result.droppedBeforeUpload.count, exact: exact, client: client.steps, server: server.steps,
      clientSeconds: client.total(prefix: ""), serverSeconds: server.total(prefix: ""),
      serverCoreSeconds: server.coreTotal, clientKeyStreamBytes: masking.bytes,
      serverKeyStreamBytes: serverMasks * bytesPerMask, clientBareSeconds: masking.bareSeconds,
      serverBareSeconds: bare, clientRatio: maskingSteps / masking.bareSeconds,
      clientExpansionRatio: client.total(prefix: "mask: expand") / masking.bareSeconds,
      serverRatio: unmaskingSteps / bare,
      serverExpansionRatio: server.total(prefix: "unmask: expand") / bare,
      bytesSentPerClient: sent / options.clients, bytesReceivedPerClient: received / options.clients,
      packedInputBytes: parameters.packedByteCount,
      peakMemoryBytes: max(peakSoFar, ProcessMemory.peakResident),
      serverMemoryBytes: serverState + inbox + transient)
  }

  private func dropouts(_ random: inout RandomStream) throws -> Set<Int> {
    let count = Int((Double(options.clients) * options.lateDropouts).rounded(.down))
    var dropped: Set<Int> = []
    while dropped.count < count {
      dropped.insert(Int(random.uniform(below: UInt64(options.clients))))
    }
    return dropped
  }

  /// Steps 1 and 2.
  private mutating func setUp(
    _ clients: inout [AggregationClient], _ coordinator: inout AggregationCoordinator,
    enrolled: Set<ParticipantID>
  ) throws {
    progress("\(clients.count) participants advertise")
    for index in clients.indices {
      let message = try client.time(0) { try clients[index].advertise() }
      sent += size(message)
      try server.time(0) { try coordinator.receive(message) }
    }
    let roster = try server.time(1) { try coordinator.closeAdvertising() }
    progress("they draw neighbours and deal shares")
    let isSparse = coordinator.parameters.graph != .complete
    for index in clients.indices {
      let message: ShareUpload
      if isSparse {
        guard let commitment = coordinator.commitment else { throw BenchmarkError.noRoster }
        let request = try client.time(1) {
          try clients[index].draw(commitment) { enrolled.contains($0) }
        }
        let opening = try server.time(2) { try coordinator.open(request) }
        message = try client.time(2) { try clients[index].share(opening: opening) }
        sent += size(request)
        received += size(commitment) + size(opening)
      } else {
        message = try client.time(2) {
          try clients[index].share(roster: roster) { enrolled.contains($0) }
        }
        received += size(roster)
      }
      sent += size(message)
      try server.time(3) { try coordinator.receive(message) }
    }
    try coordinator.closeSharing()
  }

  private struct Masking {
    var bytes = 0
    var bareSeconds = 0.0
  }

  /// Step 3.
  private mutating func upload(
    _ clients: inout [AggregationClient], _ coordinator: inout AggregationCoordinator, dropped: Set<Int>,
    expected: inout [UInt32], random: inout RandomStream
  ) throws -> Masking {
    var masking = Masking()
    let bytesPerMask = options.dimension * (options.ringBits == 16 ? 2 : 4)
    // Numbers of this many bits, all clients' together, do not wrap.
    let bits = UInt32(options.ringBits) - UInt32(Int.bitWidth - (clients.count - 1).leadingZeroBitCount)
    let mask = UInt32.max >> (32 - bits)
    // The bare key stream is measured beside every client up to fifty of them.
    let spacing = max(1, (clients.count - dropped.count) / 50)
    var bareBytes = 0
    var bareSeconds = 0.0
    var done = 0
    for index in clients.indices where !dropped.contains(index) {
      if done.isMultiple(of: max(1, clients.count / 10)) {
        progress("masked inputs: \(done) of \(clients.count - dropped.count)")
      }
      var stream = random.fork()
      let input = [UInt32](unsafeUninitializedCapacity: options.dimension) { buffer, count in
        stream.fill(UnsafeMutableRawBufferPointer(buffer))
        for index in buffer.indices { buffer[index] &= mask }
        count = options.dimension
      }
      for index in expected.indices { expected[index] &+= input[index] }
      let delivery = try server.time(4) { try coordinator.delivery(for: clients[index].id) }
      received += size(delivery)
      var masks = 0
      let masked = try client.time(phases: [3, 4, 5, 6]) { observe in
        try clients[index].mask(input, delivery: delivery) { phase in
          if case .expanding(let count) = phase { masks = count }
          observe(phase)
        }
      }
      masking.bytes += masks * bytesPerMask
      if done.isMultiple(of: spacing) {
        bareSeconds += try expandBare(masks: masks, bytes: bytesPerMask)
        bareBytes += masks * bytesPerMask
      }
      sent += masked.packed.count
      let id = clients[index].id
      try server.time(5) {
        var pending = PendingInput(parameters: coordinator.parameters)
        for start in stride(from: 0, to: masked.packed.count, by: 65_536) {
          try pending.append(masked.packed[start..<min(start + 65_536, masked.packed.count)])
        }
        try coordinator.accept(pending.finish(), from: id)
      }
      clients[index].acknowledgeInput()
      done += 1
    }
    masking.bareSeconds = bareSeconds / Double(bareBytes) * Double(masking.bytes)
    return masking
  }

  /// Steps 4 and 5, as far as messages go.
  private mutating func agree(
    _ clients: inout [AggregationClient], _ coordinator: inout AggregationCoordinator, dropped: Set<Int>
  ) throws {
    progress("they confirm the survivors")
    let before = ProcessMemory.inUse
    let notice = try coordinator.closeInputs()
    memoryOfInbox = max(0, before - ProcessMemory.inUse)
    for index in clients.indices where !dropped.contains(index) {
      let message = try client.time(7) { try clients[index].confirm(notice) }
      received += size(notice)
      sent += size(message)
      try server.time(6) { try coordinator.receive(message) }
    }
    let quorum = try server.time(6) { try coordinator.closeConsistency() }
    progress("they reveal shares")
    for index in clients.indices where !dropped.contains(index) {
      let message: UnmaskShares
      if coordinator.parameters.graph == .complete {
        received += size(quorum)
        message = try client.time(8) { try clients[index].reveal(quorum) }
      } else {
        guard let claim = coordinator.quorumClaim else { throw BenchmarkError.noRoster }
        let challenge = try client.time(8) { try clients[index].challenge(claim) }
        let answer = try server.time(7) { try coordinator.quorum(of: challenge, for: clients[index].id) }
        message = try client.time(8) { try clients[index].reveal(answer) }
        received += size(claim) + size(answer)
        sent += size(QuorumClaim(signers: challenge, top: claim.top))
      }
      sent += size(message)
      try server.time(8) { try coordinator.receive(message) }
    }
  }

  private mutating func unmask(
    _ coordinator: inout AggregationCoordinator, masks: inout Int
  ) throws -> AggregationResult {
    var total = 0
    let result = try server.time(phases: [9, 10, 11, 12]) { observe in
      try coordinator.finish { phase in
        if case .expanding(let count) = phase { total += count }
        observe(phase)
      }
    }
    masks = total
    return result
  }

  private func expandBare(masks: Int, bytes: Int) throws -> Double {
    let start = ContinuousClock.now
    try KeyStreamMeasure.expand(bytes: bytes, masks: masks, suite: suite)
    return (ContinuousClock.now - start).inSeconds
  }
}

/// What keeps a benchmark from running.
package enum BenchmarkError: Error, CustomStringConvertible {
  case unknownSuite(String)
  case noRoster

  package var description: String {
    switch self {
    case .unknownSuite(let name):
      "there is no key-stream suite “\(name)”; use "
        + KeyStreamSuite.allCases.map(\.rawValue).joined(separator: " or ")
    case .noRoster: "the coordinator has not fixed the roster"
    }
  }
}
