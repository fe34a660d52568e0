import Foundation
package import Privacy

/// Privacy budgets on disk: the durable ledger of debits, read and authorised through the accountant. One
/// book serves a server, one a node; populations span tasks and models.
package struct BudgetBook: Sendable {
  private let ledger: BudgetLedger

  /// Opens the file, or begins one.
  package init(path: String) throws(StorageError) { ledger = try BudgetLedger.open(path: path) }

  /// Why a debit did not happen.
  package enum Refusal: Error, Sendable, CustomStringConvertible {
    /// The budget or the accountant says no.
    case privacy(PrivacyError, population: String)
    /// The file says no, or cannot be written.
    case storage(StorageError)
    /// A stored event cannot be read, so nothing more may be spent.
    case unreadable(population: String)

    package var description: String {
      switch self {
      case .privacy(let error, let population): "population \(population): \(error)"
      case .storage(let error): "\(error)"
      case .unreadable(let population):
        "the stored events of population \(population) cannot be read; nothing more may be spent"
      }
    }
  }

  /// Declares a population's budget. Declared once, it cannot be changed.
  package func declare(
    _ population: String, unit: PrivacyUnit, budget: PrivacyBudget
  ) throws(Refusal) {
    do {
      try ledger.declare(
        population: population, unit: unit.rawValue, budgetJSON: try Self.encode(budget, population))
    } catch let error as StorageError { throw .storage(error) } catch let error as Refusal {
      throw error
    } catch {
      throw .unreadable(population: population)
    }
  }

  /// What a population has spent, or nil if it was never declared.
  package func account(_ population: String) throws(Refusal) -> BudgetAccount? {
    do {
      guard let declared = try ledger.populations().first(where: { $0.name == population }) else {
        return nil
      }
      return try Self.account(declared, try ledger.debits(of: population))
    } catch let error as StorageError { throw .storage(error) } catch let error as Refusal {
      throw error
    } catch {
      throw .unreadable(population: population)
    }
  }

  /// Every declared population with its unit.
  package func populations() throws(Refusal) -> [(name: String, unit: String)] {
    do { return try ledger.populations().map { ($0.name, $0.unit) } } catch { throw .storage(error) }
  }

  /// The debits of a population, oldest first.
  package func debits(of population: String) throws(Refusal) -> [BudgetDebit] {
    do { return try ledger.debits(of: population) } catch { throw .storage(error) }
  }

  /// What was charged to a population for one task, oldest first.
  package func events(of population: String, task: String) throws(Refusal) -> [PrivacyEvent] {
    let debits = try debits(of: population)
    do {
      return try debits.filter { $0.task == task }.map {
        try JSONDecoder().decode(PrivacyEvent.self, from: Data($0.eventJSON.utf8))
      }
    } catch { throw .unreadable(population: population) }
  }

  /// Charges an event durably, or refuses and charges nothing. The same `id` again changes nothing.
  package func debit(
    id: String, population: String, unit: PrivacyUnit, event: PrivacyEvent, task: String, round: UInt64,
    timeMs: Int64
  ) throws(Refusal) {
    var refusal: Refusal?
    do {
      let debit = BudgetDebit(
        id: id, population: population, unit: unit.rawValue,
        eventJSON: try Self.encode(event, population), task: task, round: round, timeMs: timeMs)
      try ledger.debit(debit) { declared, earlier in
        do {
          var account = try Self.account(declared, earlier)
          try account.debit(event)
          return true
        } catch let error as PrivacyError {
          refusal = .privacy(error, population: population)
        } catch {
          refusal = .unreadable(population: population)
        }
        return false
      }
    } catch let error as StorageError {
      if case .budgetRefused = error, let refusal { throw refusal }
      throw .storage(error)
    } catch let error as Refusal { throw error } catch { throw .unreadable(population: population) }
  }

  private static func account(
    _ declared: BudgetPopulation, _ debits: [BudgetDebit]
  ) throws -> BudgetAccount {
    let decoder = JSONDecoder()
    let budget = try decoder.decode(PrivacyBudget.self, from: Data(declared.budgetJSON.utf8))
    let events = try debits.map { try decoder.decode(PrivacyEvent.self, from: Data($0.eventJSON.utf8)) }
    return try BudgetAccount(budget: budget, spent: events)
  }

  private static func encode(_ value: some Encodable, _ population: String) throws(Refusal) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys]
    do { return String(decoding: try encoder.encode(value), as: UTF8.self) } catch {
      throw .unreadable(population: population)
    }
  }
}
