import AggregationServer
import AsyncHTTPClient
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import GRDB
import Messages
import NIOCore
import NIOHTTP1
import NIOSSL
import Privacy
import Storage
import Testing

@testable import accord

/// Bad input is answered with one sentence and exit code 1, and nothing is damaged.
@Suite(.serialized) struct BadInputTests {
  private func temporary(_ name: String) throws -> String {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
      "accord-bad-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    return directory.appendingPathComponent(name).path
  }

  private func demo(_ text: String, label: String = "y", _ extra: [String] = []) async throws -> (
    Int32, String
  ) {
    let path = try temporary("table.csv")
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    let result = try await ChildProcess.runToEnd(["demo", "--data", path, "--label", label] + extra)
    return (result.code, result.errors)
  }

  private static let table = "id,a,y\n" + (0..<60).map { "\($0),\($0 % 7),\($0 % 2)\n" }.joined()

  @Test func `a missing column is named together with those that exist`() async throws {
    let (code, errors) = try await demo(Self.table, label: "Churned")
    #expect(code == 1)
    #expect(errors.contains("Churned") && errors.contains("id") && errors.contains("table.csv"))
    #expect(errors.split(separator: "\n").count == 1, "one sentence: \(errors)")
    let subject = try await demo(Self.table, ["--subject", "Customer"])
    #expect(subject.0 == 1 && subject.1.contains("Customer"))
  }

  @Test func `a label with three values is refused with the values`() async throws {
    let (code, errors) = try await demo(Self.table.replacingOccurrences(of: "7,0,1\n", with: "7,0,maybe\n"))
    #expect(code == 1 && errors.contains("maybe"), "\(errors)")
  }

  @Test func `an empty table and a table without records are refused`() async throws {
    for text in ["", "id,a,y\n"] {
      let (code, errors) = try await demo(text)
      #expect(code == 1 && errors.contains("table.csv"), "\(errors)")
    }
  }

  @Test func `a truncated gzip file is refused`() async throws {
    let path = try temporary("table.csv.gz")
    // The header of a gzip file and the beginning of a stream.
    try Data([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xcb, 0x48]).write(to: URL(fileURLWithPath: path))
    let result = try await ChildProcess.runToEnd(["demo", "--data", path, "--label", "y"])
    #expect(result.code == 1 && result.errors.contains("gzip"), "\(result.errors)")
  }

  @Test func `wrong usage exits with 2 and help with 0`() async throws {
    #expect(try await ChildProcess.runToEnd(["demo", "--nodes", "1"]).code == 2)
    #expect(try await ChildProcess.runToEnd(["demo", "--epsilon", "-1"]).code == 2)
    #expect(try await ChildProcess.runToEnd(["nonsense"]).code == 2)
    for command in [
      ["demo"], ["server", "run"], ["node", "run"], ["consent", "record"], ["ledger", "verify"],
    ] {
      let help = try await ChildProcess.runToEnd(command + ["--help"])
      #expect(help.code == 0 && help.output.contains("Example"), "\(command): \(help.output)")
    }
  }

  @Test func `a port in use is answered with a sentence and leaves the directory usable`() async throws {
    try await withFederation(stores: 3) { federation in
      try await federation.startServer()
      let url = try #require(URL(string: try TrustBundle.decode(federation.trust, source: "trust").url))
      let other = federation.directory + "/other"
      let arguments = [
        "server", "run", "--data", other, "--federation", "other.example/consent", "--operator-key",
        federation.operatorKey.verifyingKey.hex, "--port",
      ]
      let result = try await ChildProcess.runToEnd(arguments + ["\(try #require(url.port))"])
      #expect(result.code == 1)
      #expect(result.errors.contains("port \(try #require(url.port))") && result.errors.contains("in use"))
      let again = try ChildProcess(
        "other", arguments: arguments + ["0"], logPath: federation.directory + "/o.log")
      for _ in 0..<200 where !DurableFile.exists(other + "/trust.json") {
        try await Task.sleep(for: .milliseconds(50))
      }
      #expect(again.isRunning && DurableFile.exists(other + "/trust.json"))
      await again.stop()
    }
  }

  @Test func `a data directory of another version or in use is refused`() async throws {
    try await withFederation(stores: 3) { federation in
      try await federation.startServer()
      let busy = try await ChildProcess.runToEnd(["server", "run", "--data", federation.serverPath])
      #expect(busy.code == 1 && busy.errors.contains("in use by another process"), "\(busy.errors)")
      await federation.server?.stop()
      let version = federation.serverPath + "/VERSION"
      try Data("accord server 99\n".utf8).write(to: URL(fileURLWithPath: version))
      let newer = try await ChildProcess.runToEnd(["server", "run", "--data", federation.serverPath])
      #expect(newer.code == 1 && newer.errors.contains("99"), "\(newer.errors)")
      let missing = try await ChildProcess.runToEnd([
        "node", "run", "--data", federation.directory + "/nowhere",
      ])
      #expect(missing.code == 1 && missing.errors.contains("nowhere"), "\(missing.errors)")
    }
  }

