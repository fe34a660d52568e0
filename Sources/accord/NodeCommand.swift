import ArgumentParser
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import Learning
import Privacy
import ServiceLifecycle
import Simulation
import Storage
import UnixSignals

/// `accord node …`
struct NodeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "node", abstract: "A store's node: local data, local training, local policy.",
    subcommands: [Enrol.self, Import.self, Run.self, Status.self])

  struct Enrol: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Make a node's keys, pin the federation, and enter the node in the ledger.",
      discussion: """
        The operator's signature is what admits a node; the server alone cannot invent one.

        Example:
          accord node enrol --data store-1 --name store-1 --trust server-data/trust.json \\
            --operator-key operator.key --purpose churn --epsilon 8
        """)
    @Option(help: "The node's data directory; made if it does not exist.") var data: String
    @Option(help: "The node's name for people.") var name: String
    @Option(help: "The federation's trust.json.") var trust: String
    @Option(help: "The operator's key file.") var operatorKey: String
    @Option(help: "Purposes that the node trains for.") var purpose: [String] = ["churn"]
    @Option(help: "Most that any customer of this node may spend, or inf.") var epsilon: String = "8"
    @Option(help: "Delta of the node's budget.") var delta: Double = 1e-5
    @Option(help: "Other nodes that must lately have seen the same ledger before this node trains.")
    var witnessQuorum = 0

    func run() async throws {
      let policy = NodePolicy(
        purposes: Set(purpose),
        budget: PrivacyBudget(epsilon: try parseEpsilon(epsilon), delta: delta),
        witnessQuorum: witnessQuorum > 0 ? witnessQuorum : nil)
      try await Enrolment.enrol(
        path: data, name: name, trust: readFile(trust), policy: policy,
        operatorKey: KeyFile.load(operatorKey))
      Console.write("\(name) is enrolled; run it with: accord node run --data \(data)")
    }
  }

  struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Replace the node's records by those of a CSV file (gzip allowed).",
      discussion: """
        Examples:
          accord node import --data store-1 customers.csv --label Churn --subject CustomerID
          accord node import --data store-1 receipts.csv --transactions repurchase.json --as-of 2024-03-31 \\
            --subject CustomerID --time SoldAt --amount Amount --basket Receipt --item SKU
        """)
    @Option(help: "The node's data directory.") var data: String
    @Argument(help: "The CSV file.") var file: String
    @OptionGroup var table: TableOptions
    @OptionGroup var transactions: TransactionOptions
    @Option(help: "Also write the schema of the records to this file, as a task has it.")
    var schemaOut: String?

    func run() throws {
      let directory = try DataDirectory(data, kind: .node, create: false)
      let (labelled, notes) = try transactions.read(file, table) ?? (table.read(file), [])
      let store = try LocalStore(directory)
      // Without a subject column, record 17 of another file is somebody else: consent must not carry over.
      let prefix = table.subject == nil ? Hash.sha256(try readFile(file)).hex.prefix(12) + "/" : ""
      try store.replace(
        schema: labelled.schema,
        records: labelled.records.map {
          StoredRecord(
            subject: prefix + $0.subject, values: $0.values, label: $0.label, isHeldOut: $0.isHeldOut)
        }, isLabelled: !table.unlabelled)
      if let schemaOut { try DurableFile.write(Array(Console.json(labelled.schema)), to: schemaOut) }
      let counts = try store.counts()
      Console.write("imported \(counts.records) records of \(counts.subjects) subjects")
      for note in notes + labelled.notes { Console.write("note: \(note)") }
    }
  }

  struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Run the node until it is told to stop (SIGTERM or Ctrl-C).",
      discussion: "Example:\n  accord node run --data store-1")
    @Option(help: "The node's data directory.") var data: String
    @Option(
      help: """
        For drills: stop before STEP of training round N and wait to be killed; STEP is advertise, shares, \
        upload, confirm or unmask. Form STEP:N.
        """)
    var drill: String?
    @Option(
      help: """
        Serve the shop's own systems on this port of --consent-host (0: any); they send the token of \
        consent-api.token.
        """)
    var consentPort: Int?
    @Option(help: "Address for --consent-port. Anything but this machine needs a TLS proxy in front.")
    var consentHost = "127.0.0.1"
    @Option(help: .hidden) var withParent: Int32?
    @Flag(help: "For drills: keep what this node put into each sum, noise included, in its directory.")
    var keepInputs = false
    @OptionGroup var logging: LogOptions

    func validate() throws {
      if let consentPort, !(0...65_535).contains(consentPort) {
        throw ValidationError("--consent-port must be from 0 to 65535")
      }
    }

    func run() async throws {
      ParentWatch.start(withParent)
      let daemon = try NodeDaemon(
        path: data, drill: try parsedDrill(), keepsInputs: keepInputs,
        consentAddress: consentPort.map { NodeDaemon.ConsentAddress(host: consentHost, port: $0) },
        logger: try logging.logger("accord.node"))
      try await runUntilSignal { try await daemon.run() }
    }

    private func parsedDrill() throws -> NodeDaemon.Drill? {
      guard let drill else { return nil }
      let parts = drill.split(separator: ":")
      guard parts.count == 2, let round = Int(parts[1]), round > 0,
        ["advertise", "shares", "upload", "confirm", "unmask"].contains(String(parts[0]))
      else { throw ValidationError("--drill has the form STEP:ROUND, for example upload:3") }
      return NodeDaemon.Drill(step: String(parts[0]), round: round)
    }
  }

  struct Status: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what a node on this machine is doing.",
      discussion: "Example:\n  accord node status --data store-1 --json")
    @Option(help: "The node's data directory.") var data: String
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      let path = data + "/status.json"
      guard DurableFile.exists(path) else {
        throw CommandFailure("\(path) does not exist: this node has never run, or --data is wrong")
      }
      let status = try JSONDecoder().decode(NodeStatus.self, from: Data(readFile(path)))
      if json { return try Console.writeJSON(status) }
      Console.write("node \(status.name), process \(status.processID): \(status.activity)")
      Console.write("session \(status.session), round \(status.round), \(status.completedSessions) completed")
      Console.write("verified ledger entries: \(status.ledgerSize)")
      if let doubt = status.ledgerDoubt { Console.write("the ledger is NOT believed: \(doubt)") }
      if let witnesses = status.witnesses { Console.write("witnesses that see the same: \(witnesses)") }
      if let canary = status.canary {
        Console.write(
          "canary for \(canary.purpose): "
            + (canary.alarm ?? "denied \(canary.deniedAfterMs ?? 0) ms after its withdrawal"))
      }
      if let url = status.consentURL { Console.write("consent API: \(url)") }
      if let problem = status.lastProblem { Console.write("last problem: \(problem)") }
    }
  }
}

