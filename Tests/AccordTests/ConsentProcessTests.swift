import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import Privacy
import Storage
import Testing

@testable import accord

/// Consent on the command line, against a real server.
@Suite(.serialized) struct ConsentProcessTests {
  /// A store without customers, enrolled, beside a running server.
  private func withStore(_ body: (TestFederation, String) async throws -> Void) async throws {
    try await withFederation(stores: 3) { federation in
      try await federation.startServer()
      try await Enrolment.enrol(
        path: federation.nodePath(0), name: "node-1", trust: federation.trust,
        policy: NodePolicy(purposes: ["churn"], budget: PrivacyBudget(epsilon: 8, delta: 1e-5)),
        operatorKey: federation.operatorKey)
      try await body(federation, federation.nodePath(0))
    }
  }

  private func importing(
    _ text: String, _ federation: TestFederation, _ extra: [String] = [], name: String = "decisions.csv"
  ) async throws -> (code: Int32, output: String, errors: String) {
    let path = federation.directory + "/" + name
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return try await ChildProcess.runToEnd(
      [
        "consent", "import", path, "--data", federation.nodePath(0), "--jurisdiction", "DE", "--language",
        "de",
      ]
        + extra)
  }

  private func customers(_ node: String) throws -> Int {
    let vault = try NodeFiles(sharing: node).openVault()
    defer { try? vault.close() }
    return try vault.count()
  }

  private func logSize(_ federation: TestFederation) -> UInt64 {
    LedgerVerifier.verify(directory: federation.serverPath).size
  }

  private static func id(_ number: Int) -> String { String(repeating: "0", count: 31) + "\(number)" }

  @Test func `every bad row of an import is named with its line, and nothing is recorded`() async throws {
    try await withStore { federation, node in
      let before = logSize(federation)
      let bad = try await importing(
        """
        subject,state,time,event_id,purpose,expires_at
        good,given,,\(Self.id(1)),,
        later,given,2999-01-01,,,
        overflow,given,9223372036854775807,,,
        longest,given,,,,9223372036854775807
        twice,given,,\(Self.id(1)),,
        unknown,given,,,chrun,
        lifted,restrictionLifted,,,,
        misspelt,givven,,,,
        ,given,,,,
        """, federation)
      #expect(bad.code == 1 && bad.errors.contains("nothing was recorded"), "\(bad.errors)")
      let lines = Set(
        bad.errors.split(separator: "\n").compactMap { line -> Int? in
          guard let place = line.range(of: ", line ") else { return nil }
          return Int(line[place.upperBound...].prefix { $0.isNumber })
        })
      #expect(lines.isSuperset(of: [3, 4, 5, 6, 7, 8, 9, 10]) && !lines.contains(2), "\(bad.errors)")
      #expect(try logSize(federation) == before && customers(node) == 0)
    }
  }

  @Test func `an import again records nothing twice, and an id stands for one content`() async throws {
    try await withStore { federation, node in
      let rows = (1...40).map { "customer-\($0),given,\(Self.id(1).dropLast(2))\($0 + 10)" }
      let text = (["subject,state,event_id"] + rows).joined(separator: "\n")
      let first = try await importing(text, federation)
      #expect(first.code == 0, "\(first.errors)")
      let size = logSize(federation)
      #expect(try customers(node) == 40)
      let again = try await importing(text, federation)
      #expect(again.code == 0 && logSize(federation) == size, "\(again.errors)")
      // The same in the same file again, in another form, and with more rows.
      let more = rows.map { row in
        let fields = row.split(separator: ",")
        return "{\"subject\": \"\(fields[0])\", \"state\": \"given\", \"event_id\": \"\(fields[2])\"}"
      }
      let longer = (more + ["{\"subject\": \"new\", \"state\": \"refused\"}"]).joined(separator: "\n")
      let third = try await importing(longer, federation, name: "more.ndjson")
      #expect(third.code == 0 && logSize(federation) == size + 1, "\(third.errors)")
      for changed in [
        text.replacingOccurrences(of: "customer-7,given", with: "customer-7,withdrawn"),
        text.replacingOccurrences(of: "customer-7,given", with: "customer-8,given"),
      ] {
        let other = try await importing(changed, federation)
        #expect(other.code == 1 && other.errors.contains("line 8"), "\(other.errors)")
      }
      let elsewhere = try await importing(text, federation, ["--channel", "web"])
      #expect(elsewhere.code == 1 && elsewhere.errors.contains("other content"), "\(elsewhere.errors)")
      #expect(try logSize(federation) == size + 1 && customers(node) == 41)
    }
  }