  @Test func `a tampered ledger byte is found and named`() async throws {
    try await withFederation(stores: 3) { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      await federation.server?.stop()
      let good = try await ChildProcess.runToEnd(["ledger", "verify", "--data", federation.serverPath])
      #expect(good.code == 0 && good.output.contains("verifies"), "\(good.errors)")
      // The write-ahead log is emptied first: its own checksums would only drop what was changed there.
      let path = federation.serverPath + "/ledger.sqlite"
      let database = try DatabaseQueue(path: path)
      try await database.writeWithoutTransaction { _ = try $0.checkpoint(.truncate) }
      try database.close()
      var bytes = try readFile(path)
      let places = bytes.ranges(of: Array("\"state\":\"given\"".utf8))
      #expect(!places.isEmpty)
      for place in places { bytes[place.upperBound - 2] = UInt8(ascii: "m") }
      try Data(bytes).write(to: URL(fileURLWithPath: path))
      let bad = try await ChildProcess.runToEnd(["ledger", "verify", "--data", federation.serverPath])
      #expect(bad.code == 1 && bad.errors.contains("entry"), "\(bad.errors)")
      let server = try await ChildProcess.runToEnd(["ledger", "verify", "--data", federation.directory])
      #expect(server.code == 1 && server.errors.contains("not an Accord data directory"), "\(server.errors)")
    }
  }

  @Test func `a node with an unknown key is refused and stops with a sentence`() async throws {
    try await withFederation(stores: 3) { federation in
      try await federation.startServer()
      // Keys and trust are there, the operator's enrolment is not.
      _ = try NodeFiles.create(
        path: federation.nodePath(0), name: "stranger", trust: federation.trust,
        policy: NodePolicy(purposes: ["churn"], budget: PrivacyBudget(epsilon: 8, delta: 1e-5)))
      let result = try await ChildProcess.runToEnd(["node", "run", "--data", federation.nodePath(0)])
      #expect(result.code == 1 && result.errors.contains("not enrolled"), "\(result.errors)")
      // Nor can it enrol itself with a key of its own: only the two officers are there.
      let key = try KeyFile.create(federation.directory + "/own.key")
      await #expect(throws: EdgeNodeError.self) {
        try await Enrolment.enrol(
          path: federation.nodePath(0), name: "stranger", trust: federation.trust,
          policy: NodePolicy(purposes: ["churn"], budget: PrivacyBudget(epsilon: 8, delta: 1e-5)),
          operatorKey: key)
      }
      #expect(LedgerVerifier.verify(directory: federation.serverPath).counts.enrolments == 2)
    }
  }

  @Test func `malformed, oversized and forged messages are refused and the federation goes on`() async throws
  {
    try await withFederation(stores: 3) { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      let bundle = try TrustBundle.decode(federation.trust, source: "trust")
      let raw = try RawClient(bundle)
      defer { raw.close() }
      let paths = [
        "invitation", "model", "session/advertise", "session/shares", "session/input", "session/consistency",
        "session/unmask", "ledger/append", "tasks", "tasks/cancel",
      ]
      for path in paths {
        let garbage = try await raw.post("v1/\(path)", Array("not a message".utf8))
        #expect((400..<500).contains(garbage.status), "\(path): \(garbage.status)")
        #expect(!garbage.refusal.message.isEmpty, "\(path)")
      }
      let large = try await raw.post(
        "v1/ledger/append", [UInt8](repeating: 7, count: MessageLimits.control + 1))
      #expect(large.status == 413 && large.refusal.message.contains("\(MessageLimits.control)"))
      // A request signed by an enrolled node, then changed on the way.
      let key = try NodeFiles(sharing: federation.nodePath(0)).identity
      var request = SignedRequest.sign(
        .invitation, payload: encodeMessage(WireInvitationRequest()), session: nil,
        nowMilliseconds: nowMilliseconds(), key: key)
      request[request.count - 1] ^= 1
      let forged = try await raw.post("v1/invitation", request)
      #expect(
        forged.status == 403 && forged.refusal.message.contains("signature"), "\(forged.refusal.message)")
      let old = SignedRequest.sign(
        .invitation, payload: [], session: nil, nowMilliseconds: nowMilliseconds() - 3_600_000, key: key)
      #expect(try await raw.post("v1/invitation", old).status == 422)
      // And the federation still trains.
      try federation.startNodes()
      try await federation.submit(federation.task(rounds: 1))
      let status = try await federation.wait { $0.tasks.first?.progress.status != .running }
      #expect(status.tasks.first?.progress.status == .completed)
    }
  }
}

/// Posts bytes as they are.
private struct RawClient {
  let http: HTTPClient
  let url: String

  init(_ trust: TrustBundle) throws {
    var configuration = HTTPClient.Configuration()
    configuration.tlsConfiguration = .makeClientConfiguration()
    configuration.tlsConfiguration?.certificateVerification = .none
    http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    url = trust.url
  }

  func post(_ path: String, _ bytes: [UInt8]) async throws -> (status: UInt, refusal: WireRefusal) {
    var request = HTTPClientRequest(url: "\(url)/\(path)")
    request.method = .POST
    request.body = .bytes(bytes)
    let response = try await http.execute(request, timeout: .seconds(20))
    let body = Array(buffer: try await response.body.collect(upTo: 65_536))
    return (response.status.code, (try? decodeMessage(WireRefusal.self, from: body)) ?? WireRefusal())
  }

  func close() {
    let http = http
    Task.detached { try? await http.shutdown() }
  }
}
