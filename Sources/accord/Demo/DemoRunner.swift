import AggregationServer
import ConsentLedger
import Consent
import Cryptography
import EdgeNode
import Federation
import Learning
import Foundation
import Privacy
import Simulation
import Storage

/// Runs a demo: sets a federation up as an operator would, watches it, and examines what it left behind.
final class DemoRunner {
  private let plan: DemoPlan
  private let directory: String
  private let progress: DemoProgress
  private var server: ChildProcess?
  private var nodes: [ChildProcess] = []
  /// Where in the ledger each withdrawal stands.
  private var withdrawals: [String: UInt64] = [:]
  private var drop: DemoReport.DropReport?

  init(plan: DemoPlan, directory: String, progress: DemoProgress) {
    self.plan = plan
    self.directory = directory
    self.progress = progress
  }

  private var serverPath: String { directory + "/server" }
  private func nodePath(_ index: Int) -> String { "\(directory)/node-\(index + 1)" }
  private func logPath(_ name: String) -> String { "\(directory)/\(name).log" }

  /// Runs everything; no process outlives it.
  func run() async throws -> DemoReport {
    let result: Result<FederationStatus.Task, any Error>
    do { result = .success(try await federation()) } catch { result = .failure(error) }
    await withTaskGroup(of: Void.self) { group in
      for node in nodes { group.addTask { await node.stop() } }
    }
    await server?.stop()
    let task = try result.get()
    progress.say("verifying the ledger and the nodes' records …")
    return try examine(task)
  }

  // MARK: Setting up

  private func federation() async throws -> FederationStatus.Task {
    let records = plan.source.shares.reduce(0) { $0 + $1.records.count }
    progress.say(
      "\(plan.source.name): \(records) records on \(plan.source.shares.count) nodes; working in \(directory)")
    for note in plan.source.notes { progress.say("note: \(note)") }
    let operatorKey = try KeyFile.create(directory + "/operator.key")
    let trust = try await startServer(operatorKey)
    let bundle = try TrustBundle.decode(trust, source: serverPath + "/trust.json")
    let client = try FederationClient(trust: bundle, clock: nowMilliseconds)
    do {
      let policy = try await DemoPolicy.agree(
        trust: bundle, operatorKey: operatorKey, directory: directory)
      progress.say("policy \(policy.id) version \(policy.version): proposed by anna, approved by ben")
      progress.say("enrolling nodes and recording the consent of every customer …")
      for index in plan.source.shares.indices {
        try await setUp(node: index, trust: trust, operatorKey: operatorKey)
        try DemoPolicy.storeNotices(NodeFiles(sharing: nodePath(index)).openVault(), policy)
      }
      for index in plan.source.shares.indices {
        nodes.append(try startNode(index, drill: index < plan.drop))
      }
      _ = try await Operator.submit(.training(plan.task()), trust: trust, key: operatorKey)
      let task = try await watch(client)
      await client.shutdown()
      return task
    } catch {
      await client.shutdown()
      throw error
    }
  }

