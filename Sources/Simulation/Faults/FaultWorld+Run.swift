import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import MerkleLog
import Storage

/// The loop of a run, crashes and restarts.
extension FaultWorld {
  private static let beatMs: UInt64 = 100
  private static let retryMs: UInt64 = 700
  /// How long a session may take to come about while things go wrong, and how long one may take to complete
  /// once nothing does.
  private static let patienceMs: UInt64 = 300_000
  private static let healedPatienceMs: UInt64 = 240_000

  /// Sets everything up and runs to the end; throws `FaultViolation` when a law is broken.
  func run() async throws {
    try begin()
    var lastAttempts = 0
    var deadline = Self.patienceMs
    while !hasEnded, let (time, event) = queue.pop() {
      now = max(now, time)
      try await dispatch(event)
      if attempts != lastAttempts {
        lastAttempts = attempts
        deadline = now + Self.patienceMs
      }
      if let healedAtMs {
        try requireLive(
          now < healedAtMs + Self.healedPatienceMs,
          "no session completed within \(Self.healedPatienceMs / 1000) s after the last fault")
      } else {
        try requireLive(now < deadline, "no session began for \(Self.patienceMs / 1000) s")
        if attempts >= setup.rounds, server != nil, server?.current == nil, faultsAreOver { try heal() }
      }
      if completedSinceHealing > 0, server?.current == nil { hasEnded = true }
    }
    try finish()
  }

  /// Something has to come about, unless too few are left who may believe the log: whoever holds two histories
  /// signed by the log's own keys takes part in nothing any more.
  private func requireLive(_ isLive: Bool, _ detail: String) throws {
    guard !isLive, !hasEnded else { return }
    let believing = nodes.filter { $0?.mirror.doubt == nil && $0?.index != malice.forkedNode }.count
    let hasProof = try nodes.contains { try $0?.mirror.evidenceOfFork() != nil }
    guard hasProof, believing < federation.minimumCohort else {
      return try oracle.require(false, "liveness", detail)
    }
    note("the server has forked its log, and too many nodes hold the proof: nothing goes on")
    hasEnded = true
  }

  /// Whoever stopped believing for good holds two signed notes of which one is not of the server's log.
  private func requireProof(_ node: SimulatedNode) throws {
    guard let evidence = try node.mirror.evidenceOfFork() else { return }
    let law = "no false alarm"
    let begin = "\n\n\(federation.verifiers.origin)\n"
    guard let cut = evidence.range(of: begin, options: .backwards) else {
      throw FaultViolation(law: law, detail: "node \(node.index) holds no two notes")
    }
    let second = evidence[cut.lowerBound...].dropFirst(2)
    for text in [evidence[..<cut.lowerBound] + "\n", second] {
      let note = try SignedCheckpoint.verify(String(text), federation.verifiers)
      if !oracle.hasRoot(note.checkpoint) { return }
    }
    throw FaultViolation(
      law: law, detail: "node \(node.index) stopped believing, but both notes are the log's")
  }

  /// The last session's faults have happened.
  private var faultsAreOver: Bool {
    plan.filter { !$0.kind.isByServer && $0.attempt < attempts }.count
      <= counts.filter { !$0.key.isByServer }.values.reduce(0, +)
  }

  private func begin() throws {
    try startServer()
    guard let server else { return }
    let time = Int64(clock(of: -1))
    _ = try server.append(federation.beginning(timeMs: time))
    for index in 0..<federation.nodeCount {
      nodes.append(nil)
      nodeDisks.append(try SimulatedDisk(base: base + "/node-\(index)"))
      nodeLives.append(0)
      let node = try startNode(index)
      var statements: [EntryBody] = []
      let tags = try node.vault.tags(for: federation.customers(of: index), create: true)
      for customer in federation.customers(of: index) {
        guard let tag = tags[customer] else { continue }
        oracle.owners[tag] = customer
        statements.append(
          .consent(federation.event(.given, tag: tag, id: try freshEventID(), timeMs: time)))
      }
      _ = try server.append(SignedStatement.sign(statements, key: node.key))
    }
    try server.submitNextTask()
    for node in nodes { try node?.waitForSession() }
  }

  private func dispatch(_ event: Event) async throws {
    switch event {
    case .request(let call):
      guard let server else { return }
      try serverStep { try server.receive(call) }
    case .reply(let id, let index, let kind, let answer):
      guard let node = nodes[index] else { return }
      do { try await node.receive(id, kind, answer) } catch is SimulatedCrash { try crashNode(index) }
    case .beat(let life):
      guard life == serverLife, let server else { return }
      queue.push(.beat(life: life), at: now + Self.beatMs)
      try serverStep { try server.tick() }
    case .retry(let index, let life):
      guard let node = nodes[index], node.life == life else { return }
      queue.push(.retry(node: index, life: life), at: now + Self.retryMs)
      try nodeStep(index) { try retry(node) }
    case .wake(let index, let life):
      guard let node = nodes[index], node.life == life, node.session == nil, node.call == nil else { return }
      try nodeStep(index) { try node.waitForSession() }
    case .fault(let event): try strike(event)
    case .restart(let party):
      if party < 0 { try restartServer() } else { try restartNode(party) }
    }
  }

