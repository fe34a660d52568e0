import Foundation
import Storage
import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// A process that debits and then releases, over and over: what a server or a node does, reduced to its files.
private enum DebitingProcess {
  /// Where it is killed.
  enum Step: String, Codable, CaseIterable, Sendable {
    case beforeTransaction, insideTransaction, afterCommit, afterRelease
  }

  static func debit(_ number: Int) -> BudgetDebit {
    BudgetDebit(
      id: "session-\(number)", population: "training", unit: "customer", eventJSON: #"{"n":\#(number)}"#,
      task: "t", round: UInt64(number), timeMs: 0)
  }

  static func die() { kill(getpid(), SIGKILL) }

  /// Debits `number`, then releases it: a byte-wise append that SIGKILL does not take back.
  static func work(_ ledger: BudgetLedger, directory: String, number: Int, dieAt step: Step?) throws {
    if step == .beforeTransaction { die() }
    try ledger.debit(debit(number)) { _, _ in
      if step == .insideTransaction { die() }
      return true
    }
    if step == .afterCommit { die() }
    let file = open(directory + "/released", O_WRONLY | O_APPEND | O_CREAT, 0o600)
    let line = Array("session-\(number)\n".utf8)
    guard file >= 0, write(file, line, line.count) == line.count else {
      throw StorageError.system(operation: "append to", path: directory, errno: errno)
    }
    close(file)
    if step == .afterRelease { die() }
  }

  static func openLedger(_ directory: String) throws -> BudgetLedger {
    let ledger = try BudgetLedger.open(path: directory + "/budget.sqlite")
    try ledger.declare(population: "training", unit: "customer", budgetJSON: "{}")
    return ledger
  }

  static func released(_ directory: String) -> [String] {
    let text = (try? String(contentsOfFile: directory + "/released", encoding: .utf8)) ?? ""
    return text.split(separator: "\n").map(String.init)
  }
}

/// After a crash the recorded spend may be too high, never too low.
@Suite(.serialized) struct BudgetCrashTests {
  @Test(arguments: DebitingProcess.Step.allCases)
  fileprivate func `a process killed at a step of a debit under-counts nothing`(
    step: DebitingProcess.Step
  ) async throws {
    let scratch = try Scratch()
    let directory = scratch.path
    await #expect(processExitsWith: .signal(SIGKILL)) {
      [directory = directory as String, name = step.rawValue as String] in
      let ledger = try DebitingProcess.openLedger(directory)
      for number in 1...3 {
        try DebitingProcess.work(ledger, directory: directory, number: number, dieAt: nil)
      }
      try DebitingProcess.work(
        ledger, directory: directory, number: 4, dieAt: DebitingProcess.Step(rawValue: name))
    }
    let recorded = try DebitingProcess.openLedger(directory).debits(of: "training").map(\.id)
    let released = DebitingProcess.released(directory)
    let isCommitted = [.afterCommit, .afterRelease].contains(step)
    #expect(recorded.count == (isCommitted ? 4 : 3))
    #expect(released.count == (step == .afterRelease ? 4 : 3))
    #expect(Set(released).isSubset(of: recorded))
    // The retry after the restart is the same debit, not another one.
    let ledger = try DebitingProcess.openLedger(directory)
    #expect(try ledger.debit(DebitingProcess.debit(4)) == !isCommitted)
    #expect(try ledger.debits(of: "training").count == 4)
  }

  @Test(arguments: 0..<8)
  func `a process killed at any moment has recorded all that it released`(seed: Int) async throws {
    let scratch = try Scratch()
    let directory = scratch.path
    await #expect(processExitsWith: .signal(SIGKILL)) {
      [directory = directory as String, seed = seed as Int] in
      let ledger = try DebitingProcess.openLedger(directory)
      try DebitingProcess.work(ledger, directory: directory, number: 0, dieAt: nil)
      // Spread over a few debits, at no step in particular.
      Thread.detachNewThread {
        usleep(UInt32(1000 + 3701 * seed))
        DebitingProcess.die()
      }
      for number in 1...100_000 {
        try DebitingProcess.work(ledger, directory: directory, number: number, dieAt: nil)
      }
    }
    let recorded = try DebitingProcess.openLedger(directory).debits(of: "training").map(\.id)
    let released = DebitingProcess.released(directory)
    #expect(!released.isEmpty)
    let isCovered = Set(released).isSubset(of: recorded)
    #expect(isCovered, "\(released.count) released, \(recorded.count) recorded")
    #expect(recorded.count <= released.count + 1, "at most the debit under way is counted too much")
  }

  @Test func `a write-ahead log torn at any place loses no acknowledged debit`() throws {
    let scratch = try Scratch()
    let live = scratch.file("live")
    try FileManager.default.createDirectory(atPath: live, withIntermediateDirectories: true)
    let ledger = try DebitingProcess.openLedger(live)
    for number in 1...3 { try ledger.debit(DebitingProcess.debit(number)) }
    let before = try Data(contentsOf: URL(fileURLWithPath: live + "/budget.sqlite-wal"))
    try ledger.debit(DebitingProcess.debit(4))
    let after = try Data(contentsOf: URL(fileURLWithPath: live + "/budget.sqlite-wal"))
    let base = try Data(contentsOf: URL(fileURLWithPath: live + "/budget.sqlite"))
    try #require(after.count > before.count && after.prefix(before.count) == before)

    func reopen(_ log: Data, _ name: String) throws -> [String] {
      let copy = scratch.file(name)
      try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
      try base.write(to: URL(fileURLWithPath: copy + "/budget.sqlite"))
      try log.write(to: URL(fileURLWithPath: copy + "/budget.sqlite-wal"))
      return try BudgetLedger.open(path: copy + "/budget.sqlite").debits(of: "training").map(\.id)
    }
    let acknowledged = (1...3).map { "session-\($0)" }
    // Cut after any part of the last commit, and with garbage where the rest should be.
    for (index, cut) in stride(from: before.count, to: after.count, by: 1021).enumerated() {
      #expect(try reopen(after.prefix(cut), "cut-\(index)") == acknowledged)
      let garbage = after.prefix(cut) + Data(repeating: 0xA5, count: after.count - cut)
      #expect(try reopen(garbage, "garbage-\(index)") == acknowledged)
    }
    #expect(try reopen(after, "whole") == acknowledged + ["session-4"])
  }
}
