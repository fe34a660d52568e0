import ConsentLedger
import Cryptography
import Federation
import MerkleLog
import Messages
import Privacy
import SecureAggregation

/// What a hostile server does with its own keys around the deployed coordinator. What it can reach by it is what
/// the nodes let it reach.
final class Malice {
  unowned let world: FaultWorld
  /// Attacks on the session under way, by whom they are aimed at.
  private var acts: [FaultEvent.Kind: FaultEvent] = [:]
  /// Earlier invitations.
  private var invitations: [[UInt8]] = []
  private var short: (node: Int, untilMs: UInt64)?
  private var fork: (node: Int, leaves: [[UInt8]], untilMs: UInt64)?
  /// Who was shown another history: it believes that until it sees the true one.
  private(set) var forkedNode: Int?
  private var freeze: (note: SignedCheckpoint, fromMs: UInt64, delayMs: UInt64)?
  private var wantsFreeze: UInt64?
  /// The shorter list that a quorum is gathered for, who is left out, and the signatures so far.
  private var gathering:
    (notice: SurvivorNotice, left: Int, signatures: [ConsistencySignature], calls: [Call])?
  private var hasUnmaskedShorter = false

  init(world: FaultWorld) { self.world = world }

  /// A session was announced; these attacks are on it.
  func begin(_ events: [FaultEvent], _ signed: SignedDescriptor, _ task: SimulatedServer.RunningTask) {
    acts = Dictionary(events.map { ($0.kind, $0) }) { first, _ in first }
    gathering = nil
    hasUnmaskedShorter = false
    if let event = acts[.staleCheckpoint] { wantsFreeze = 63_000 + event.choice % 12_000 }
    if let event = acts[.shortLog] { short = (event.party, world.now + event.lengthMs) }
    if let event = acts[.forkedLog], forkedNode == nil {
      forkedNode = event.party
      fork = (event.party, [], world.now + 2_000 + event.lengthMs)
    }
    invitations.append(SimulatedServer.invitation(signed, task))
  }

  /// Attacks end, but not what they did.
  func end() {
    acts = [:]
    short = nil
    fork = nil
    freeze = nil
    wantsFreeze = nil
  }

  // MARK: Invitations

  func invitation(live: SimulatedServer.LiveSession, node: Int, server: SimulatedServer) -> [UInt8]? {
    if let event = acts[.oldDescriptor], event.party == node, invitations.count > 1 {
      return invitations[Int(event.choice % UInt64(invitations.count - 1))]
    }
    guard let event = acts[.weakerParameters], event.party == node else { return nil }
    var weaker = live.coordinator.signed.descriptor
    let name: String
    switch event.choice % 6 {
    case 0: (weaker.minimumCohort, name) = (1, "minimumCohort 1")
    case 1: (weaker.minimumSurvivors, name) = (1, "minimumSurvivors 1")
    case 2: (weaker.maximumContributors, name) = (weaker.maximumContributors + 1, "maximumContributors + 1")
    case 3: (weaker.unit, name) = (.record, "unit record")
    case 4: (weaker.groups, name) = (2, "groups 2")
    default: (weaker.issuedAtMilliseconds, name) = (weaker.issuedAtMilliseconds - 400_000, "issued long ago")
    }
    let signed = SignedDescriptor(weaker, key: world.federation.logKey)
    world.oracle.forbid(signed.sessionID, name)
    return SimulatedServer.invitation(signed, live.task)
  }

  // MARK: Survivors

  func distort(_ notice: SurvivorNotice, live: SimulatedServer.LiveSession, node: Int) -> SurvivorNotice {
    let members = live.coordinator.roster(for: world.key(of: node))?.members.map(\.id) ?? []
    let own = members.firstIndex(of: world.key(of: node)) ?? -1
    if acts[.bothShares] != nil, !hasUnmaskedShorter, notice.uploaded.count > 2 {
      if gathering == nil, let left = notice.uploaded.last {
        let shorter = SurvivorNotice(shared: notice.shared, uploaded: notice.uploaded.filter { $0 != left })
        gathering = (shorter, left, [], [])
      }
      if let gathering, own != gathering.left { return gathering.notice }
    }
    if let event = acts[.splitSurvivors], event.party == node,
      let left = notice.uploaded.last(where: { $0 != own })
    {
      return SurvivorNotice(shared: notice.shared, uploaded: notice.uploaded.filter { $0 != left })
    }
    if let event = acts[.fewSurvivors], event.party == node {
      return SurvivorNotice(shared: notice.shared, uploaded: [own])
    }
    return notice
  }