  /// Requests that were lost are sent again, and an idle node follows the log.
  private func retry(_ node: SimulatedNode) throws {
    if let call = node.call, call.kind != .invitation || roll(4) == 0 { node.call = try node.sendAgain(call) }
    if let open = node.appending?.call { node.appending?.call = try node.sendAgain(open) }
    if let open = node.synchronising {
      node.synchronising = try node.sendAgain(open)
    } else if node.session == nil, roll(4) == 0 {
      try node.synchronise()
    }
  }

  private func serverStep(_ body: () throws -> Void) throws {
    do { try body() } catch is SimulatedCrash { try crashServer() } catch let error as LedgerError {
      // What the deployed server does after a commit whose outcome is open: it stops and reloads.
      guard case .commitUncertain = error else { throw error }
      try crashServer()
    }
  }

  private func nodeStep(_ index: Int, _ body: () throws -> Void) throws {
    do { try body() } catch is SimulatedCrash { try crashNode(index) }
  }

  // MARK: Lives

  private func startServer() throws {
    let server = try SimulatedServer(world: self, disk: serverDisk, rows: serverRows)
    self.server = server
    serverLife += 1
    queue.push(.beat(life: serverLife), at: now + 1)
  }

  @discardableResult
  private func startNode(_ index: Int) throws -> SimulatedNode {
    nodeLives[index] += 1
    let node = try SimulatedNode(
      world: self, index: index, disk: nodeDisks[index], lastSession: lastSessions[index] ?? 0,
      life: nodeLives[index])
    nodes[index] = node
    queue.push(.retry(node: index, life: node.life), at: now + 100 + roll(500))
    return node
  }

  func crashServer(afterMs: UInt64? = nil, isPowerLoss: Bool = false) throws {
    guard let server else { return }
    note("server is down")
    restarts += 1
    serverRows = server.rows
    self.server = nil
    serverLife += 1
    queue.push(.restart(party: -1), at: now + (afterMs ?? 50 + roll(800)))
  }

  private func restartServer() throws {
    guard server == nil else { return }
    try serverDisk.restart()
    note("server starts again")
    do {
      try startServer()
      guard let server else { return }
      try oracle.reread(server.ledger)
      try oracle.follow(server.ledger)
      try oracle.requireAcknowledged(server.ledger)
      try oracle.readDebits(server: server.budgets)
      try server.recover()
    } catch is SimulatedCrash { try crashServer() } catch let error as LedgerError {
      switch error {
      case .commitUncertain: try crashServer()
      default: throw FaultViolation(law: "a crash leaves files that open", detail: "the ledger: \(error)")
      }
    }
  }

  func crashNode(_ index: Int, afterMs: UInt64? = nil) throws {
    guard let node = nodes[index] else { return }
    note("node \(index) is down")
    restarts += 1
    let sender = node.key.verifyingKey
    nodes[index] = nil
    // Its connections close.
    server?.waiting.removeAll { $0.request.sender == sender }
    queue.push(.restart(party: index), at: now + (afterMs ?? 50 + roll(800)))
  }

  private func restartNode(_ index: Int) throws {
    guard nodes[index] == nil else { return }
    try nodeDisks[index].restart()
    note("node \(index) starts again")
    do {
      let node = try startNode(index)
      try oracle.readDebits(node: index, node.budgets)
      try node.waitForSession()
    } catch is SimulatedCrash { try crashNode(index) } catch let error as LedgerError {
      throw FaultViolation(law: "a crash leaves files that open", detail: "node \(index): \(error)")
    }
  }

  // MARK: Healing and the end

  /// Nothing goes wrong from here on.
  private func heal() throws {
    note("all faults are over")
    healedAtMs = now
    weather = []
    malice.end()
    skewMs = skewMs.map { _ in 0 }
    serverDisk.armed = nil
    for disk in nodeDisks { disk.armed = nil }
    for node in nodes { node?.malice = [] }
    server?.notBefore = 0
  }

  private func finish() throws {
    guard let server else { return }
    try oracle.follow(server.ledger)
    try oracle.requireAcknowledged(server.ledger)
    try oracle.requireRecords(server.rows, server.ledger)
    for node in nodes.compactMap(\.self) { try requireProof(node) }
    for node in nodes {
      guard let node, let held = node.mirror.checkpoint?.checkpoint, node.mirror.doubt == nil,
        node.index != malice.forkedNode
      else { continue }
      try oracle.requireView(node.index, held)
    }
    let path = serverDisk.directory
    try server.ledger.close()
    let report = LedgerVerifier.verify(directory: path, pinned: federation.verifiers, cores: 1)
    try oracle.require(
      report.firstProblem == nil, "append-only",
      "the verifier says: \(report.firstProblem.map { "\($0)" } ?? "")")
  }
}
