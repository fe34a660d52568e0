import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import Messages
import Privacy
import SecureAggregation
import Storage

/// A node's process around the deployed round, mirror, gate, vault and budget book, in the durable order of
/// `EdgeNode/NodeDaemon+Session.swift`: session number, keys and shares, own debit, consent asked again, use
/// recorded, mask, upload. Whoever changes the order there changes it here.
final class SimulatedNode {
  /// Where a session stands: what is waited for.
  enum Step: Equatable {
    case joining, model, roster, delivery, masking, notice, uploadingAgain, quorum, outcome
  }

  struct Session {
    let signed: SignedDescriptor
    let task: FederationTask
    var step = Step.joining
    var artifact: TaskArtifact?
    var batch: GatedBatch<LabelledRecord>?
    var sums: [Int64] = []
    var round: NodeRound?
    var kept: NodeRound?
    var delivery: ShareDelivery?
    var packed: [UInt8] = []
    var evidenceRoot: Digest?
    var notice: SurvivorNotice?
    var synchronisations = 0
    var random: RandomStream
    var number: UInt64 { signed.descriptor.sessionNumber }
  }

  /// A request that is sent until it is answered.
  struct OpenCall {
    var id: UInt64
    let kind: CallKind
    let make: (SimulatedNode) throws -> [UInt8]
  }

  unowned let world: FaultWorld
  let index: Int
  let key: SigningKey
  let disk: SimulatedDisk
  let life: Int
  let mirror: LedgerMirror
  let vault: SubjectVault
  let gate: ConsentGate
  let budgets: BudgetBook
  let policy: NodePolicy
  /// What the deployed node keeps in `store.sqlite`.
  var lastSession: UInt64
  var session: Session?
  /// The request of the session, or for one.
  var call: OpenCall?
  var synchronising: OpenCall?
  var appending: (call: OpenCall, statement: SignedStatement, customer: String)?
  var decisions: [(customer: String, state: ConsentState)] = []
  var cosigning: OpenCall?
  var artifacts: [Digest: TaskArtifact] = [:]
  /// Sessions that failed one after another.
  var failures = 0
  var malice: Set<FaultEvent.Kind> = []
  var earlierBytes: [CallKind: [UInt8]] = [:]

  init(world: FaultWorld, index: Int, disk: SimulatedDisk, lastSession: UInt64, life: Int) throws {
    self.world = world
    self.index = index
    self.disk = disk
    self.lastSession = lastSession
    self.life = life
    let federation = world.federation
    key = federation.nodeKeys[index]
    policy = federation.nodePolicy
    mirror = try LedgerMirror.open(
      directory: disk.directory, verifiers: federation.verifiers,
      operatorKey: federation.operatorKey.verifyingKey)
    var random = world.freshRandom()
    vault = try SubjectVault.open(
      path: disk.path("vault.sqlite"), keyEncryptionKey: federation.keyEncryptionKey, random: random.fork())
    gate = ConsentGate(
      mirror: mirror, vault: vault, recorder: key.verifyingKey,
      maximumCheckpointAgeSeconds: Int64(policy.maximumCheckpointAgeSeconds), random: random.fork())
    budgets = try BudgetBook(path: disk.path("budget.sqlite"))
  }

  var now: UInt64 { world.clock(of: index) }
  /// What the gate is told the time is.
  var gateNow: Int64 {
    if world.bug == .staleCheckpointBelieved, let signed = mirror.checkpoint {
      return Int64(signed.timestampSeconds) * 1000
    }
    return Int64(now)
  }

  // MARK: Requests

  func send(_ kind: CallKind, _ make: @escaping (SimulatedNode) throws -> [UInt8]) throws -> OpenCall {
    let call = OpenCall(id: world.nextCallID(), kind: kind, make: make)
    let bytes = try distorted(kind, try make(self))
    world.request(Call(id: call.id, node: index, kind: kind, bytes: bytes))
    return call
  }

  func sendAgain(_ call: OpenCall) throws -> OpenCall { try send(call.kind, call.make) }

  func signed(
    _ kind: CallKind, _ payload: [UInt8], session: Digest? = nil
  ) -> (SimulatedNode) throws -> [UInt8] {
    { node in
      guard let requestKind = kind.requestKind else { return payload }
      return SignedRequest.sign(
        requestKind, payload: payload, session: session, nowMilliseconds: node.now, key: node.key)
    }
  }

  func ask(_ kind: CallKind, _ payload: [UInt8], session: Digest? = nil) throws {
    call = try send(kind, signed(kind, payload, session: session))
  }

  func synchronise() throws {
    guard synchronising == nil else { return }
    synchronising = try send(.synchronise) { node in
      withUnsafeBytes(of: node.mirror.size.littleEndian) { Array($0) }
    }
  }

  // MARK: Idle

  /// Asks for an invitation, as `NodeDaemon.takePart` does.
  func waitForSession() throws {
    session = nil
    var request = WireInvitationRequest()
    request.lastSession = lastSession
    request.keyStreams = policy.suites.map(\.rawValue)
    try ask(.invitation, encodeMessage(request))
  }

  /// A session that was refused or lost is over for this node.
  func giveUp(_ reason: String) throws {
    if let session {
      world.note("node \(index) leaves session \(session.number): \(reason)")
      if lastSession < session.number, world.bug != .replayJoined { try remember(session.number) }
    }
    session = nil
    call = nil
    failures += 1
    world.wake(index, life, afterMs: min(5_000, 100 << UInt64(min(failures, 6))))
  }

