import Foundation
import Testing

@testable import Privacy

/// Budgets, accounts and statements.
struct BudgetTests {
  private let budget = PrivacyBudget(epsilon: 4, delta: 1e-6)
  private let event = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 8))

  @Test func `an account pays until the budget is reached and then refuses`() throws {
    var account = BudgetAccount(budget: budget)
    var paid = 0
    var refusal: PrivacyError?
    while refusal == nil, paid < 1000 {
      do throws(PrivacyError) {
        try account.debit(event)
        paid += 1
      } catch { refusal = error }
    }
    guard case .budgetExhausted(let spent, let wouldBe, let budget) = refusal else {
      Issue.record("expected an exhausted budget, not \(String(describing: refusal))")
      return
    }
    #expect(spent <= 4 && wouldBe > 4 && budget == self.budget)
    #expect(try account.spent().epsilon == spent, "a refused debit spends nothing")
    #expect(account.events == [PrivacyEvent(mechanism: event.mechanism, count: paid)])
    // ρ = paid/(2·64): the count is where theory puts it.
    let rho = Double(paid) / 128
    #expect(isClose(rho + 2 * (rho * log(1e6)).squareRoot(), 4, relative: 0.2))
  }

  @Test func `a look at the cost debits nothing`() throws {
    var account = BudgetAccount(budget: budget)
    let after = try account.epsilonAfter(event)
    #expect(account.events.isEmpty)
    #expect(try account.spent().epsilon == 0)
    #expect(try account.remaining() == 4)
    try account.debit(event)
    #expect(try account.spent() == after)
    #expect(try account.remaining() == 4 - after.epsilon)
  }

  @Test func `like events are merged and unlike ones are not`() throws {
    var account = BudgetAccount(budget: budget)
    let other = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 9), count: 2)
    for event in [event, other, event, other] { try account.debit(event) }
    #expect(account.events.map(\.count) == [2, 4])
    let huge = PrivacyEvent(mechanism: .gaussian(noiseMultiplier: 1e9), count: .max)
    var open = BudgetAccount(budget: PrivacyBudget(epsilon: .infinity, delta: 1e-6))
    try open.debit(huge)
    #expect(throws: PrivacyError.self, "a count that overflows") { try open.debit(huge) }
  }

  @Test func `an infinite budget allows all, and only a release without noise makes epsilon infinite`()
    throws
  {
    var account = BudgetAccount(budget: PrivacyBudget(epsilon: .infinity, delta: 1e-6))
    try account.debit(event)
    #expect(try account.spent().epsilon.isFinite)
    #expect(try account.remaining() == .infinity)
    try account.debit(PrivacyEvent(mechanism: .none))
    #expect(try account.spent().epsilon == .infinity)
    #expect(throws: PrivacyError.unsupportedMechanism(name: "laplace"), "unknown is refused even here") {
      try account.debit(PrivacyEvent(mechanism: .unsupported(name: "laplace")))
    }
  }

  @Test func `a release without noise is refused by any finite budget`() {
    var account = BudgetAccount(budget: PrivacyBudget(epsilon: 1e300, delta: 1e-6))
    #expect(throws: PrivacyError.self) { try account.debit(PrivacyEvent(mechanism: .none)) }
  }

  @Test(arguments: [
    PrivacyBudget(epsilon: .nan, delta: 1e-6), PrivacyBudget(epsilon: -1, delta: 1e-6),
    PrivacyBudget(epsilon: 0, delta: 1e-6), PrivacyBudget(epsilon: 1, delta: 0),
    PrivacyBudget(epsilon: 1, delta: 1), PrivacyBudget(epsilon: .infinity, delta: .nan),
  ])
  func `a meaningless budget pays for nothing`(_ budget: PrivacyBudget) {
    var account = BudgetAccount(budget: budget)
    #expect(throws: PrivacyError.self) { try account.debit(event) }
  }

  @Test func `an account survives JSON, and an unknown event in it stops all spending`() throws {
    var account = BudgetAccount(budget: PrivacyBudget(epsilon: .infinity, delta: 1e-6))
    try account.debit(event)
    let data = try JSONEncoder().encode(account)
    #expect(try JSONDecoder().decode(BudgetAccount.self, from: data) == account)
    let json = String(decoding: data, as: UTF8.self)
    #expect(json.contains(#""epsilon":"inf""#))
    let later = json.replacing(#""kind":"gaussian""#, with: #""kind":"fromTheFuture""#)
    #expect(later != json)
    var opened = try JSONDecoder().decode(BudgetAccount.self, from: Data(later.utf8))
    #expect(throws: PrivacyError.unsupportedMechanism(name: "fromTheFuture")) {
      try opened.debit(event)
    }
    #expect(throws: PrivacyError.self) { try opened.remaining() }
  }

  @Test(arguments: [
    #"{"epsilon": -1, "delta": 1e-6}"#, #"{"epsilon": 1, "delta": 0}"#,
    #"{"epsilon": "-inf", "delta": 1e-6}"#, #"{"epsilon": "much", "delta": 1e-6}"#,
    #"{"epsilon": 1}"#,
  ])
  func `a meaningless budget does not decode`(_ json: String) {
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(PrivacyBudget.self, from: Data(json.utf8))
    }
  }

  private func statement(_ epsilon: Double) -> PrivacyStatement {
    PrivacyStatement(
      epsilon: epsilon, delta: 1e-5, unit: .customer, relation: .addRemove, mechanism: "Skellam",
      trustMode: .distributed)
  }

  @Test func `a statement is one line and never rounds epsilon down`() {
    #expect(
      statement(7.93).description
        == "ε = 7.93 at δ = 1e-05 per customer (add/remove, Skellam, distributed)")
    let shown: [(Double, String)] = [
      (7.930001, "7.94"), (8, "8.00"), (7.9999, "8.00"), (0, "0.00"), (0.1, "0.10"),
      (0.01234, "0.013"), (0.00031, "0.00031"), (1234.5, "1234.50"), (.infinity, "∞"),
    ]
    for (epsilon, text) in shown { #expect(PrivacyStatement.roundedUp(epsilon) == text) }
  }

  @Test func `a statement survives JSON, infinity as a string`() throws {
    for epsilon in [7.93, .infinity] {
      let data = try JSONEncoder().encode(statement(epsilon))
      #expect(try JSONDecoder().decode(PrivacyStatement.self, from: data) == statement(epsilon))
      if epsilon == .infinity {
        #expect(String(decoding: data, as: UTF8.self).contains(#""epsilon":"inf""#))
      }
    }
  }
}
