import AggregationServer
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import Learning
import Privacy
import Simulation
import Storage

@testable import accord

/// A small federation of real processes on loopback, in a directory that is removed afterwards.
final class TestFederation {
  static let circumstances = DemoPolicy.circumstances
  let directory: String
  let data: RetailData
  let operatorKey: SigningKey
  private(set) var trust: [UInt8] = []
  private(set) var server: ChildProcess?
  private(set) var nodes: [ChildProcess] = []

  var serverPath: String { directory + "/server" }
  func nodePath(_ index: Int) -> String { "\(directory)/node-\(index + 1)" }

  init(stores: Int = 4, customers: Int = 40, seed: UInt64 = 7) throws {
    directory =
      FileManager.default.temporaryDirectory.appendingPathComponent("accord-test-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    data = try RetailGenerator(seed: seed, stores: stores, customersPerStore: customers).generate()
    operatorKey = try KeyFile.create(directory + "/operator.key")
  }

  /// Starts the server; after the first time on the port that it remembered.
  func startServer() async throws {
    try? FileManager.default.removeItem(atPath: serverPath + "/trust.json")
    var arguments = ["server", "run", "--data", serverPath, "--gather-ms", "300"]
    if trust.isEmpty {
      arguments += [
        "--federation", "test.example/consent", "--operator-key", operatorKey.verifyingKey.hex, "--port", "0",
      ]
    }
    let process = try ChildProcess("the server", arguments: arguments, logPath: directory + "/server.log")
    server = process
    for _ in 0..<400 {
      guard process.isRunning else { throw CommandFailure("the server did not start: \(process.lastLine)") }
      if DurableFile.exists(serverPath + "/trust.json") {
        let isFirst = trust.isEmpty
        trust = try readFile(serverPath + "/trust.json")
        if isFirst {
          _ = try await DemoPolicy.agree(
            trust: try TrustBundle.decode(trust, source: serverPath), operatorKey: operatorKey,
            directory: directory)
        }
        return
      }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw CommandFailure("the server did not start in time")
  }

  /// Enrols every node, fills its store, records consent of everybody but the last customer of each store.
  /// Returns the number of acknowledged consent events.
  func setUpNodes(budget: PrivacyBudget = PrivacyBudget(epsilon: 8, delta: 1e-5)) async throws -> Int {
    var acknowledged = 0
    for index in data.shares.indices {
      let policy = NodePolicy(purposes: ["churn"], budget: budget, minimumCohort: 3)
      try await Enrolment.enrol(
        path: nodePath(index), name: "node-\(index + 1)", trust: trust, policy: policy,
        operatorKey: operatorKey)
      let share = data.shares[index]
      do {
        let store = try LocalStore(try DataDirectory(nodePath(index), kind: .node))
        try store.replace(
          schema: data.schema,
          records: share.records.map {
            StoredRecord(subject: $0.subject, values: $0.values, label: $0.label, isHeldOut: $0.isHeldOut)
          })
      }
      let subjects = Set(share.records.map(\.subject)).sorted().dropLast()
      acknowledged += try await record(.given, Array(subjects), node: index).count
    }
    return acknowledged
  }

  /// Records a state for subjects of a node; returns the acknowledgements.
  func record(
    _ state: ConsentState, _ subjects: [String], node index: Int
  ) async throws -> [ConsentRecorder.Receipt] {
    let now = Int64(nowMilliseconds())
    return try await Recording.record(
      subjects.map { ConsentRecorder.Entry(subject: $0, state: state, timeMs: now) }, node: nodePath(index),
      circumstances: Self.circumstances)
  }

  func startNode(_ index: Int, _ extra: [String] = []) throws {
    let process = try ChildProcess(
      "node-\(index + 1)", arguments: ["node", "run", "--data", nodePath(index)] + extra,
      logPath: "\(directory)/node-\(index + 1).log")
    if index < nodes.count { nodes[index] = process } else { nodes.append(process) }
  }

  func startNodes() throws { for index in data.shares.indices { try startNode(index) } }

  func task(id: String = "test", rounds: Int, epsilon: Double = 8) -> TaskSpecification {
    let defaults = TrainingDefaults.standard
    let budget = PrivacyBudget(epsilon: epsilon, delta: 1e-5)
    return TaskSpecification(
      id: id, purpose: "churn", schema: data.schema, architecture: .logisticRegression, algorithm: .fedSGD,
      optimizer: defaults.optimizer, rounds: rounds, clipNorm: 4, quantileBins: 4, evaluationBins: 8,
      statisticsShare: 0.1, finalEvaluationShare: 0.4, trainingBudget: budget, evaluationBudget: budget,
      minimumCohort: 3, minimumSurvivors: 3, dropoutPermille: 250, stepDeadlineMilliseconds: 2000,
      trainingDeadlineMilliseconds: 20_000)
  }

  func submit(_ task: TaskSpecification) async throws { try await submit(.training(task)) }

  func submit(_ task: FederationTask) async throws {
    _ = try await Operator.submit(task, trust: trust, key: operatorKey)
  }

  /// Polls the status until `condition` holds or the time is over. An unreachable server is waited for.
  func wait(
    seconds: Double = 60, until condition: (FederationStatus) throws -> Bool
  ) async throws -> FederationStatus {
    let end = Date().addingTimeInterval(seconds)
    while Date() < end {
      if let status = try? await Operator.status(trust: trust), try condition(status) { return status }
      try await Task.sleep(for: .milliseconds(30))
    }
    throw CommandFailure("the federation did not get there within \(seconds) s; see \(directory)")
  }

  /// Stops everything and removes the directory.
  func tearDown() async {
    for node in nodes { await node.stop() }
    await server?.stop()
    try? FileManager.default.removeItem(atPath: directory)
  }
}

/// Runs a test with a federation that is torn down whatever happens.
func withFederation(
  stores: Int = 4, customers: Int = 40, _ body: (TestFederation) async throws -> Void
) async throws {
  let federation = try TestFederation(stores: stores, customers: customers)
  do {
    try await body(federation)
  } catch {
    await federation.tearDown()
    throw error
  }
  await federation.tearDown()
}