  private func startServer(_ operatorKey: SigningKey) async throws -> [UInt8] {
    let process = try ChildProcess(
      "the server",
      arguments: [
        "server", "run", "--data", serverPath, "--host", "127.0.0.1", "--port", "0", "--federation",
        "demo.accord.example/consent", "--operator-key", operatorKey.verifyingKey.hex, "--gather-ms", "500",
      ], logPath: logPath("server"))
    server = process
    for _ in 0..<200 {
      guard process.isRunning else { throw CommandFailure("the server did not start: \(process.lastLine)") }
      if DurableFile.exists(serverPath + "/trust.json") { return try readFile(serverPath + "/trust.json") }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw CommandFailure("the server did not start within 10 s; see \(logPath("server"))")
  }

  /// Enrols a node, fills its store, and records what its customers decided.
  private func setUp(node index: Int, trust: [UInt8], operatorKey: SigningKey) async throws {
    let path = nodePath(index)
    try await Enrolment.enrol(
      path: path, name: "node-\(index + 1)", trust: trust, policy: plan.policy(), operatorKey: operatorKey)
    let share = plan.source.shares[index]
    do {
      let store = try LocalStore(try DataDirectory(path, kind: .node))
      try store.replace(
        schema: plan.source.schema,
        records: share.records.map {
          StoredRecord(subject: $0.subject, values: $0.values, label: $0.label, isHeldOut: $0.isHeldOut)
        })
    }
    let now = Int64(nowMilliseconds())
    var entries: [ConsentRecorder.Entry] = []
    for subject in subjects(of: index) {
      switch plan.consent.intents[subject] {
      case .gives, .givesThenWithdraws:
        entries.append(ConsentRecorder.Entry(subject: subject, state: .given, timeMs: now))
      case .refuses: entries.append(ConsentRecorder.Entry(subject: subject, state: .refused, timeMs: now))
      case .neverAnswers, nil: break
      }
    }
    _ = try await Recording.record(entries, node: path, circumstances: DemoPolicy.circumstances)
  }

  private func subjects(of index: Int) -> [String] {
    Set(plan.source.shares[index].records.map(\.subject)).sorted()
  }

  private func startNode(_ index: Int, drill: Bool) throws -> ChildProcess {
    var arguments = ["node", "run", "--data", nodePath(index)]
    if drill { arguments += ["--drill", "upload:\(DemoPlan.dropRound)"] }
    if plan.drop > 0 { arguments.append("--keep-inputs") }
    return try ChildProcess(
      "node-\(index + 1)", arguments: arguments, logPath: logPath("node-\(index + 1)"))
  }

  // MARK: Watching

  private func watch(_ client: FederationClient) async throws -> FederationStatus.Task {
    var isDropped = plan.drop == 0
    var isWithdrawn = plan.consent.subjects(.givesThenWithdraws).isEmpty
    var unreachable = 0
    while true {
      let status: FederationStatus
      do {
        status = try await Operator.status(client)
        unreachable = 0
      } catch {
        unreachable += 1
        guard let server, server.isRunning, unreachable < 50 else {
          throw CommandFailure("the server is gone: \(server?.lastLine ?? "")")
        }
        try await Task.sleep(for: .milliseconds(200))
        continue
      }
      progress.show(status)
      guard let task = status.tasks.last else { throw CommandFailure("the server lost the task") }
      if task.progress.status != .running { return task }
      if !isDropped { isDropped = try dropNodes(status) }
      if !isWithdrawn, task.progress.rounds.count >= plan.withdrawalRound {
        try await withdraw()
        isWithdrawn = true
      }
      for node in nodes where !node.isRunning {
        throw CommandFailure("\(node.name) stopped: \(node.lastLine)")
      }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// Kills the nodes that wait in their drill, once all of them do, and starts them again.
  private func dropNodes(_ status: FederationStatus) throws -> Bool {
    let victims = Array(0..<plan.drop)
    guard let session = status.session, session.round == DemoPlan.dropRound,
      victims.allSatisfy({ isPaused($0) })
    else { return false }
    for index in victims { nodes[index].kill() }
    progress.say(
      "killed \(victims.map { "node-\($0 + 1)" }.joined(separator: ", ")) in the middle of round \(session.round)"
    )
    drop = DemoReport.DropReport(
      round: session.round, session: session.number, killed: victims.map { "node-\($0 + 1)" },
      exactSumOfSurvivors: false)
    for index in victims { nodes[index] = try startNode(index, drill: false) }
    return true
  }

  private func isPaused(_ index: Int) -> Bool {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: nodePath(index) + "/status.json")),
      let status = try? JSONDecoder().decode(NodeStatus.self, from: data)
    else { return false }
    return status.activity == "paused before upload" && status.round == DemoPlan.dropRound
  }

  private func withdraw() async throws {
    var count = 0
    for index in plan.source.shares.indices {
      let leaving = subjects(of: index).filter { plan.consent.intents[$0] == .givesThenWithdraws }
      guard !leaving.isEmpty else { continue }
      let now = Int64(nowMilliseconds())
      let receipts = try await Recording.record(
        leaving.map { ConsentRecorder.Entry(subject: $0, state: .withdrawn, timeMs: now) },
        node: nodePath(index), circumstances: DemoPolicy.circumstances)
      for receipt in receipts { withdrawals[receipt.subject] = receipt.index }
      count += receipts.count
    }
    progress.say("\(count) customers withdrew; the ledger has acknowledged it")
  }

  // MARK: Examining

  private func examine(_ task: FederationStatus.Task) throws -> DemoReport {
    let inspection = try ServerInspection(directory: serverPath)
    let model = try inspection.newestModel(of: task.id)
    let ledger = LedgerVerifier.verify(directory: serverPath)
    if drop != nil { try examineDrop(task, inspection) }
    let specification = plan.task()
    let spent = task.spent
    let worst = spent.values.map(\.value).max() ?? 0
    let shares = plan.source.shares
    let heldOut = shares.reduce(0) { $0 + $1.heldOutSubjects.count }
    let everybody = plan.consent.intents.count
    return DemoReport(
      data: .init(
        name: plan.source.name, nodes: shares.count, records: shares.reduce(0) { $0 + $1.records.count },
        contributors: everybody, heldOut: heldOut),
      task: .init(
        id: task.id, status: task.progress.statusText, rounds: task.progress.rounds.count,
        sessionsAborted: task.progress.abortedSessions),
      rounds: task.progress.rounds,
      privacy: .init(
        epsilon: EpsilonValue(worst), delta: specification.trainingBudget.delta,
        unit: specification.unit.rawValue, neighbouringRelation: NeighbouringRelation.addRemove.rawValue,
        mechanism: specification.trainingBudget.epsilon.isFinite ? "Skellam" : "none",
        trustMode: TrustMode.distributed.rawValue, populations: spent,
        noiseFromNodes: specification.minimumSurvivors
          - specification.corruptPermille * shares.count / 1000),
      model: .init(
        sha256: Hash.sha256(model.bytes).hex, digest: task.model,
        parameters: model.artifact.parameters.count,
        features: model.artifact.model?.pipeline.featureCount ?? 0,
        architecture: specification.architecture.settings.summary),
      ledger: .init(
        size: ledger.size, root: ledger.root.hex, verified: ledger.verified,
        firstProblem: ledger.firstProblem),
      consent: .init(
        given: plan.consent.subjects(.gives).count, refused: plan.consent.subjects(.refuses).count,
        unanswered: plan.consent.subjects(.neverAnswers).count, withdrawn: withdrawals.count,
        usedAfterWithdrawal: try usedAfterWithdrawal(inspection), withdrawnAfterRound: plan.withdrawalRound),
      drop: drop)
  }

  /// Looks into every node's vault: whose records were used in a session that was bound to a checkpoint of
  /// the ledger with their withdrawal in it?
  private func usedAfterWithdrawal(_ inspection: ServerInspection) throws -> Int {
    let checkpoints = try inspection.checkpointSizes()
    var count = 0
    for index in plan.source.shares.indices {
      let vault = try NodeFiles(sharing: nodePath(index)).openVault()
      for subject in subjects(of: index) {
        guard let withdrawal = withdrawals[subject] else { continue }
        // A session without a record would be a hole in the evidence: it counts as a use.
        let uses = try vault.rounds(of: subject)
        if uses.contains(where: { checkpoints[$0.round, default: .max] > withdrawal }) { count += 1 }
      }
    }
    return count
  }

  /// Adds up what the survivors say they put in and compares with what the server released.
  private func examineDrop(_ task: FederationStatus.Task, _ inspection: ServerInspection) throws {
    guard var report = drop, let released = try inspection.sum(session: report.session) else { return }
    let killed = Set(report.killed)
    var sum = [UInt32](repeating: 0, count: released.words.count)
    var contributors = 0
    for index in plan.source.shares.indices where !killed.contains("node-\(index + 1)") {
      let path = "\(nodePath(index))/input-\(report.session).bin"
      guard DurableFile.exists(path) else { continue }
      let words = LittleEndian.words(try readFile(path))
      guard words.count == sum.count else { continue }
      for position in sum.indices { sum[position] &+= words[position] }
      contributors += 1
    }
    let round = task.progress.rounds.first { $0.session == report.session }
    let mask = UInt32.max >> UInt32(32 - released.ringBits)
    report.exactSumOfSurvivors =
      contributors == round?.participants && zip(sum, released.words).allSatisfy { $0 & mask == $1 }
    report.rejoinedInRound =
      task.progress.rounds.first {
        $0.round > report.round && $0.participants == plan.source.shares.count
      }?.round
    drop = report
  }
}