/// Entering a node in a federation.
enum Enrolment {
  /// Makes the node's files and appends the operator's enrolment to the ledger.
  static func enrol(
    path: String, name: String, trust: [UInt8], policy: NodePolicy, operatorKey: SigningKey
  ) async throws {
    let files = try NodeFiles.create(path: path, name: name, trust: trust, policy: policy)
    let record = EnrolmentRecord(
      nodeKey: files.identity.verifyingKey, name: name, kind: .store, validFromMs: 0)
    _ = try await send([.enrolment(record)], trust: files.trust, key: operatorKey)
  }

  /// Appends what a person or the operator signs.
  static func send(
    _ bodies: [EntryBody], trust: TrustBundle, key: SigningKey
  ) async throws -> [LedgerSubmission.Proven] {
    let client = try FederationClient(trust: trust, clock: nowMilliseconds)
    return try await client.closing {
      try await LedgerSubmission.send(SignedStatement.sign(bodies, key: key), client: client, key: key)
    }
  }
}

/// Ends a process of the demo when the demo is gone, however it went.
enum ParentWatch {
  /// Looks twice a second whether the process still exists; nothing without a parent to watch.
  static func start(_ parent: Int32?) {
    guard let parent else { return }
    Task.detached {
      while kill(parent, 0) == 0 { try? await Task.sleep(for: .milliseconds(500)) }
      exit(0)
    }
  }
}