  func remember(_ number: UInt64) throws {
    if world.bug == .sessionForgotten {
      lastSession = number
      return
    }
    try disk.rows {
      lastSession = number
      world.lastSessions[index] = number
    }
  }

  // MARK: Answers

  /// Takes an answer; one to a request that is not open any more is passed over.
  func receive(_ id: UInt64, _ kind: CallKind, _ answer: Answer) async throws {
    if appending?.call.id == id { return try receiveReceipt(answer) }
    if cosigning?.id == id { return try receiveSightings(answer) }
    if synchronising?.id == id { return try await receiveEntries(answer) }
    guard let open = call, open.id == id else { return }
    switch answer {
    case .askAgain: call = try sendAgain(open)
    case .refused(let code, let reason):
      call = nil
      if code == "consentChanged", session?.step == .notice {
        session?.step = .uploadingAgain
        return try synchronise()
      }
      if code == "confirmAgain", world.bug == .stateRestored, let kept = session?.kept {
        session?.round = kept
        session?.step = .notice
        return try resendInput()
      }
      try giveUp(reason)
    case .bytes(let bytes):
      call = nil
      do { try take(bytes) } catch let error as SimulatedCrash { throw error } catch let error
        as FaultViolation
      {
        throw error
      } catch { try giveUp("\(error)") }
    }
  }

  private func take(_ bytes: [UInt8]) throws {
    guard let step = session?.step else { return try accept(bytes) }
    switch step {
    case .model: try takeModel(bytes)
    case .roster: try share(try Roster(wireBytes: bytes, peer: "the server"))
    case .delivery:
      session?.delivery = try ShareDelivery(wireBytes: bytes, peer: "the server")
      try debit()
      session?.step = .masking
      try synchronise()
    case .notice: try confirm(try SurvivorNotice(wireBytes: bytes, peer: "the server"))
    case .quorum: try reveal(try Quorum(wireBytes: bytes, peer: "the server"))
    case .outcome:
      world.note("node \(index) completed session \(session?.number ?? 0)")
      failures = 0
      if (session?.number ?? 0) % 3 == 0 { try cosign() }
      try waitForSession()
    case .joining, .masking, .uploadingAgain: break
    }
  }

  // MARK: Following the log

  private func receiveEntries(_ answer: Answer) async throws {
    synchronising = nil
    do {
      guard case .bytes(let bytes) = answer else { throw Refusal("refused", "no checkpoint") }
      let parts = try Parcel.unpack(bytes, count: 2)
      let note = String(decoding: parts[0], as: UTF8.self)
      let leaves = try wireMessage(
        WireLedgerEntries.self, parts[1], peer: "the server", limit: MessageLimits.entries
      ).leaves.map { Array($0) }
      let start = mirror.size
      try await advance(note, leaves, from: start)
    } catch let error as SimulatedCrash { throw error } catch let error as FaultViolation {
      throw error
    } catch {
      if !ignores(error) {
        world.note("node \(index) did not follow the log: \(error)")
        if session != nil { return try giveUp("\(error)") }
        return
      }
    }
    try await followed()
  }

  /// An older note than the one held changes nothing; the gate judges the age of the one held.
  private func ignores(_ error: any Error) -> Bool {
    guard let error = error as? LedgerError else { return false }
    switch error {
    case .outdatedCheckpoint, .concurrentAdvance: return true
    case .staleCheckpoint: return world.bug == .staleCheckpointBelieved
    default: return false
    }
  }

  private func advance(_ note: String, _ leaves: [[UInt8]], from start: UInt64) async throws {
    // The same note again would only be stored again.
    guard note != mirror.checkpoint?.noteText else { return }
    let nowMs = Int64(now)
    let mirror = mirror
    try await disk.write {
      try await mirror.advance(noteText: note, nowMs: nowMs) { range throws(LedgerError) in
        guard range.lowerBound >= start, Int(range.upperBound - start) <= leaves.count else {
          throw LedgerError.wrongAnswer(requested: UInt64(range.count), received: leaves.count)
        }
        return Array(leaves[Int(range.lowerBound - start)..<Int(range.upperBound - start)])
      }
    }
  }

  private func followed() async throws {
    guard let step = session?.step, step == .joining || step == .masking || step == .uploadingAgain else {
      return
    }
    do {
      try requireReached()
      switch step {
      case .joining: try fetchModel()
      case .masking: try maskAndUpload()
      default: try resendInput()
      }
    } catch let error as SimulatedCrash { throw error } catch let error as FaultViolation {
      throw error
    } catch {
      if case LedgerError.behindReceipt = error, (session?.synchronisations ?? 9) < 4 {
        session?.synchronisations += 1
        return try synchronise()
      }
      try giveUp("\(error)")
    }
  }

  /// As `LedgerMirror.requireReached` in `EdgeNode/LedgerSubmission.swift`.
  private func requireReached() throws {
    guard let session else { return }
    let signed = try SignedCheckpoint.verify(session.signed.descriptor.checkpoint, mirror.verifiers)
    let required = signed.checkpoint
    guard let held = mirror.checkpoint?.checkpoint, held.size >= required.size else {
      throw FederationError.policy(.checkpoint("the session is bound to \(required.size) entries"))
    }
    guard try mirror.contains(required) else {
      throw FederationError.policy(.checkpoint("the session is bound to another history"))
    }
  }
}
