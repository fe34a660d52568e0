import Cryptography
import Learning
import Testing

@testable import Simulation

@Suite struct `Retail generator` {
  static let data = Result { () throws(TableError) in try RetailGenerator(seed: 7).generate() }

  private func data() throws -> RetailData { try Self.data.get() }

  /// Everything that a training run sees, as one digest.
  private func digest(_ data: RetailData) -> String {
    let records = data.shares.flatMap(\.records)
    let text =
      data.schema.columns.map { "\($0.name) \($0.kind.rawValue)" }
      + records.map {
        "StoreRecord(subject: \($0.subject.debugDescription), values: \($0.values), "
          + "label: \($0.isPositive), isHeldOut: \($0.isHeldOut))"
      }
    return Hash.blake2b(Array(text.joined(separator: "\n").utf8)).hex
  }

  @Test func `gives the known answer for a seed`() throws {
    let small = try RetailGenerator(seed: 42, stores: 3, customersPerStore: 40).generate()
    #expect(digest(small) == "d792229e40c17bbded6126f67d2098e30b61b526f1c4fa105f2b9f510f9b43a1")
    #expect(
      digest(try RetailGenerator(seed: 43, stores: 3, customersPerStore: 40).generate()) != digest(small))
  }

  @Test func `makes about 8 times 500 customers in stores of different sizes`() throws {
    let data = try data()
    let sizes = data.shares.map(\.records.count)
    #expect(sizes.count == 8)
    #expect(abs(sizes.reduce(0, +) - 4_000) <= 8)
    #expect(Set(sizes).count >= 6)
    #expect(sizes == data.stores.map(\.customerCount))
    let subjects = data.shares.flatMap(\.records).map(\.subject)
    #expect(Set(subjects).count == subjects.count)
    for share in data.shares {
      let heldOut = Double(share.heldOutSubjects.count) / Double(share.records.count)
      #expect(abs(heldOut - 0.2) < 0.01)
    }
  }

  @Test(arguments: [UInt64(1), 2, 3])
  func `makes about a fifth churn, and stores differ`(seed: UInt64) throws {
    let data = try RetailGenerator(seed: seed).generate()
    func rate(_ records: [StoreRecord]) -> Double {
      Double(records.count { $0.isPositive }) / Double(records.count)
    }
    let overall = rate(data.shares.flatMap(\.records))
    #expect((0.16...0.24).contains(overall))
    let rates = data.shares.map { rate($0.records) }
    #expect((rates.max() ?? 0) - (rates.min() ?? 0) > 0.08)
    let wealth = data.stores.map(\.wealth)
    #expect((wealth.max() ?? 0) / (wealth.min() ?? 1) > 1.3)
    #expect(data.stores.allSatisfy { abs($0.categoryMix.reduce(0, +) - 1) < 1e-9 })
  }

  @Test func `lets churn follow from behaviour`() throws {
    let data = try data()
    let records = data.shares.flatMap(\.records)
    let ratio = try #require(data.schema.columns.firstIndex { $0.name == "recency_ratio" })
    let trend = try #require(data.schema.columns.firstIndex { $0.name == "trend_ratio" })
    func area(_ column: Int, sign: Double) -> Double {
      areaUnderCurve(
        records.compactMap { record in
          guard case .number(let value) = record.values[column] else { return nil }
          return (sign * value, record.isPositive)
        })
    }
    #expect(area(ratio, sign: 1) > 0.8)
    #expect(area(trend, sign: -1) > 0.6)
    let customers = data.customers.flatMap(\.self)
    let best = areaUnderCurve(customers.map { ($0.churnProbability, $0.churned) })
    #expect((0.88...0.94).contains(best))
    #expect(areaUnderCurve(customers.map { (-$0.satisfaction, $0.churned) }) > 0.55)
  }

  @Test func `derives the features from the histories`() throws {
    let data = try data()
    let names = data.schema.columns.map(\.name)
    for (share, customers) in zip(data.shares, data.customers) {
      for (record, customer) in zip(share.records, customers) {
        let values = Dictionary(uniqueKeysWithValues: zip(names, record.values))
        let days = customer.purchases.map(\.day)
        #expect(record.subject == customer.subject)
        #expect(record.isPositive == customer.churned)
        #expect(days == days.sorted() && days.allSatisfy { (0..<365).contains($0) })
        #expect(customer.tenureDays >= 365 - (days.first ?? 0))
        #expect(values["recency_days"] == .number(Double(365 - (days.last ?? 0))))
        #expect(values["frequency"] == .number(Double(days.count)))
        let money = Double(customer.purchases.reduce(0) { $0 + $1.cents }) / 100
        #expect(values["monetary"] == .number(money))
        #expect(customer.purchases.allSatisfy { !$0.isLate || $0.channel != .store })
      }
    }
  }

  @Test func `leaves some cells out at random`() throws {
    let data = try data()
    let records = data.shares.flatMap(\.records)
    let shares = [
      "payment_mode": 0.06, "membership_tier": 0.05, "tenure_days": 0.04, "complaints": 0.02,
      "average_basket": 0.02,
    ]
    for (index, column) in data.schema.columns.enumerated() {
      let missing = Double(records.count { $0.values[index] == .missing }) / Double(records.count)
      let expected = shares[column.name] ?? 0
      #expect(abs(missing - expected) <= (expected > 0 ? 0.015 : 0))
      let isNumeric = records.allSatisfy { if case .text = $0.values[index] { false } else { true } }
      #expect(isNumeric == (column.kind == .numeric))
    }
  }

  @Test func `summarises short histories`() {
    func purchase(_ day: Int) -> RetailPurchase {
      RetailPurchase(
        day: day, cents: 100, category: .home, channel: .web, discountPercent: 0, isLate: false,
        isReturned: false, isComplaint: false)
    }
    let single = RetailSummary([purchase(335)])
    #expect(single.recencyDays == 30 && single.recencyRatio == 0.5 && single.trendRatio == 1)
    let sameDay = RetailSummary([purchase(364), purchase(364)])
    #expect(sameDay.recencyRatio == 1 && sameDay.trendRatio == 1)
    // 5 purchases in 175 days are 18/7 in 90; one came.
    let falling = RetailSummary([100, 140, 180, 220, 260, 300].map(purchase))
    #expect(falling.recencyDays == 65 && falling.recencyRatio == 65.0 / 40)
    #expect(abs(falling.trendRatio - 2 / (5 * 90.0 / 175 + 1)) < 1e-12)
  }

  @Test func `refuses impossible sizes`() {
    for (stores, customers) in [(0, 500), (1_001, 500), (8, 9), (8, 20_001), (-1, -1)] {
      #expect(throws: TableError.self) {
        try RetailGenerator(seed: 0, stores: stores, customersPerStore: customers)
      }
    }
  }
}

