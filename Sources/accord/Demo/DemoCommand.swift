import ArgumentParser
import Federation
import Foundation
import Learning
import Privacy
import Simulation

/// `accord demo`
struct DemoCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "A whole federation on this machine, end to end: server, ledger, stores, consent, training.",
    discussion: """
      Starts one server and several nodes as processes of their own, records consent (some refuse, some \
      never answer, some withdraw in the middle), trains, and verifies the ledger from its files. Without \
      --data a seeded generator fills the stores.

      Examples:
        accord demo
        accord demo --nodes 12 --rounds 60 --drop 2
        accord demo --data ecommerce_churn.csv --label Churn --subject CustomerID \\
          --test-rows test_rows_grouped.txt --nodes 8 --epsilon 8 --json out.json
        accord demo --data online_shoppers_intention.csv --label Revenue --test-rows test_rows.txt
      """)

  @Option(help: "CSV file to spread over the stores (gzip allowed).") var data: String?
  @Option(help: "Column with the outcome; two values.") var label: String?
  @Option(help: "Column that names the customer; without it each record is its own contributor.")
  var subject: String?
  @Option(help: "Column that names the store; without it customers are dealt by a seeded shuffle.")
  var store: String?
  @Option(help: "File with the 0-based numbers of the held-out records.") var testRows: String?
  @Option(help: "Numeric columns to read as categories, separated by commas.") var categorical: String?
  @Option(help: "Stores.") var nodes = 8
  @Option(help: "Training rounds; what the model needs without it, 40 for most.")
  var rounds: Int?
  @Option(help: "Privacy budget of each customer, or inf for no noise (everything else stays on).")
  var epsilon = "8"
  @Option(help: "Delta of the budget.") var delta = 1e-5
  @Option(help: "logistic, hidden sizes such as 64,32, or trees:NUMBER:DEPTH.") var model = "logistic"
  @Option(help: "fedsgd, or fedavg:EPOCHS:BATCH:RATE.") var algorithm = "fedsgd"
  @Option(help: "adam:RATE, momentum:RATE:BETA or sgd:RATE.") var optimizer: String?
  @Option(help: "L2 bound of a customer's update; 4 without it, and 1 for trees, whose vectors have no more.")
  var clip: Double?
  @Option(help: "Nodes to kill (SIGKILL) in the middle of a round; they come back afterwards.") var drop = 0
  @Option(help: "Fraction of customers who refuse.") var refuse = 0.10
  @Option(help: "Fraction of customers who never answer.") var unanswered = 0.06
  @Option(help: "Fraction of the consenting who withdraw in the middle of training.") var withdraw = 0.03
  @Option(help: "Seed of the generator, the split and the consent plan.") var seed: UInt64 = 1
  @Option(help: "Working directory; a new one in the system's temporary directory without it.")
  var dir: String?
  @Option(help: "Write the report as JSON to this file.") var json: String?
  @Flag(help: "Print only the final report.") var quiet = false

  func validate() throws {
    guard (3...50).contains(nodes) else { throw ValidationError("--nodes must be from 3 to 50") }
    let rounds = try usedRounds
    guard (1...1000).contains(rounds) else { throw ValidationError("--rounds must be from 1 to 1000") }
    if data != nil, label == nil { throw ValidationError("--data needs --label COLUMN") }
    if data == nil, label != nil || subject != nil || testRows != nil || store != nil {
      throw ValidationError("--label, --subject, --store and --test-rows describe --data FILE.csv")
    }
    let survivors = DemoPlan.minimumSurvivors(nodes)
    guard drop >= 0, nodes - drop >= survivors else {
      throw ValidationError(
        "with \(nodes) nodes at most \(nodes - survivors) can drop out of a round (\(survivors) must finish)")
    }
    guard drop == 0 || rounds >= 4 else { throw ValidationError("--drop needs at least 4 rounds") }
    for share in [refuse, unanswered, withdraw] where !(0...1).contains(share) {
      throw ValidationError("--refuse, --unanswered and --withdraw are fractions from 0 to 1")
    }
    let clip = try usedClip
    guard clip > 0, clip <= 1e6 else { throw ValidationError("--clip must be above 0 and at most 1e6") }
    guard delta > 0, delta < 0.5 else { throw ValidationError("--delta must be above 0 and below 0.5") }
    _ = try parseEpsilon(epsilon)
    _ = try parseModel()
    _ = try parseAlgorithm()
    _ = try parseOptimizer()
  }

  func run() async throws {
    let started = Date()
    let source = try loadData()
    let plan = DemoPlan(
      source: source, rounds: try usedRounds,
      budget: PrivacyBudget(epsilon: try parseEpsilon(epsilon), delta: delta),
      architecture: try parseModel(), algorithm: try parseAlgorithm(), optimizer: try parseOptimizer(),
      clip: try usedClip, drop: drop,
      consent: try consentPlan(
        subjects: source.shares.flatMap { $0.records.map(\.subject) }, seed: seed, refuse: refuse,
        unanswered: unanswered, withdraw: withdraw),
      seed: seed)
    let directory = try workingDirectory()
    let runner = DemoRunner(plan: plan, directory: directory, progress: DemoProgress(isQuiet: quiet))
    var report = try await runner.run()
    report.seconds = Date().timeIntervalSince(started)
    if let json {
      do { try Console.json(report).write(to: URL(fileURLWithPath: json)) } catch {
        throw CommandFailure(
          "the report could not be written to \(json): \((error as NSError).localizedDescription)")
      }
    }
    Console.write(report.text(directory: directory, json: json))
    guard report.ledger.verified else {
      throw CommandFailure("the ledger does not verify: \(report.ledger.firstProblem ?? "")")
    }
    guard report.consent.usedAfterWithdrawal == 0 else {
      throw CommandFailure("\(report.consent.usedAfterWithdrawal) customers were used after they withdrew")
    }
    guard report.task.status == "completed" else {
      throw CommandFailure("the task did not complete: \(report.task.status)")
    }
  }

  private func loadData() throws -> DemoSource {
    guard let data, let label else {
      let retail = try RetailGenerator(seed: seed, stores: nodes, customersPerStore: 500).generate()
      return DemoSource(
        name: "generated retail customers (seed \(seed))", schema: retail.schema, shares: retail.shares,
        unit: .customer, notes: [])
    }
    var options = TableOptions()
    options.label = label
    options.unlabelled = false
    options.subject = subject
    options.testRows = testRows
    options.categorical = categorical.map { [$0] } ?? []
    // Options that are not parsed have no defaults.
    options.labelIs = TableData.LabelKind.binary.rawValue
    options.text = []
    options.date = []
    options.dateHours = []
    let table = try options.read(data, store: store)
    return DemoSource(
      name: URL(fileURLWithPath: data).lastPathComponent, schema: table.schema,
      shares: try table.partition(over: nodes, seed: seed), unit: subject == nil ? .record : .customer,
      notes: table.notes)
  }

  private func workingDirectory() throws -> String {
    let path =
      dir
      ?? FileManager.default.temporaryDirectory
      .appendingPathComponent("accord-demo-\(ProcessInfo.processInfo.processIdentifier)").path
    let manager = FileManager.default
    if manager.fileExists(atPath: path), try !manager.contentsOfDirectory(atPath: path).isEmpty {
      throw CommandFailure("\(path) is not empty; choose another directory with --dir")
    }
    do {
      try manager.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    } catch {
      throw CommandFailure("cannot create \(path): \((error as NSError).localizedDescription)")
    }
    return path
  }

  private var usedRounds: Int {
    get throws { try rounds ?? parseModel().usualRounds ?? TrainingDefaults.standard.rounds }
  }

  private var usedClip: Double {
    get throws { try clip ?? parseModel().usualClipNorm ?? TrainingDefaults.standard.clipNormL2 }
  }

  private func parseModel() throws -> ModelArchitecture {
    if model == "logistic" { return .logisticRegression }
    if model.hasPrefix("trees:") { return try parseTrees() }
    let sizes = model.split(separator: ",").map { Int($0) }
    let architecture = ModelArchitecture.multiLayerPerceptron(hidden: sizes.compactMap { $0 })
    guard !sizes.contains(nil) else {
      throw ValidationError(
        "--model is “logistic”, hidden sizes such as 64,32, or trees:NUMBER:DEPTH, not “\(model)”")
    }
    do { try architecture.validate() } catch { throw ValidationError("--model: \(error)") }
    return architecture
  }

  private func parseTrees() throws -> ModelArchitecture {
    let numbers = model.split(separator: ":").dropFirst().map { Int($0) }
    guard numbers.count == 2, let trees = numbers[0], let depth = numbers[1] else {
      throw ValidationError("--model for trees is trees:NUMBER:DEPTH, such as trees:20:3, not “\(model)”")
    }
    let architecture = ModelArchitecture.boostedTrees(TreeSettings(trees: trees, maximumDepth: depth))
    do { try architecture.validate() } catch { throw ValidationError("--model: \(error)") }
    return architecture
  }

  private func parseAlgorithm() throws -> LocalAlgorithm {
    if algorithm == "fedsgd" { return .fedSGD }
    let parts = algorithm.split(separator: ":")
    guard parts.count == 4, parts[0] == "fedavg", let epochs = Int(parts[1]), let batch = Int(parts[2]),
      let rate = Float(parts[3])
    else { throw ValidationError("--algorithm is “fedsgd” or fedavg:EPOCHS:BATCH:RATE, not “\(algorithm)”") }
    let result = LocalAlgorithm.fedAvg(epochs: epochs, batchSize: batch, learningRate: rate)
    do { try result.validate() } catch { throw ValidationError("--algorithm: \(error)") }
    return result
  }

  private func parseOptimizer() throws -> ServerOptimizer.Kind {
    guard let optimizer else { return TrainingDefaults.standard.optimizer }
    let parts = optimizer.split(separator: ":").map(String.init)
    let numbers = parts.dropFirst().compactMap { Float($0) }
    let kind: ServerOptimizer.Kind
    switch (parts.first, numbers.count, parts.count) {
    case ("sgd", 1, 2): kind = .sgd(learningRate: numbers[0])
    case ("momentum", 2, 3): kind = .momentum(learningRate: numbers[0], beta: numbers[1])
    case ("adam", 1, 2):
      kind = .adam(learningRate: numbers[0], beta1: 0.9, beta2: 0.99, epsilon: 1e-8)
    default:
      throw ValidationError("--optimizer is adam:RATE, momentum:RATE:BETA or sgd:RATE, not “\(optimizer)”")
    }
    do { try kind.validate() } catch { throw ValidationError("--optimizer: \(error)") }
    return kind
  }
}
