import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import SecureAggregation
import Storage

/// Everything of one run: the parties, what is on its way between them, the virtual time, and who watches. One
/// thread, no clock of its own, no randomness but the seed's.
final class FaultWorld {
  enum Event {
    case request(Call)
    case reply(id: UInt64, node: Int, kind: CallKind, Answer)
    case beat(life: Int)
    case retry(node: Int, life: Int)
    case wake(node: Int, life: Int)
    case fault(FaultEvent)
    case restart(party: Int)
  }

  /// A span in which a party's messages suffer.
  struct Weather {
    let kind: FaultEvent.Kind
    let party: Int
    let untilMs: UInt64
    let permille: UInt64
  }

  let setup: FaultSetup
  let federation: FaultFederation
  let bug: PlantedBug?
  let base: String
  var oracle: FaultOracle
  var trace: FaultTrace
  var queue = EventQueue<Event>()
  /// Milliseconds since the run began.
  var now: UInt64 = 0
  var server: SimulatedServer?
  var serverRows: SimulatedServer.Rows
  var serverDisk: SimulatedDisk
  var serverLife = 0
  var nodes: [SimulatedNode?] = []
  var nodeDisks: [SimulatedDisk] = []
  var nodeLives: [Int] = []
  var lastSessions: [Int: UInt64] = [:]
  var skewMs: [Int64]
  var weather: [Weather] = []
  private(set) lazy var malice = Malice(world: self)
  var plan: [FaultEvent]
  /// Sessions that were announced.
  var attempts = 0
  var completed = 0
  var hasEnded = false
  var healedAtMs: UInt64?
  var completedSinceHealing = 0
  var counts: [FaultEvent.Kind: Int] = [:]
  var messages = 0
  var restarts = 0
  var hostileInputs: Set<Int> = []
  private var words: SeededWords
  private var forks: UInt64 = 0
  private var callIDs: UInt64 = 0

  init(setup: FaultSetup, federation: FaultFederation, base: String) throws {
    self.setup = setup
    self.federation = federation
    self.base = base
    bug = setup.bug
    oracle = FaultOracle(federation)
    trace = FaultTrace(isKept: setup.keepsTrace)
    words = SeededWords(setup.seed ^ 0x776f_726c_64)
    skewMs = [Int64](repeating: 0, count: federation.nodeCount + 1)
    serverDisk = try SimulatedDisk(base: base + "/server")
    serverRows = SimulatedServer.Rows(total: [Int64](repeating: 0, count: federation.customers.count))
    let whole = FaultPlan(seed: setup.seed, rounds: setup.rounds, nodes: federation.nodeCount)
    plan = whole.events.filter { setup.only?.contains($0.index) ?? true }
  }

  // MARK: Chance and time

  func roll(_ bound: UInt64) -> UInt64 { words.below(bound) }

  /// A stream that no other life and no other session gets.
  func freshRandom() -> RandomStream {
    forks += 1
    return RandomStream(testSeed: SeededWords.hash(setup.seed, 0x7374_7265_616d, forks))
  }

  func freshEventID() throws -> EventID {
    var random = freshRandom()
    return try EventID(random.bytes(EventID.byteCount))
  }

  func garbage(_ count: Int) -> [UInt8] {
    var random = freshRandom()
    return random.bytes(count)
  }

  func nextCallID() -> UInt64 {
    callIDs += 1
    return callIDs
  }

  /// What a party's clock shows, ms of UTC since 1970; −1 is the server.
  func clock(of party: Int) -> UInt64 {
    UInt64(Int64(FaultFederation.epochMs + now) + skewMs[party + 1])
  }

  func key(of node: Int) -> VerifyingKey { federation.nodeKeys[node].verifyingKey }

  func index(of key: VerifyingKey) -> Int? { federation.nodeKeys.firstIndex { $0.verifyingKey == key } }

  func note(_ line: @autoclosure () -> String) { trace.add(now, line()) }

  var isHealed: Bool { healedAtMs != nil }
  /// No session is begun between the last planned one and the healing.
  var wantsSessions: Bool { !hasEnded && (attempts < setup.rounds || isHealed) }

  // MARK: Network

  func request(_ call: Call) { deliver(.request(call), node: call.node, label: call.kind) }

  /// A message that a hostile node sends beside its own.
  func inject(_ call: Call) { queue.push(.request(call), at: now + 1 + roll(20)) }