  @Test func `an id that stands for another customer's entry is named with its line`() async throws {
    try await withStore { federation, node in
      let first = try await importing("subject,state,event_id\nanna,given,\(Self.id(1))\n", federation)
      #expect(first.code == 0, "\(first.errors)")
      let before = logSize(federation)
      let other = try await importing(
        "subject,state,event_id\nben,refused,\(Self.id(2))\ncarla,given,\(Self.id(1))\n", federation)
      #expect(other.code == 1 && other.errors.contains("line 3"), "\(other.errors)")
      #expect(try logSize(federation) == before && customers(node) == 1)
    }
  }

  @Test func `what the ledger refuses leaves nothing in the vault`() async throws {
    try await withStore { federation, node in
      let files = try NodeFiles(sharing: node)
      let vault = try files.openVault()
      let client = try FederationClient(trust: files.trust, clock: nowMilliseconds)
      let before = logSize(federation)
      try await client.closing {
        let view = try await LedgerView.open(files, client: client)
        let recorder = ConsentRecorder(files: files, vault: vault, client: client, view: view)
        let now = Int64(nowMilliseconds())
        var first = ConsentRecorder.Entry(
          subject: "anna", state: .given, timeMs: now, eventID: try EventID(hex: Self.id(1)))
        first.payload = ConsentPayload(customerID: "anna", text: "at till 3")
        _ = try await recorder.record([first], TestFederation.circumstances)
        // This view does not know of the first entry, as if another process had recorded it just now.
        let old = LedgerView(
          rules: view.rules, events: { _ in [:] }, size: view.size, leaves: view.leaves, known: { _ in [] })
        var second = first
        second.subject = "ben"
        second.payload = ConsentPayload(customerID: "ben", text: "at till 4")
        let late = ConsentRecorder(files: files, vault: vault, client: client, view: old)
        await #expect(throws: EdgeNodeError.self) {
          try await late.record([second], TestFederation.circumstances)
        }
        #expect(try vault.count() == 1 && vault.payloads(of: "ben").isEmpty)
        #expect(try vault.payloads(of: "anna").count == 1)
        second.subject = "anna"
        second.payload = ConsentPayload(customerID: "anna", text: "other words")
        await #expect(throws: (any Error).self) {
          try await recorder.record([second], TestFederation.circumstances)
        }
        #expect(try vault.payloads(of: "anna").map(\.payload.text) == ["at till 3"])
      }
      #expect(logSize(federation) == before + 1)
    }
  }

  @Test func `a node put back from a backup erases again, keys and records`() async throws {
    try await withFederation(stores: 3, customers: 12) { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      let node = federation.nodePath(0)
      let subject = try #require(LocalStore(path: node + "/store.sqlite").subjects().first)
      let tag = try #require(try NodeFiles(sharing: node).openVault().tag(for: subject, create: false))
      let backup = federation.directory + "/backup"
      try FileManager.default.copyItem(atPath: node, toPath: backup)
      for officer in ["anna", "ben"] {
        let approved = try await ChildProcess.runToEnd([
          "subject", "approve-erasure", tag.hex, "--trust", federation.serverPath + "/trust.json", "--key",
          "\(federation.directory)/officer-\(officer).key",
        ])
        #expect(approved.code == 0, "\(approved.errors)")
      }
      let erased = try await ChildProcess.runToEnd(["subject", "erase", subject, "--data", node])
      #expect(erased.code == 0, "\(erased.errors)")
      try FileManager.default.removeItem(atPath: node)
      try FileManager.default.moveItem(atPath: backup, toPath: node)
      #expect(try LocalStore(path: node + "/store.sqlite").subjects().contains(subject))
      try federation.startNode(0)
      var isThere = true
      for _ in 0..<400 where isThere {
        try await Task.sleep(for: .milliseconds(50))
        isThere = try LocalStore(path: node + "/store.sqlite").subjects().contains(subject)
      }
      #expect(!isThere)
      let vault = try NodeFiles(sharing: node).openVault()
      #expect(try vault.tag(for: subject, create: false) == nil)
    }
  }
}
