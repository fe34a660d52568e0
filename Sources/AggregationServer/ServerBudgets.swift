import Cryptography
import Federation
import Privacy
import Storage

/// The server's view of the populations' budgets. The nodes keep their own and refuse on their own.
struct ServerBudgets: Sendable {
  private let book: BudgetBook

  init(_ directory: DataDirectory) throws(StorageError) {
    book = try BudgetBook(path: directory.file("budget.sqlite"))
  }

  /// Declares the populations of a task. A population that another task declared with another budget
  /// refuses the task.
  func declare(_ task: any TaskTerms) throws {
    for (population, budget) in task.populationBudgets {
      try book.declare(population.accountName, unit: task.unit, budget: budget)
    }
  }

  /// Everything that the task's populations have spent so far, by this task or others.
  func spent(_ task: any TaskTerms) throws -> [Population: [PrivacyEvent]] {
    var spent: [Population: [PrivacyEvent]] = [:]
    for population in task.populationBudgets.keys {
      spent[population] = try book.account(population.accountName)?.events ?? []
    }
    return spent
  }

  /// What was spent for this task alone, sessions without a result included.
  func own(_ task: any TaskTerms) throws -> [PrivacyEvent] {
    try task.populationBudgets.keys.flatMap { try book.events(of: $0.accountName, task: task.id) }
  }

  /// What that amounts to, at the task's delta.
  func epsilon(_ task: any TaskTerms) throws -> [Population: Double] {
    var epsilon: [Population: Double] = [:]
    for population in task.populationBudgets.keys {
      epsilon[population] = try book.account(population.accountName)?.spent().epsilon ?? 0
    }
    return epsilon
  }

  /// Charges one segment of a session.
  func debit(
    _ debit: SegmentDebit, task: any TaskTerms, session: UInt64, sessionID: Digest, now: UInt64
  ) throws {
    let population = debit.population.accountName
    try book.debit(
      id: "\(sessionID.hex)/\(debit.segment.rawValue)", population: population, unit: task.unit,
      event: debit.event, task: task.id, round: session, timeMs: Int64(now))
  }
}
