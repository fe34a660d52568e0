import ArgumentParser
import AsyncHTTPClient
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import NIOCore
import NIOHTTP1
import Privacy
import Storage

/// `accord bench withdrawals`
struct WithdrawalBench: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "withdrawals", abstract: "Measure how fast a withdrawal denies at every node.",
    discussion: """
      Starts a server and nodes as processes of their own. Customers agree and then withdraw, one by one, through
      the consent API of the first node. What is measured at each node is the time from the ledger's taking the
      withdrawal (before its acknowledgement) to the moment from which the node's gate denies.

      Example:
        accord bench withdrawals --nodes 3 --count 1000 --json
      """)
  @Option(help: "Nodes.") var nodes = 3
  @Option(help: "Withdrawals.") var count = 1_000
  @Option(help: "Withdrawals at the same time.") var concurrent = 4
  @Flag(help: "Print JSON.") var json = false

  struct Report: Codable {
    struct Node: Codable {
      let name: String
      let denials: Int
      let p50Ms: Int64
      let p99Ms: Int64
      let maxMs: Int64
    }
    let withdrawals: Int
    /// From the request to the acknowledgement with its receipt.
    let acknowledgedP50Ms: Double
    let acknowledgedP99Ms: Double
    let limitMs: Int64
    let violations: Int
    let nodes: [Node]
  }

  func validate() throws {
    guard (1...64).contains(nodes), (1...100_000).contains(count), (1...64).contains(concurrent) else {
      throw ValidationError("--nodes and --concurrent must be from 1 to 64, --count from 1 to 100000")
    }
  }

  func run() async throws {
    let directory =
      FileManager.default.temporaryDirectory.appendingPathComponent("accord-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    let federation = BenchFederation(directory: directory, count: nodes)
    let result: Result<Report, any Error>
    do { result = .success(try await measure(federation)) } catch { result = .failure(error) }
    await federation.stop()
    try? FileManager.default.removeItem(atPath: directory)
    let report = try result.get()
    if json { return try Console.writeJSON(report) }
    Console.write(
      String(
        format: "%d withdrawals acknowledged in p50 %.1f ms, p99 %.1f ms", report.withdrawals,
        report.acknowledgedP50Ms, report.acknowledgedP99Ms))
    for node in report.nodes {
      Console.write(
        "  \(node.name): \(node.denials) denials, p50 \(node.p50Ms) ms, p99 \(node.p99Ms) ms, "
          + "max \(node.maxMs) ms")
    }
    Console.write("\(report.violations) over the limit of \(report.limitMs) ms")
  }

  private func measure(_ federation: BenchFederation) async throws -> Report {
    let policy = try await federation.start()
    let subjects = (0..<count).map { "customer-\($0)" }
    try await federation.agree(subjects)
    let (url, token) = try await federation.startNodes()
    let waits = try await withdraw(subjects, url: url, token: token)
    // Everybody has heard of the last one once each copy is as long as the log.
    var reports: [Report.Node] = []
    let limit = Int64(policy.limits.withdrawalSeconds) * 1000
    var violations = 0
    for index in 0..<nodes {
      let latencies = try await federation.latencies(node: index, expected: count)
      violations += latencies.filter { $0 > limit }.count
      reports.append(
        Report.Node(
          name: "node-\(index + 1)", denials: latencies.count, p50Ms: Self.quantile(latencies, 0.5),
          p99Ms: Self.quantile(latencies, 0.99), maxMs: latencies.last ?? 0))
    }
    let sorted = waits.sorted()
    return Report(
      withdrawals: count, acknowledgedP50Ms: sorted[sorted.count / 2],
      acknowledgedP99Ms: sorted[min(sorted.count - 1, sorted.count * 99 / 100)], limitMs: limit,
      violations: violations, nodes: reports)
  }

  private static func quantile(_ sorted: [Int64], _ fraction: Double) -> Int64 {
    sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * fraction))]
  }

  /// Posts every withdrawal; milliseconds from each request to its answer.
  private func withdraw(_ subjects: [String], url: String, token: String) async throws -> [Double] {
    let lanes = concurrent
    return try await withThrowingTaskGroup(of: [Double].self) { group in
      for lane in 0..<lanes {
        group.addTask {
          var waits: [Double] = []
          for index in stride(from: lane, to: subjects.count, by: lanes) {
            let started = DispatchTime.now().uptimeNanoseconds
            try await Self.post(subjects[index], url: url, token: token)
            waits.append(Double(DispatchTime.now().uptimeNanoseconds - started) / 1e6)
          }
          return waits
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }

  private static func post(_ subject: String, url: String, token: String) async throws {
    var request = HTTPClientRequest(url: url)
    request.method = .POST
    request.headers.add(name: "Authorization", value: "Bearer \(token)")
    let body = ["subject": subject, "purpose": DemoPlan.purpose, "state": "withdrawn", "jurisdiction": "DE"]
    request.body = .bytes(ByteBuffer(bytes: try JSONEncoder().encode(body)))
    let response = try await HTTPClient.shared.execute(request, timeout: .seconds(30))
    guard response.status == .created else {
      let text = String(buffer: try await response.body.collect(upTo: 65_536))
      throw CommandFailure("the consent API answered \(response.status.code): \(text)")
    }
    _ = try await response.body.collect(upTo: 1 << 20)
  }
}

/// A server and nodes for a measurement, as processes of their own.
final class BenchFederation {
  private let directory: String
  private let count: Int
  private var processes: [ChildProcess] = []
  private var trust: [UInt8] = []

  init(directory: String, count: Int) {
    self.directory = directory
    self.count = count
  }

  private func path(_ index: Int) -> String { "\(directory)/node-\(index + 1)" }

  /// Starts the server, has officers agree on the policy, and enrols the nodes.
  func start() async throws -> Policy {
    let operatorKey = try KeyFile.create(directory + "/operator.key")
    let server = try ChildProcess(
      "the server",
      arguments: [
        "server", "run", "--data", directory + "/server", "--host", "127.0.0.1", "--port", "0",
        "--federation", "bench.accord.example/consent", "--operator-key", operatorKey.verifyingKey.hex,
        "--log-level", "warning",
      ], logPath: directory + "/server.log")
    processes.append(server)
    try await wait("the server to start") { DurableFile.exists(self.directory + "/server/trust.json") }
    trust = try readFile(directory + "/server/trust.json")
    let bundle = try TrustBundle.decode(trust, source: directory + "/server/trust.json")
    let policy = try await DemoPolicy.agree(trust: bundle, operatorKey: operatorKey, directory: directory)
    for index in 0..<count {
      try await Enrolment.enrol(
        path: path(index), name: "node-\(index + 1)", trust: trust,
        policy: NodePolicy(
          purposes: [DemoPlan.purpose], budget: PrivacyBudget(epsilon: 8, delta: 1e-5), canarySeconds: 0),
        operatorKey: operatorKey)
    }
    return policy
  }

  /// Records everybody's consent at the first node.
  func agree(_ subjects: [String]) async throws {
    let now = Int64(nowMilliseconds())
    _ = try await Recording.record(
      subjects.map { .init(subject: $0, state: .given, timeMs: now) }, node: path(0),
      circumstances: DemoPolicy.circumstances)
  }

  /// Starts the nodes; the first serves the consent API.
  func startNodes() async throws -> (url: String, token: String) {
    for index in 0..<count {
      processes.append(
        try ChildProcess(
          "node-\(index + 1)",
          arguments: ["node", "run", "--data", path(index), "--log-level", "warning"]
            + (index == 0 ? ["--consent-port", "0"] : []), logPath: "\(directory)/node-\(index + 1).log"))
    }
    let log = try LedgerFileReader(directory: directory + "/server").size
    for index in 0..<count {
      try await wait("node-\(index + 1) to follow the ledger") {
        (try? LedgerFileReader(directory: self.path(index)).size) ?? 0 >= log
      }
    }
    try await wait("the consent API") { self.status(0)?.consentURL != nil }
    let token = String(decoding: try readFile(path(0) + "/consent-api.token"), as: UTF8.self)
    return (status(0)?.consentURL ?? "", token.trimmingCharacters(in: .whitespacesAndNewlines))
  }

  /// Milliseconds from recording to denial of every withdrawal, ascending.
  func latencies(node index: Int, expected: Int) async throws -> [Int64] {
    try await wait("node-\(index + 1) to hear of every withdrawal") {
      try LedgerMirror.enforcements(directory: self.path(index)).count >= expected
    }
    return try LedgerMirror.enforcements(directory: path(index))
      .map { max(0, $0.enforcedMs - $0.recordedMs) }.sorted()
  }

  func stop() async {
    for process in processes.reversed() { await process.stop() }
  }

  private func status(_ index: Int) -> NodeStatus? {
    guard let data = try? readFile(path(index) + "/status.json") else { return nil }
    return try? JSONDecoder().decode(NodeStatus.self, from: Data(data))
  }

  private func wait(_ what: String, until condition: () throws -> Bool) async throws {
    for _ in 0..<1200 {
      for process in processes where !process.isRunning {
        throw CommandFailure("\(process.name) stopped: \(process.lastLine)")
      }
      if try condition() { return }
      try await Task.sleep(for: .milliseconds(50))
    }
    throw CommandFailure("waited for \(what) for a minute; see \(directory)")
  }
}
