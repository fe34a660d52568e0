#if canImport(Glibc)
  import Glibc
#endif

/// One line of a customer's purchases or returns.
package struct Transaction: Equatable, Sendable {
  /// When.
  package let time: CivilTime
  /// What was paid: above 0 for a purchase, below 0 for money that went back. One that is not finite does not
  /// count at all.
  package let amount: Double
  /// The receipt or order; lines without one are a basket with the others of their day without one.
  package let basket: String?
  /// What was bought; lines without one are of no item.
  package let item: String?

  package init(time: CivilTime, amount: Double, basket: String? = nil, item: String? = nil) {
    self.time = time
    self.amount = amount
    self.basket = basket
    self.item = item
  }
}

/// One customer's transactions up to a moment and after it: the one place where training and serving compute
/// what `TransactionSettings` tell.
///
/// - What is before the moment counts for features, what is at it or after it never does.
/// - A purchase is a line with an amount above 0. Baskets, lines, items and all days are those of purchases. A
///   basket is at the time of its first purchase.
/// - A return is a line with an amount below 0. It lessens money (all of it and that of the window it falls
///   in), nothing else: who brings something back has not bought. So money can be below 0. A line of 0 says
///   nothing.
/// - A window of 90 days holds what is at most 90 · 24 hours back.
///
/// The result does not depend on the order of the lines, not even in its last bit.
package struct TransactionFeatures: Sendable {
  private let past: [Transaction]
  private let future: [Transaction]
  private let asOf: CivilTime

  /// - Parameters:
  ///   - transactions: of one customer, in any order.
  ///   - asOf: the moment that divides the past from the future.
  package init(_ transactions: [Transaction], asOf: CivilTime) {
    let sorted = transactions.filter(\.amount.isFinite).sorted {
      ($0.time, $0.amount) < ($1.time, $1.amount)
    }
    past = sorted.filter { $0.time < asOf }
    future = sorted.filter { $0.time >= asOf }
    self.asOf = asOf
  }

  /// The cells of the settings' columns; nil for a customer without a purchase before the moment, of whom
  /// nothing can be told.
  package func cells(_ settings: TransactionSettings) -> [RawValue]? {
    let purchases = past.filter { $0.amount > 0 }
    guard let first = purchases.first, let last = purchases.last else { return nil }
    let baskets = Self.basketTimes(of: purchases)
    let gaps = zip(baskets, baskets.dropFirst()).map { $1.days(since: $0) }
    let money = past.reduce(0) { $0 + $1.amount }
    return settings.features.flatMap { feature -> [RawValue] in
      let values: [Double?] =
        switch feature {
        case .recency: [asOf.days(since: last.time)]
        case .tenure: [asOf.days(since: first.time)]
        case .frequency: [Double(baskets.count)]
        case .monetary: [money]
        case .averageBasket: [money / Double(baskets.count)]
        case .gapMean: [gaps.isEmpty ? nil : Self.mean(gaps)]
        case .gapDeviation: [gaps.count < 2 ? nil : Self.deviation(gaps)]
        case .distinctItems: [Double(Set(purchases.compactMap(\.item)).count)]
        case .lines: [Double(purchases.count)]
        case .windowSpend:
          settings.windows.map { days in
            past.reduce(0) { isIn($1.time, days) ? $0 + $1.amount : $0 }
          }
        case .windowBaskets:
          settings.windows.map { days in Double(baskets.count { isIn($0, days) }) }
        }
      let takesLog = settings.log.contains(feature)
      return values.map { value in
        guard let value, value.isFinite else { return .missing }
        return .number(takesLog ? Self.signedLog(value) : value)
      }
    }
  }

  /// The target of a label.
  package func target(_ label: TransactionLabel) -> Double {
    let within = future.filter {
      $0.time.seconds - asOf.seconds < Int64(label.horizonDays) * CivilTime.daySeconds
    }
    let spend = max(0, within.reduce(0) { $0 + $1.amount })
    switch label.kind {
    case .buysAgain: return within.contains { $0.amount > 0 } ? 1 : 0
    case .spend: return spend
    case .logSpend: return log1p(spend)
    }
  }

  private func isIn(_ time: CivilTime, _ days: Int) -> Bool {
    asOf.seconds - time.seconds <= Int64(days) * CivilTime.daySeconds
  }

  /// The times of the baskets of sorted purchases, ascending.
  private static func basketTimes(of purchases: [Transaction]) -> [CivilTime] {
    var names: Set<String> = []
    var days: Set<Int64> = []
    return purchases.compactMap { line in
      let isNew =
        if let name = line.basket { names.insert(name).inserted } else { days.insert(line.time.day).inserted }
      return isNew ? line.time : nil
    }
  }

  private static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

  private static func deviation(_ values: [Double]) -> Double {
    let mean = mean(values)
    return (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)).squareRoot()
  }

  private static func signedLog(_ value: Double) -> Double {
    value < 0 ? -log1p(-value) : log1p(value)
  }
}

extension FeatureSchema {
  /// The record of a customer, for training and for serving alike.
  ///
  /// - Parameters:
  ///   - transactions: of the customer, in any order.
  ///   - asOf: the moment from which the features look back: the present, for serving.
  ///   - attributes: the cells of the other columns; absent ones are missing.
  /// - Returns: nil for a customer without a purchase before the moment.
  /// - Throws: `LearningError.invalidSchema` for a schema without transactions, or for attributes that are no
  ///   columns of it or that the transactions tell.
  package func record(
    of transactions: [Transaction], asOf: CivilTime, attributes: [String: RawValue] = [:]
  ) throws(LearningError) -> RawRecord? {
    guard let settings = self.transactions else {
      throw .invalidSchema(reason: "it tells nothing of transactions")
    }
    let told = settings.columnNames
    let others = Set(columns.map(\.name)).subtracting(told)
    if let name = attributes.keys.filter({ !others.contains($0) }).min() {
      throw .invalidSchema(reason: "it has no column \"\(name)\" besides those of transactions")
    }
    guard let cells = TransactionFeatures(transactions, asOf: asOf).cells(settings) else { return nil }
    var values = attributes
    for (name, cell) in zip(told, cells) { values[name] = cell }
    return columns.map { values[$0.name] ?? .missing }
  }
}
