import AggregationServer
import Consent
import ConsentLedger
import Federation
import Foundation
import Learning
import Privacy
import Simulation
import Storage
import Testing

@testable import accord

/// Statistics tasks in a federation of real processes.
@Suite(.serialized) struct StatisticsProcessTests {
  private func task(
    _ federation: TestFederation, id: String, epsilon: Double, populationEpsilon: Double
  ) -> StatisticsSpecification {
    StatisticsSpecification(
      id: id, purpose: "churn", schema: federation.data.schema,
      questions: [
        StatisticsQuestion(name: "customers", ask: .count),
        StatisticsQuestion(
          name: "tiers", column: "membership_tier",
          ask: .heavyHitters(keyBytes: 1, bitsPerRound: 4, maximumPrefixes: 8)),
        StatisticsQuestion(
          name: "purchases", column: "frequency", ask: .mean(lower: 0, upper: 64, resolution: 64)),
      ], budget: PrivacyBudget(epsilon: epsilon, delta: 1e-5),
      populationBudget: PrivacyBudget(epsilon: populationEpsilon, delta: 1e-5), minimumCohort: 3,
      minimumSurvivors: 3, stepDeadlineMilliseconds: 2000, trainingDeadlineMilliseconds: 20_000)
  }

  /// Training subjects that agreed; every one of them has one record.
  private func agreed(_ federation: TestFederation, without: Set<String> = []) -> [StoreRecord] {
    federation.data.shares.flatMap { share in
      let silent = Set(share.records.map(\.subject)).sorted().last
      return share.records.filter { !$0.isHeldOut && $0.subject != silent && !without.contains($0.subject) }
    }
  }

  private func finish(
    _ federation: TestFederation, _ task: StatisticsSpecification
  ) async throws -> FederationStatus.Task {
    try await federation.submit(.statistics(task))
    let status = try await federation.wait { status in
      status.tasks.contains { $0.id == task.id && $0.progress.status != .running }
    }
    return try #require(status.tasks.first { $0.id == task.id })
  }

  private func value(_ task: FederationStatus.Task, _ question: String, _ item: String) throws -> Double {
    let result = try #require(task.statistics?.results.first { $0.question == question })
    return try #require(result.estimates.first { $0.item == item }, "\(question) \(item)").value
  }

  @Test func `exact answers are those of plain computation, and a withdrawn customer is not counted`()
    async throws
  {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes(budget: PrivacyBudget(epsilon: .infinity, delta: 1e-5))
      try federation.startNodes()
      let first = try await finish(
        federation, task(federation, id: "before", epsilon: .infinity, populationEpsilon: .infinity))
      #expect(first.progress.status == .completed)
      let records = agreed(federation)
      #expect(Set(records.map(\.subject)).count == records.count)
      #expect(try value(first, "customers", "count") == Double(records.count))
      let column = try #require(federation.data.schema.columns.firstIndex { $0.name == "frequency" })
      let numbers = records.compactMap { record -> Double? in
        guard case .number(let number) = record.values[column] else { return nil }
        return min(number, 64)
      }
      let mean = numbers.reduce(0, +) / Double(numbers.count)
      #expect(abs(try value(first, "purchases", "mean") - mean) < 0.5)
      let tier = try #require(federation.data.schema.columns.firstIndex { $0.name == "membership_tier" })
      var tiers: [String: Double] = [:]
      for case .text(let text) in records.map({ $0.values[tier] }) {
        tiers[String(text.prefix(1)), default: 0] += 1
      }
      #expect(!tiers.isEmpty)
      for (letter, count) in tiers { #expect(try value(first, "tiers", letter) == count) }

      let leaving = Array(federation.data.shares[0].trainingSubjects.prefix(3))
      _ = try await federation.record(.withdrawn, leaving, node: 0)
      let second = try await finish(
        federation, task(federation, id: "after", epsilon: .infinity, populationEpsilon: .infinity))
      let left = agreed(federation, without: Set(leaving)).count
      #expect(left == records.count - 3)
      #expect(try value(second, "customers", "count") == Double(left))
      // One session for all questions, one more for the second half of the byte.
      #expect(second.statistics?.sessions.count == 2)

      // The answers are in the server's files and the ledger's record names their digest.
      await federation.server?.stop()
      try await federation.startServer()
      let again = try #require(
        try await federation.wait { !$0.tasks.isEmpty }.tasks.first { $0.id == "before" })
      #expect(again.statistics == first.statistics)
      let ledger = LedgerVerifier.verify(directory: federation.serverPath)
      #expect(ledger.verified && ledger.counts.rounds == 4, "\(ledger.firstProblem ?? "")")
      #expect(try ServerInspection(directory: federation.serverPath).models().isEmpty)
    }
  }

  @Test func `noised answers are within their errors, and an exhausted budget stops the next task`()
    async throws
  {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes(budget: PrivacyBudget(epsilon: 4, delta: 1e-5))
      try federation.startNodes()
      let first = try await finish(
        federation, task(federation, id: "first", epsilon: 3, populationEpsilon: 3.2))
      #expect(first.progress.status == .completed)
      let report = try #require(first.statistics)
      let count = try #require(report.results.first { $0.question == "customers" }?.estimates.first)
      let error = try #require(count.standardError)
      #expect(error > 0)
      // One in 10^9 such tests is wrong by chance.
      #expect(abs(count.value - Double(agreed(federation).count)) < 6.2 * error)
      #expect(report.privacy.epsilon > 2 && report.privacy.epsilon <= 3)
      #expect(first.spent == ["training": EpsilonValue(report.privacy.epsilon)])
      let before = LedgerVerifier.verify(directory: federation.serverPath).counts.notices

      let second = try await finish(
        federation, task(federation, id: "second", epsilon: 3, populationEpsilon: 3.2))
      guard case .stopped(let reason) = second.progress.status else {
        Issue.record("the second task was not stopped")
        return
      }
      #expect(reason.contains("the privacy budget of the training population is spent"), "\(reason)")
      #expect(second.statistics?.results.isEmpty == true)
      let ledger = LedgerVerifier.verify(directory: federation.serverPath)
      #expect(ledger.verified && ledger.counts.notices == before + 1)
      for index in federation.data.shares.indices {
        let book = try BudgetBook(path: federation.nodePath(index) + "/budget.sqlite")
        let account = try #require(try book.account("training"))
        #expect(abs(try account.spent().epsilon - report.privacy.epsilon) < 1e-9)
      }
    }
  }

  @Test func `a node that refuses a task for its budget puts that on record once`() async throws {
    try await withFederation { federation in
      try await federation.startServer()
      _ = try await federation.setUpNodes(budget: PrivacyBudget(epsilon: 0.5, delta: 1e-5))
      try federation.startNodes()
      let before = LedgerVerifier.verify(directory: federation.serverPath).counts.notices
      try await federation.submit(
        .statistics(task(federation, id: "greedy", epsilon: 3, populationEpsilon: 3.2)))
      let nodes = federation.data.shares.count
      // Several sessions are asked for and refused; the entries stay one for each node.
      _ = try await federation.wait { status in
        status.tasks.contains { $0.id == "greedy" && $0.progress.abortedSessions >= 2 }
      }
      let ledger = LedgerVerifier.verify(directory: federation.serverPath)
      #expect(ledger.verified && ledger.counts.notices == before + nodes)
      for index in federation.data.shares.indices {
        let book = try BudgetBook(path: federation.nodePath(index) + "/budget.sqlite")
        #expect(try book.account("training")?.events.isEmpty != false)
      }
    }
  }
}
