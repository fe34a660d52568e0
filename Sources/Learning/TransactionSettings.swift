/// What is told of a customer's purchases up to a moment.
package enum TransactionFeature: String, Codable, CaseIterable, Equatable, Sendable {
  /// Days since the last purchase.
  case recency
  /// Days since the first purchase.
  case tenure
  /// Baskets.
  case frequency
  /// What was paid, less what was paid back.
  case monetary
  /// `monetary` divided by `frequency`.
  case averageBasket = "average_basket"
  /// The mean of the days between one basket and the next; missing with one basket.
  case gapMean = "gap_mean"
  /// The standard deviation of these days (of the population); missing with one basket or two.
  case gapDeviation = "gap_deviation"
  /// Different items bought.
  case distinctItems = "distinct_items"
  /// Lines of purchases.
  case lines
  /// `monetary` of each window.
  case windowSpend = "window_spend"
  /// `frequency` of each window.
  case windowBaskets = "window_baskets"

  /// Whether it has a column for every window.
  package var isOfWindows: Bool { self == .windowSpend || self == .windowBaskets }
  /// Whether it is counted in days; all others are amounts or counts.
  package var isOfDays: Bool {
    switch self {
    case .recency, .tenure, .gapMean, .gapDeviation: true
    default: false
    }
  }
}

/// What is to be predicted of a customer: what follows within a horizon.
package struct TransactionLabel: Codable, Equatable, Hashable, Sendable {
  /// What is looked at.
  package enum Kind: String, Codable, CaseIterable, Equatable, Sendable {
    /// 1 with at least one purchase, else 0.
    case buysAgain = "buys-again"
    /// What is paid, less what is paid back, at least 0.
    case spend
    /// The logarithm of one more than `spend`.
    case logSpend = "log-spend"

    /// How a column of it is called.
    package var columnName: String { rawValue.split(separator: "-").joined(separator: "_") }
  }

  /// What is looked at.
  package let kind: Kind
  /// The days from the moment on, 1 to `TransactionSettings.maximumDays`.
  package let horizonDays: Int

  package init(kind: Kind, horizonDays: Int) {
    self.kind = kind
    self.horizonDays = horizonDays
  }
}

/// Recency, frequency, money and what else is told of a customer's transactions: part of the schema, hence of
/// the model, so that training and serving compute the same (`TransactionFeatures`).
///
/// The moment that the features look back from is no setting: it is a date of the past for training, so that
/// what followed is known, and the present for serving.
package struct TransactionSettings: Codable, Equatable, Sendable {
  /// The longest window and horizon: a hundred years.
  package static let maximumDays = 36_500
  /// The most windows.
  package static let maximumWindows = 16
  /// The windows if nothing else is said.
  package static let standardWindows = [30, 90, 365]

  /// Which features, each once, in the order of their columns.
  package let features: [TransactionFeature]
  /// The windows in days, ascending; none without features of windows.
  package let windows: [Int]
  /// Those features x of which sign(x) · ln(1 + |x|) is taken.
  package let log: [TransactionFeature]
  /// What is predicted; nil if something else is.
  package let label: TransactionLabel?

  /// Checks the limits.
  package init(
    features: [TransactionFeature] = TransactionFeature.allCases, windows: [Int] = Self.standardWindows,
    log: [TransactionFeature] = [], label: TransactionLabel? = nil
  ) throws(LearningError) {
    self.features = features
    self.windows = windows
    self.log = log
    self.label = label
    try validate()
  }

  /// Decodes and checks the limits. Absent features are all, absent windows the standard ones if a feature
  /// wants windows, absent logarithms none.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let features =
      try container.decodeIfPresent([TransactionFeature].self, forKey: .features)
      ?? TransactionFeature.allCases
    try self.init(
      features: features,
      windows: try container.decodeIfPresent([Int].self, forKey: .windows)
        ?? (features.contains(where: \.isOfWindows) ? Self.standardWindows : []),
      log: try container.decodeIfPresent([TransactionFeature].self, forKey: .log) ?? [],
      label: try container.decodeIfPresent(TransactionLabel.self, forKey: .label))
  }

  private enum CodingKeys: String, CodingKey {
    case features, windows, log, label
  }

  private func validate() throws(LearningError) {
    func require(_ condition: Bool, _ reason: String) throws(LearningError) {
      guard condition else { throw .invalidSetting(name: "what is told of transactions", reason: reason) }
    }
    try require(!features.isEmpty, "it must have at least one feature")
    try require(Set(features).count == features.count, "it has a feature twice")
    try require(
      Set(log).count == log.count && Set(log).isSubset(of: features),
      "it must take logarithms of features that it has, each once")
    try require(
      windows.count <= Self.maximumWindows && windows.allSatisfy { (1...Self.maximumDays).contains($0) }
        && zip(windows, windows.dropFirst()).allSatisfy { $0 < $1 },
      "windows are up to \(Self.maximumWindows) numbers of days, ascending, from 1 to \(Self.maximumDays)")
    try require(
      windows.isEmpty != features.contains(where: \.isOfWindows),
      "it must have windows if, and only if, it has features of windows")
    if let label {
      try require(
        (1...Self.maximumDays).contains(label.horizonDays),
        "the horizon must have 1 to \(Self.maximumDays) days")
    }
  }

  /// The names of the columns, all numeric, in order: those of the features, `spend_90_days` and
  /// `baskets_90_days` for a window of 90 days.
  package var columnNames: [String] {
    features.flatMap { feature in
      switch feature {
      case .windowSpend: windows.map { "spend_\($0)_days" }
      case .windowBaskets: windows.map { "baskets_\($0)_days" }
      default: [feature.rawValue]
      }
    }
  }

  /// The columns as a schema has them.
  package var columns: [FeatureColumn] { columnNames.map { FeatureColumn(name: $0, kind: .numeric) } }
}
