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
import Testing

@testable import accord

/// Whole federations of real processes. One at a time: they share two cores.
@Suite(.serialized) struct FederationProcessTests {
  @Test func `a federation trains, and a withdrawn customer is in no later session`() async throws {
    try await withFederation { federation in
      try await federation.startServer()
      let acknowledged = try await federation.setUpNodes()
      try federation.startNodes()
      // Enough rounds that some come after the withdrawal, however slowly this machine takes it.
      try await federation.submit(federation.task(rounds: 16))
      _ = try await federation.wait { ($0.tasks.first?.progress.rounds.count ?? 0) >= 1 }
      let leaving = Array(federation.data.shares[0].trainingSubjects.prefix(3))
      let receipts = try await federation.record(.withdrawn, leaving, node: 0)
      #expect(receipts.count == 3)
      let status = try await federation.wait(seconds: 150) { $0.tasks.first?.progress.status != .running }
      let task = try #require(status.tasks.first)
      #expect(task.progress.status == .completed)
      #expect(task.progress.rounds.count == 16)
      // The noise of so small a held-out population may swallow all positives: then there is no AUC.
      // Who withdraws after an input was masked keeps that input from being sent.
      #expect(task.progress.rounds.allSatisfy { (3...4).contains($0.participants) && $0.loss != nil })
      #expect(try #require(task.spent["training"]).value <= 8)
      let vault = try NodeFilesForTests.vault(federation.nodePath(0))
      let checkpoints = try ServerInspection(directory: federation.serverPath).checkpointSizes()
      #expect(checkpoints.count == 19)
      for receipt in receipts {
        let uses = try vault.rounds(of: receipt.subject)
        #expect(!uses.isEmpty, "\(receipt.subject) was trained on while it had agreed")
        for use in uses {
          let size = try #require(checkpoints[use.round])
          #expect(size <= receipt.index, "\(receipt.subject) was used in session \(use.round)")
        }
      }
      // At least one session was bound to a checkpoint with the withdrawals in it.
      #expect(checkpoints.values.contains { size in receipts.allSatisfy { size > $0.index } })
      // Nobody who never answered was ever used.
      for (index, share) in federation.data.shares.enumerated() {
        let silent = try #require(Set(share.records.map(\.subject)).sorted().last)
        #expect(try NodeFilesForTests.vault(federation.nodePath(index)).rounds(of: silent).isEmpty)
      }
      let ledger = LedgerVerifier.verify(directory: federation.serverPath)
      #expect(ledger.verified, "\(ledger.firstProblem ?? "")")
      #expect(ledger.counts.consents == acknowledged + 3)
      #expect(ledger.counts.rounds == 16 + 3)
    }
  }