  /// Takes signatures of the shorter list; when they are a quorum, everybody who signed gets it.
  func gather(
    _ message: ConsistencySignature, server: SimulatedServer, _ call: Call, _ request: SignedRequest
  ) throws -> Answer? {
    guard var gathered = gathering, !hasUnmaskedShorter,
      let live = server.current, live.sessionID == request.session,
      let roster = live.coordinator.roster(for: request.sender),
      let index = roster.members.firstIndex(where: { $0.id == request.sender }), index != gathered.left
    else { return nil }
    if !gathered.signatures.contains(where: { $0.id == message.id }) { gathered.signatures.append(message) }
    gathered.calls.append(call)
    let parameters = try live.coordinator.signed.descriptor.aggregationParameters(sessionID: live.sessionID)
    if gathered.signatures.count >= parameters.quorum(roster.members.count) {
      let quorum = Quorum(signatures: gathered.signatures.sorted { $0.id < $1.id })
      for call in gathered.calls { world.reply(call, .bytes(quorum.wireBytes)) }
      gathered.calls = []
    }
    gathering = gathered
    // Answered above, now or when the others have signed.
    return .askAgainLater
  }

  /// The shares for the shorter list are in: now those for the longer one are asked for.
  func unmask(
    _ message: UnmaskShares, server: SimulatedServer, _ request: SignedRequest
  ) throws -> Answer? {
    guard gathering != nil, server.current?.sessionID == request.session else { return nil }
    hasUnmaskedShorter = true
    return .refused(code: "confirmAgain", reason: "the list of survivors has changed")
  }

  // MARK: The log

  /// Whether the next session has to wait until the checkpoint that nodes are shown is old.
  func delaysSessions(_ now: UInt64) -> Bool {
    guard let freeze else {
      guard let delay = wantsFreeze, let server = world.server,
        let note = try? server.ledger.checkpoint(nowMs: Int64(now))
      else { return false }
      wantsFreeze = nil
      freeze = (note, world.now, delay)
      return true
    }
    if world.now > freeze.fromMs + freeze.delayMs + 5_000 { self.freeze = nil }
    return world.now < freeze.fromMs + freeze.delayMs
  }

  func synchronisation(_ call: Call, from start: UInt64, server: SimulatedServer) throws -> [UInt8]? {
    if let freeze {
      let size = freeze.note.checkpoint.size
      let leaves = start < size ? try server.ledger.entries(start..<size) : []
      return SimulatedServer.page(freeze.note.noteText, leaves)
    }
    if let fork, fork.node == call.node {
      guard world.now < fork.untilMs else {
        self.fork = nil
        return nil
      }
      return try forked(fork.leaves, from: start, server: server)
    }
    guard let short, short.node == call.node, world.now < short.untilMs, start < server.ledger.size else {
      return nil
    }
    let signed = try server.ledger.checkpoint(nowMs: Int64(server.now))
    return SimulatedServer.page(
      signed.noteText, Array(try server.ledger.entries(start..<server.ledger.size).dropLast()))
  }

  /// Another history from the first entry on that the node has not seen, signed like the true one.
  private func forked(_ known: [[UInt8]], from start: UInt64, server: SimulatedServer) throws -> [UInt8] {
    var leaves = known
    if leaves.isEmpty {
      leaves = try server.ledger.entries(0..<server.ledger.size)
      let at = min(Int(start), leaves.count)
      for extra in 0..<2 {
        let notice = NoticeRecord(
          id: try world.freshEventID(), kind: "refusal", text: "another history \(extra)",
          timeMs: Int64(server.now))
        let leaf = try SignedStatement.sign(.notice(notice), key: world.federation.logKey)
          .leaf(recordedMs: Int64(server.now))
        // What is replaced comes first; what follows in the true log is left out.
        if extra == 0 { leaves = Array(leaves.prefix(at)) }
        leaves.append(leaf)
      }
      while leaves.count <= Int(server.ledger.size) + 1 {
        let notice = NoticeRecord(
          id: try world.freshEventID(), kind: "refusal", text: "filler", timeMs: Int64(server.now))
        leaves.append(
          try SignedStatement.sign(.notice(notice), key: world.federation.logKey)
            .leaf(recordedMs: Int64(server.now)))
      }
      fork?.leaves = leaves
    }
    var range = CompactRange()
    for leaf in leaves { range.append(leafHash: MerkleTree.leafHash(leaf)) }
    let signed = try SignedCheckpoint.sign(
      Checkpoint(origin: FaultFederation.origin, size: range.size, root: range.root),
      timestampSeconds: server.now / 1000 + 1, logKey: world.federation.logKey,
      freshnessKey: world.federation.freshnessKey)
    world.oracle.forged.insert(signed.noteText)
    return SimulatedServer.page(signed.noteText, Array(leaves.dropFirst(Int(start))))
  }
}

extension Answer {
  /// Nothing goes out: the answer was or will be sent by other means.
  static let askAgainLater = Answer.refused(code: "", reason: "")
}