/// Columns of a table.
struct TableOptions: ParsableArguments {
  @Option(
    help: "Column with the outcome; two values, or numbers with --label-is number. Not with --transactions.")
  var label: String?
  @Flag(help: "There is no outcome: segments are to be learnt.") var unlabelled = false
  @Option(help: "binary, or number: an amount, or a class counted from 0.") var labelIs = "binary"
  @Option(help: "Column that names the customer; without it each record is its own contributor.")
  var subject: String?
  @Option(help: "File with the 0-based numbers of the held-out records.") var testRows: String?
  @Option(help: "Numeric columns to read as categories.") var categorical: [String] = []
  @Option(help: "Columns of words.") var text: [String] = []
  @Option(
    help: "Columns of dates; NAME=2024-01-01 says from which day days are counted, else from 2025-01-01.")
  var date: [String] = []
  @Option(help: "Those columns of dates whose hour matters.") var dateHours: [String] = []

  func validate() throws {
    guard TableData.LabelKind(rawValue: labelIs) != nil else {
      throw ValidationError("--label-is is binary or number, not “\(labelIs)”")
    }
  }

  func read(_ file: String, store: String? = nil) throws -> LabelledTable {
    guard (label != nil) != unlabelled else {
      throw CommandFailure(
        label == nil
          ? "--label is missing: the column with the outcome (or --transactions, or --unlabelled)"
          : "--label and --unlabelled exclude each other: leave one out")
    }
    let table = try TableReader.read(path: file)
    let rows = try testRows.map { try TableReader.readRowNumbers(path: $0, rowCount: table.rows.count) }
    return try LabelledTable(
      table, label: label, labelKind: TableData.LabelKind(rawValue: labelIs) ?? .binary, subject: subject,
      store: store, testRows: rows, categorical: Set(Self.list(categorical)), text: Set(Self.list(text)),
      dates: try dates())
  }

  /// The records that were made of transactions.
  func labelled(_ table: Table, _ records: TransactionRecords) throws -> LabelledTable {
    try LabelledTable(
      table, label: records.label, labelKind: .number, subject: records.columns.subject,
      categorical: Set(Self.list(categorical)), text: Set(Self.list(text)), dates: try dates(),
      transactions: records.settings)
  }

  /// The names in options that may be given several times or hold several with commas.
  static func list(_ options: [String]) -> [String] {
    options.flatMap { $0.split(separator: ",").map(String.init) }
  }

  private func dates() throws -> [DateColumn] {
    let hours = Set(Self.list(dateHours))
    let columns = try Self.list(date).map { option in
      let parts = option.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2 else {
        return DateColumn(name: option, settings: DateSettings(hour: hours.contains(option)))
      }
      guard let reference = CivilTime(iso8601: parts[1]) else {
        throw CommandFailure("--date \(option): write it as \(parts[0])=2024-01-01")
      }
      return DateColumn(
        name: parts[0], settings: DateSettings(reference: reference, hour: hours.contains(parts[0])))
    }
    if let name = hours.subtracting(columns.map(\.name)).min() {
      throw CommandFailure("--date-hours \(name): name the column with --date, too")
    }
    return columns
  }
}

/// Reads an epsilon: a positive number or `inf`.
func parseEpsilon(_ text: String) throws -> Double {
  if ["inf", "infinity"].contains(text.lowercased()) { return .infinity }
  guard let value = Double(text), value > 0, value.isFinite else {
    throw ValidationError("epsilon must be a positive number or inf, not “\(text)”")
  }
  return value
}

/// Runs until done or until SIGTERM or SIGINT, which cancel the work and end with success.
func runUntilSignal(_ body: @escaping @Sendable () async throws -> Void) async throws {
  try await withThrowingTaskGroup(of: Bool.self) { group in
    group.addTask {
      try await body()
      return true
    }
    group.addTask {
      for await _ in await UnixSignalsSequence(trapping: [.sigterm, .sigint]) { return false }
      return false
    }
    _ = try await group.next()
    group.cancelAll()
    // Cancellation of the work is what was asked for.
    while let result = await group.nextResult() {
      if case .failure(let error) = result, !(error is CancellationError) { throw error }
    }
  }
}
