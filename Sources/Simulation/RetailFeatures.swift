import Foundation
import Learning

/// The features of a customer at the cut-off, as a store's database would yield them.
enum RetailFeatures {
  private static let columns: [(name: String, kind: FeatureKind)] = [
    ("recency_days", .numeric),
    ("frequency", .numeric),
    ("monetary", .numeric),
    ("average_basket", .numeric),
    ("recency_ratio", .numeric),
    ("trend_ratio", .numeric),
    ("returns", .numeric),
    ("complaints", .numeric),
    ("late_deliveries", .numeric),
    ("discount_share", .numeric),
    ("tenure_days", .numeric),
    ("favourite_category", .categorical),
    ("favourite_channel", .categorical),
    ("payment_mode", .categorical),
    ("membership_tier", .categorical),
  ]

  static func schema() throws(TableError) -> FeatureSchema {
    do {
      return try FeatureSchema(columns: columns.map { FeatureColumn(name: $0.name, kind: $0.kind) })
    } catch {
      throw .unusableSchema(path: "retail generator", reason: error)
    }
  }

  /// The values in the order of the schema, ratios and money rounded to two decimals.
  static func values(of customer: RetailCustomer, draws: inout SeededDraws) -> RawRecord {
    let purchases = customer.purchases
    let summary = RetailSummary(purchases)
    let count = Double(purchases.count)
    let money = Double(purchases.reduce(0) { $0 + $1.cents }) / 100
    let discounted = Double(purchases.count { $0.discountPercent > 0 })
    func cell(_ value: RawValue, missing probability: Double) -> RawValue {
      draws.chance(probability) ? .missing : value
    }
    func number(_ value: Double) -> RawValue { .number((value * 100).rounded() / 100) }
    func tally(_ isCounted: (RetailPurchase) -> Bool) -> RawValue {
      .number(Double(purchases.count(where: isCounted)))
    }
    return [
      .number(Double(summary.recencyDays)),
      .number(count),
      number(money),
      cell(number(money / count), missing: 0.02),
      number(summary.recencyRatio),
      number(summary.trendRatio),
      tally(\.isReturned),
      cell(tally(\.isComplaint), missing: 0.02),
      tally(\.isLate),
      number(discounted / count),
      cell(.number(Double(customer.tenureDays)), missing: 0.04),
      .text(mostFrequent(purchases.map(\.category.rawValue))),
      .text(mostFrequent(purchases.map(\.channel.rawValue))),
      cell(.text(customer.paymentMode), missing: 0.06),
      cell(.text(tier(money: money, tenureDays: customer.tenureDays)), missing: 0.05),
    ]
  }

  /// Gold from 1,500 euros a year after a year of membership, silver from 500, else basic.
  private static func tier(money: Double, tenureDays: Int) -> String {
    switch money {
    case 1_500... where tenureDays >= 365: "gold"
    case 500...: "silver"
    default: "basic"
    }
  }

  /// The most frequent name; of equals the first in lexicographic order.
  private static func mostFrequent(_ names: [String]) -> String {
    var counts: [String: Int] = [:]
    for name in names { counts[name, default: 0] += 1 }
    return counts.min { ($1.value, $0.key) < ($0.value, $1.key) }?.key ?? ""
  }
}
