import Foundation
import Testing

@testable import Learning

@Suite struct TransactionFeaturesTests {
  private static func time(_ text: String) throws -> CivilTime { try #require(CivilTime(iso8601: text)) }

  private static func line(
    _ time: String, _ amount: Double, _ basket: String? = nil, _ item: String? = nil
  ) throws -> Transaction {
    Transaction(time: try Self.time(time), amount: amount, basket: basket, item: item)
  }

  /// Three baskets, a return, and what comes after.
  private static func customer() throws -> [Transaction] {
    [
      try line("2011-08-30", -10, "C7", "mug"),
      try line("2011-01-01", 20, "1", "mug"), try line("2011-01-01T00:01", 30, "1", "plate"),
      try line("2011-06-03", 15, "2", "mug"),
      try line("2011-08-22T12:00", 5, "3", "bowl"), try line("2011-08-22T12:00", 0, "4", "gift"),
      try line("2011-09-01", 100, "5", "mug"), try line("2011-09-10", -40, "C8", "mug"),
      try line("2011-12-10", 1_000, "6", "mug"),
    ]
  }

  private static func cells(
    _ transactions: [Transaction], _ settings: TransactionSettings, asOf: String = "2011-09-01"
  ) throws -> [RawValue]? {
    TransactionFeatures(transactions, asOf: try time(asOf)).cells(settings)
  }

  @Test func `tells recency, frequency, money and more, by hand`() throws {
    let settings = try TransactionSettings(windows: [30, 90])
    let cells = try #require(try Self.cells(Self.customer(), settings))
    #expect(
      settings.columnNames == [
        "recency", "tenure", "frequency", "monetary", "average_basket", "gap_mean", "gap_deviation",
        "distinct_items", "lines", "spend_30_days", "spend_90_days", "baskets_30_days", "baskets_90_days",
      ])
    // Gaps of 153 and 80.5 days; the 90 days before begin on 2011-06-03, which counts.
    #expect(
      cells
        == [9.5, 243, 3, 60, 20, 116.75, 36.25, 3, 4, -5, 10, 1, 2].map { .number($0) })
  }

  @Test func `takes logarithms of those features that want it, signs kept`() throws {
    let settings = try TransactionSettings(
      features: [.monetary, .windowSpend, .recency], windows: [30], log: [.windowSpend, .monetary])
    let cells = try #require(try Self.cells(Self.customer(), settings))
    #expect(cells == [.number(log1p(60)), .number(-log1p(5)), .number(9.5)])
  }

  @Test func `the order of lines changes nothing, not even the last bit`() throws {
    var draws = SplitMix64(seed: 2)
    let start = try Self.time("2011-01-01")
    var lines: [Transaction] = (0..<200).compactMap { index in
      CivilTime(seconds: start.seconds + Int64(draws.next() % 230) * CivilTime.daySeconds).map {
        Transaction(
          time: $0, amount: Double(draws.next() % 9_999) / 100 - 20,
          basket: index % 3 == 0 ? nil : "\(index / 4)",
          item: "\(draws.next() % 40)")
      }
    }
    let settings = try TransactionSettings(log: [.monetary])
    let label = TransactionLabel(kind: .logSpend, horizonDays: 60)
    let first = TransactionFeatures(lines, asOf: try Self.time("2011-07-01"))
    for _ in 0..<20 {
      for index in lines.indices.dropFirst() { lines.swapAt(index, Int(draws.next() % UInt64(index + 1))) }
      let other = TransactionFeatures(lines, asOf: try Self.time("2011-07-01"))
      #expect(other.cells(settings) == first.cells(settings))
      #expect(other.target(label) == first.target(label))
    }
  }

  @Test func `what comes later changes no feature, what was before no label`() throws {
    let all = try Self.customer()
    let asOf = try Self.time("2011-09-01")
    let settings = try TransactionSettings()
    let label = TransactionLabel(kind: .spend, horizonDays: 100)
    let features = TransactionFeatures(all, asOf: asOf)
    #expect(
      TransactionFeatures(all.filter { $0.time < asOf }, asOf: asOf).cells(settings)
        == features.cells(settings))
    #expect(
      TransactionFeatures(all.filter { $0.time >= asOf }, asOf: asOf).target(label) == features.target(label))
  }

  @Test func `labels are what follows within the horizon`() throws {
    let features = TransactionFeatures(try Self.customer(), asOf: try Self.time("2011-09-01"))
    func target(_ kind: TransactionLabel.Kind, _ days: Int) -> Double {
      features.target(TransactionLabel(kind: kind, horizonDays: days))
    }
    // The purchase at the moment itself counts, the one exactly 100 days later does not.
    #expect(target(.buysAgain, 100) == 1 && target(.spend, 100) == 60 && target(.spend, 101) == 1_060)
    #expect(target(.logSpend, 100) == log1p(60))
    let later = TransactionFeatures(try Self.customer(), asOf: try Self.time("2011-09-02"))
    // A return alone is no purchase, and money is not below 0.
    #expect(later.target(TransactionLabel(kind: .buysAgain, horizonDays: 30)) == 0)
    #expect(later.target(TransactionLabel(kind: .spend, horizonDays: 30)) == 0)
  }

  @Test func `one basket has no gaps, two have no deviation`() throws {
    let settings = try TransactionSettings(features: [.gapMean, .gapDeviation, .frequency], windows: [])
    let one = [try Self.line("2011-01-01", 1, "a"), try Self.line("2011-01-05", 1, "a")]
    #expect(try Self.cells(one, settings) == [.missing, .missing, .number(1)])
    #expect(
      try Self.cells(one + [Self.line("2011-01-11", 1, "b")], settings) == [
        .number(10), .missing, .number(2),
      ])
  }

  @Test func `lines without a basket are one of their day`() throws {
    let settings = try TransactionSettings(features: [.frequency, .gapMean, .distinctItems], windows: [])
    let lines = [
      try Self.line("2011-01-01T09:00", 1), try Self.line("2011-01-01T18:00", 1),
      try Self.line("2011-01-03T09:00", 1),
    ]
    #expect(try Self.cells(lines, settings) == [.number(2), .number(2), .number(0)])
  }

  @Test func `nothing is told of who has not bought`() throws {
    let settings = try TransactionSettings()
    #expect(try Self.cells([], settings) == nil)
    #expect(try Self.cells([Self.line("2011-01-01", -5)], settings) == nil)
    #expect(try Self.cells([Self.line("2011-09-01", 5)], settings) == nil)
  }

  @Test func `amounts that are no numbers or too large do no harm`() throws {
    let settings = try TransactionSettings(log: [.monetary])
    let lines = try ["2011-01-01", "2011-02-01"].map { try Self.line($0, .greatestFiniteMagnitude, "x") }
    let cells = try #require(try Self.cells(lines + [Self.line("2011-03-01", .nan)], settings))
    #expect(cells[0] == .number(212) && cells[3] == .missing)
  }
}