@Suite struct `Consent plans` {
  private let subjects = (0..<1_000).map { "p\($0)" }

  @Test func `has the asked shares exactly`() throws {
    let plan = try consentPlan(subjects: subjects, seed: 1)
    #expect(plan.intents.count == 1_000)
    #expect(plan.subjects(.refuses).count == 100)
    #expect(plan.subjects(.neverAnswers).count == 60)
    #expect(plan.subjects(.givesThenWithdraws).count == 25)
    #expect(plan.subjects(.gives).count == 815)
  }

  @Test func `depends on the set of contributors and the seed`() throws {
    let plan = try consentPlan(subjects: subjects, seed: 1)
    #expect(try consentPlan(subjects: subjects.reversed() + subjects, seed: 1) == plan)
    #expect(try consentPlan(subjects: subjects, seed: 2) != plan)
  }

  @Test func `takes shares at their limits`() throws {
    let all = try consentPlan(subjects: ["a", "b", "c"], seed: 1, refuse: 0.5, unanswered: 0.5)
    #expect(all.subjects(.refuses).count == 2 && all.subjects(.neverAnswers).count == 1)
    let none = try consentPlan(
      subjects: ["a", "b", "c"], seed: 1, refuse: 0, unanswered: 0, withdraw: 1)
    #expect(none.subjects(.givesThenWithdraws) == ["a", "b", "c"])
    #expect(try consentPlan(subjects: [], seed: 1).intents.isEmpty)
  }

  @Test(arguments: [(-0.1, 0, 0), (0.6, 0.5, 0), (0, 0, 1.1), (Double.nan, 0, 0)])
  func `refuses shares that are none`(refuse: Double, unanswered: Double, withdraw: Double) {
    #expect(throws: TableError.self) {
      try consentPlan(
        subjects: subjects, seed: 1, refuse: refuse, unanswered: unanswered, withdraw: withdraw)
    }
  }
}