  @Test(arguments: ["shares", "upload", "confirm", "unmask"])
  func `a node killed before a step is recovered from, and rejoins`(step: String) async throws {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      for index in 0..<4 {
        try federation.startNode(index, ["--keep-inputs"] + (index == 1 ? ["--drill", "\(step):2"] : []))
      }
      try await federation.submit(federation.task(rounds: 4))
      let statusPath = federation.nodePath(1) + "/status.json"
      _ = try await federation.wait { _ in
        ((try? String(contentsOfFile: statusPath, encoding: .utf8)) ?? "").contains("paused before \(step)")
      }
      federation.nodes[1].kill()
      try federation.startNode(1, ["--keep-inputs"])
      let status = try await federation.wait { $0.tasks.first?.progress.status != .running }
      let rounds = try #require(status.tasks.first).progress.rounds
      #expect(rounds.count == 4)
      let isInSum = ["confirm", "unmask"].contains(step)
      #expect(rounds[1].participants == (isInSum ? 4 : 3))
      #expect(rounds.last?.participants == 4, "the node is back")
      try expectExactSum(federation, session: rounds[1].session, count: isInSum ? 4 : 3)
      #expect(LedgerVerifier.verify(directory: federation.serverPath).verified)
    }
  }

  @Test func `a server killed again and again carries on, and loses and under-counts nothing`() async throws {
    try await withFederation { federation in
      try await federation.startServer()
      var acknowledged = try await federation.setUpNodes()
      try federation.startNodes()
      try await federation.submit(federation.task(rounds: 6))
      // Moments spread over sessions of about half a second.
      for (kill, delay) in [120, 310, 30, 470, 220, 390].enumerated() {
        _ = try await federation.wait { $0.session != nil || $0.tasks.first?.progress.status != .running }
        try await Task.sleep(for: .milliseconds(delay))
        let subject = federation.data.shares[kill % 4].trainingSubjects[kill]
        acknowledged += try await federation.record(.withdrawn, [subject], node: kill % 4).count
        federation.server?.kill()
        try await federation.startServer()
      }
      let status = try await federation.wait(seconds: 90) { $0.tasks.first?.progress.status != .running }
      let task = try #require(status.tasks.first)
      #expect(task.progress.status == .completed)
      await federation.server?.stop()
      let ledger = LedgerVerifier.verify(directory: federation.serverPath)
      #expect(ledger.verified, "\(ledger.firstProblem ?? "")")
      #expect(ledger.counts.consents == acknowledged, "every acknowledged event is in the log")
      try expectBudgetsCover(federation, task)
    }
  }

  @Test func `a server restored from an older copy is refused by nodes and by receipts`() async throws {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      await federation.server?.stop()
      let backup = federation.directory + "/backup"
      try FileManager.default.copyItem(atPath: federation.serverPath, toPath: backup)
      try await federation.startServer()
      try federation.startNodes()
      try await federation.submit(federation.task(rounds: 1))
      _ = try await federation.wait { $0.tasks.first?.progress.status == .completed }
      for node in federation.nodes { await node.stop() }
      await federation.server?.stop()
      try FileManager.default.removeItem(atPath: federation.serverPath)
      try FileManager.default.copyItem(atPath: backup, toPath: federation.serverPath)
      try await federation.startServer()
      // The node has already verified a longer log: nothing is recorded in the old one, whether the checkpoint
      // or the receipt shows it.
      let subject = federation.data.shares[0].trainingSubjects[0]
      await #expect(throws: (any Error).self) {
        try await federation.record(.withdrawn, [subject], node: 0)
      }
      // And the nodes say why they wait.
      try federation.startNode(0)
      let path = federation.nodePath(0) + "/status.json"
      _ = try await federation.wait { _ in
        ((try? String(contentsOfFile: path, encoding: .utf8)) ?? "").contains("restored from an older copy")
      }
    }
  }

  @Test func `a task whose model diverges or cannot be built ends alone`() async throws {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes()
      try federation.startNodes()
      var task = federation.task(id: "diverges", rounds: 3)
      task.optimizer = .sgd(learningRate: 3e38)
      task.clipNorm = 100_000
      try await federation.submit(task)
      let stopped = try await federation.wait { $0.tasks.first?.progress.status != .running }
      guard case .stopped(let reason)? = stopped.tasks.first?.progress.status else {
        Issue.record("the task did not stop")
        return
      }
      #expect(reason.contains("diverged"), "\(reason)")
      await federation.server?.stop()
      try await federation.startServer()
      #expect(LedgerVerifier.verify(directory: federation.serverPath).verified)
    }
  }

  /// The released sum is the sum of what the nodes kept, integer by integer.
  private func expectExactSum(_ federation: TestFederation, session: UInt64, count: Int) throws {
    let inspection = try ServerInspection(directory: federation.serverPath)
    let released = try #require(try inspection.sum(session: session))
    var sum = [UInt32](repeating: 0, count: released.words.count)
    var contributors = 0
    for index in 0..<4 {
      let path = "\(federation.nodePath(index))/input-\(session).bin"
      // A node killed before its upload has not debited, masked or kept anything.
      guard DurableFile.exists(path) else { continue }
      for (position, word) in LittleEndian.words(try readFile(path)).enumerated() { sum[position] &+= word }
      contributors += 1
    }
    let mask = UInt32.max >> UInt32(32 - released.ringBits)
    #expect(contributors == count)
    #expect(zip(sum, released.words).allSatisfy { $0 & mask == $1 })
  }

  /// Every released session is charged, on the server and on each node that took part.
  private func expectBudgetsCover(_ federation: TestFederation, _ task: FederationStatus.Task) throws {
    let book = try BudgetBook(path: federation.serverPath + "/budget.sqlite")
    let debited = Set(try book.debits(of: "training").map(\.round))
    for round in task.progress.rounds { #expect(debited.contains(round.session)) }
    let account = try #require(try book.account("training"))
    #expect(try account.spent().epsilon <= 8)
    for index in 0..<4 {
      let own = Set(
        try BudgetBook(path: federation.nodePath(index) + "/budget.sqlite").debits(of: "training").map(
          \.round))
      for round in task.progress.rounds where round.participants == 4 { #expect(own.contains(round.session)) }
    }
  }
}

/// Files of a node that runs or ran.
enum NodeFilesForTests {
  static func vault(_ path: String) throws -> SubjectVault { try NodeFiles(sharing: path).openVault() }
}