  func reply(_ call: Call, _ answer: Answer) {
    if case .refused(let code, _) = answer, code.isEmpty { return }
    deliver(.reply(id: call.id, node: call.node, kind: call.kind, answer), node: call.node, label: call.kind)
  }

  private func deliver(_ event: Event, node: Int, label: CallKind) {
    messages += 1
    var copies = 1
    var delay = 2 + roll(20)
    for span in weather where span.untilMs > now && (span.party == node || span.party < 0) {
      let isHit = roll(1000) < span.permille
      guard isHit else { continue }
      switch span.kind {
      case .lose, .cut: copies = 0
      case .duplicate: copies = max(copies, 2) * min(copies, 1)
      default: delay += roll(1000)
      }
    }
    for _ in 0..<copies {
      queue.push(event, at: now + delay)
      delay += roll(300)
    }
  }

  func wake(_ node: Int, _ life: Int, afterMs: UInt64) {
    queue.push(.wake(node: node, life: life), at: now + afterMs)
  }

  // MARK: What parties report

  func announced(_ signed: SignedDescriptor, expected: Int) throws {
    try oracle.announce(signed)
    note(
      "server announced session \(signed.descriptor.sessionNumber) to \(expected) nodes, \(signed.sessionID.hex)"
    )
    hostileInputs = []
    let events = plan.filter { $0.attempt == attempts && attempts < setup.rounds }
    attempts += 1
    for event in events where !event.kind.isByServer { queue.push(.fault(event), at: now + event.offsetMs) }
    let attacks = events.filter(\.kind.isByServer)
    for event in attacks {
      counts[event.kind, default: 0] += 1
      note("FAULT \(event.sentence)")
    }
    if let task = server?.task { malice.begin(attacks, signed, task) }
  }

  func joined(_ node: SimulatedNode, _ signed: SignedDescriptor) throws {
    try oracle.join(node.index, signed)
    let age = node.mirror.checkpointAge(nowMs: Int64(node.now)) ?? .max
    try oracle.require(
      age <= 60, "fresh checkpoints", "node \(node.index) joined on a checkpoint \(age) seconds old")
    note("node \(node.index) joined session \(signed.descriptor.sessionNumber)")
  }

  /// An input is in the sum.
  func taken(_ index: Int, _ session: Digest) throws {
    if let node = nodes[index] { try oracle.readDebits(node: index, node.budgets) }
    try oracle.take(index, session, isHostile: hostileInputs.contains(index))
    note("server took the input of node \(index)")
    guard let node = nodes[index], let live = node.session, live.signed.sessionID == session else { return }
    for subject in live.batch?.subjects ?? [] {
      let uses = try node.vault.sessions(of: subject.subjectID)
      try oracle.require(
        uses.contains(session), "uses are recorded",
        "the vault of node \(index) does not know that \(subject.subjectID) is used")
    }
    let signed = try SignedCheckpoint.verify(live.signed.descriptor.checkpoint, federation.verifiers)
      .checkpoint
    let root = signed.size <= node.mirror.size ? try node.mirror.root(size: signed.size) : nil
    try oracle.require(
      root == signed.root, "one log for all",
      "node \(index) is in a session bound to \(signed.size) entries of a log that it has not seen")
  }

  func released(_ sum: ReleasedSum, _ integers: [Int64]) throws {
    if let server { try oracle.readDebits(server: server.budgets) }
    try oracle.release(
      integers, sum, survivors: sum.survivors.compactMap { index(of: $0) }, hostile: hostileInputs)
  }

  /// The end of a session is on disk.
  func stored(_ number: UInt64) { oracle.store(number) }

  func sessionEnded(_ number: UInt64, completed isCompleted: Bool) {
    if isCompleted {
      completed += 1
      if isHealed { completedSinceHealing += 1 }
    }
  }

  // MARK: Copies that planted mistakes go back to

  func keepLedgerCopy() throws {
    let path = base + "/kept-ledger"
    try? FileManager.default.removeItem(atPath: path)
    try SimulatedDisk.copy(serverDisk.directory, to: path)
  }

  func keepBudgetCopy() throws {
    let path = base + "/kept-budget"
    try? FileManager.default.removeItem(atPath: path)
    try SimulatedDisk.copy(serverDisk.directory, to: path)
  }

  func refund() throws {
    guard let server else { return }
    let path = base + "/kept-budget"
    guard FileManager.default.fileExists(atPath: path + "/budget.sqlite") else { return }
    server.budgets = try BudgetBook(path: path + "/budget.sqlite")
    try oracle.readDebits(server: server.budgets)
  }
}