@Suite struct TransactionSettingsTests {
  @Test func `refuses settings beyond the limits`() throws {
    func refused(
      _ features: [TransactionFeature] = TransactionFeature.allCases, _ windows: [Int] = [30],
      _ log: [TransactionFeature] = [], _ label: TransactionLabel? = nil
    ) -> Bool {
      (try? TransactionSettings(features: features, windows: windows, log: log, label: label)) == nil
    }
    #expect(!refused())
    #expect(refused([], []) && refused([.recency, .recency], []))
    #expect(refused([.recency]) && refused(TransactionFeature.allCases, []))
    #expect(
      refused([.windowSpend], [0]) && refused([.windowSpend], [30, 30]) && refused([.windowSpend], [90, 30]))
    #expect(refused([.windowSpend], [36_501]) && refused([.windowSpend], Array(1...17)))
    #expect(refused([.recency], [], [.monetary]) && refused([.recency], [], [.recency, .recency]))
    for days in [0, -1, 36_501, .max] {
      #expect(refused([.recency], [], [], TransactionLabel(kind: .spend, horizonDays: days)))
    }
  }

  @Test func `a file may leave out what is usual`() throws {
    func decode(_ text: String) throws -> TransactionSettings {
      try JSONDecoder().decode(TransactionSettings.self, from: Data(text.utf8))
    }
    #expect(try decode("{}") == TransactionSettings())
    #expect(
      try decode(#"{"features":["recency"]}"#) == TransactionSettings(features: [.recency], windows: []))
    #expect(
      try decode(#"{"windows":[90],"log":["monetary"],"label":{"kind":"buys-again","horizonDays":100}}"#)
        == TransactionSettings(
          windows: [90], log: [.monetary], label: TransactionLabel(kind: .buysAgain, horizonDays: 100)))
    for text in [
      #"{"features":["wealth"]}"#, #"{"features":[]}"#, #"{"windows":[-1]}"#, #"{"windows":[]}"#,
      #"{"windows":[1e99]}"#,
      #"{"label":{"kind":"buys-again","horizonDays":0}}"#, #"{"log":["recency","recency"]}"#,
    ] {
      #expect(throws: (any Error).self) { try decode(text) }
    }
  }

  @Test func `settings travel with the schema and need their columns`() throws {
    let settings = try TransactionSettings(
      features: [.recency, .windowSpend], windows: [90],
      label: TransactionLabel(kind: .spend, horizonDays: 10))
    let schema = try FeatureSchema(
      columns: [FeatureColumn(name: "country", kind: .categorical)] + settings.columns, transactions: settings
    )
    let bytes = try JSONEncoder().encode(schema)
    #expect(try JSONDecoder().decode(FeatureSchema.self, from: bytes) == schema)
    let plain = try FeatureSchema(columns: schema.columns)
    #expect(plain != schema)
    #expect(!String(decoding: try JSONEncoder().encode(plain), as: UTF8.self).contains("transactions"))
    #expect(throws: LearningError.self) {
      try FeatureSchema(columns: [FeatureColumn(name: "recency", kind: .numeric)], transactions: settings)
    }
    #expect(throws: LearningError.self) {
      try FeatureSchema(
        columns: settings.columnNames.map { FeatureColumn(name: $0, kind: .categorical) },
        transactions: settings)
    }
    let lacking = #"{"columns":[{"name":"recency","kind":"numeric"}],"transactions":{"features":["lines"]}}"#
    #expect(throws: LearningError.self) {
      try JSONDecoder().decode(FeatureSchema.self, from: Data(lacking.utf8))
    }
  }

  @Test func `a schema makes the record of a customer, as serving needs it`() throws {
    let settings = try TransactionSettings(features: [.recency, .monetary], windows: [])
    let schema = try FeatureSchema(
      columns: [
        FeatureColumn(name: "monetary", kind: .numeric), FeatureColumn(name: "country", kind: .categorical),
        FeatureColumn(name: "recency", kind: .numeric),
      ], transactions: settings)
    let now = try #require(CivilTime(iso8601: "2011-09-01"))
    let lines = [Transaction(time: try #require(CivilTime(iso8601: "2011-08-31")), amount: 7)]
    #expect(
      try schema.record(of: lines, asOf: now, attributes: ["country": .text("DE")])
        == [.number(7), .text("DE"), .number(1)])
    #expect(try schema.record(of: lines, asOf: now) == [.number(7), .missing, .number(1)])
    #expect(try schema.record(of: [], asOf: now) == nil)
    for name in ["recency", "city"] {
      #expect(throws: LearningError.self) {
        try schema.record(of: lines, asOf: now, attributes: [name: .number(1)])
      }
    }
    #expect(throws: LearningError.self) {
      try FeatureSchema(columns: schema.columns).record(of: lines, asOf: now)
    }
  }
}
