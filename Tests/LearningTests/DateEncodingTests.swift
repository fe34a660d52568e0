import Foundation
import Testing

@testable import Learning

@Suite struct DateEncodingTests {
  private static func schema(_ settings: DateSettings?) throws -> FeatureSchema {
    try FeatureSchema(columns: [
      FeatureColumn(name: "joined", kind: .date, date: settings), FeatureColumn(name: "age", kind: .numeric),
    ])
  }

  private static func settings(hour: Bool = true) throws -> DateSettings {
    let reference: CivilTime = try #require(CivilTime(iso8601: "2024-01-01"))
    return DateSettings(reference: reference, hour: hour)
  }

  private static func days(missing: Bool) -> NumericEncoding {
    NumericEncoding(mean: 10, standardDeviation: 5, edges: [0, 10], missingIndicator: missing)
  }

  private static func pipeline(missing: Bool, hour: Bool = true) throws -> FeaturePipeline {
    let settings = try settings(hour: hour)
    return try FeaturePipeline(
      schema: schema(settings),
      encodings: [
        .date(DateEncoding(days: days(missing: missing), settings: settings)),
        .numeric(NumericEncoding(mean: 0, standardDeviation: 1, edges: [], missingIndicator: false)),
      ])
  }

  @Test func `a date becomes days, bins and parts of the calendar`() throws {
    let pipeline = try Self.pipeline(missing: true)
    // Wednesday 2024-01-10, 09:00: 9 days from the reference, that is to say in the middle bin.
    let matrix = try pipeline.encode([[.text("2024-01-10T09:00"), .number(2)]])
    let angle = 2 * Double.pi * 9 / 24
    let expected: [Float] =
      [Float((9.375 - 10) / 5), 0, 1, 0, 0] + [0, 0, 1, 0, 0, 0, 0] + [0, 1]
      + [Float(sin(angle)), Float(cos(angle))] + [2]
    #expect(pipeline.featureCount == 17)
    #expect(distance(matrix.values, expected) < 1e-6)
    let april = try pipeline.encode([[.text("2024-04-07"), .number(0)]])
    #expect(april.values[0] == 3 && april.values[11] == 1)
    #expect(abs(april.values[12] - 1) < 1e-6 && abs(april.values[13]) < 1e-6)
  }

  @Test func `a missing date has its indicator and nothing of the calendar`() throws {
    let missing = try Self.pipeline(missing: true).encode([[.missing, .number(0)]])
    #expect(missing.values == [0, 0, 0, 0, 1] + [Float](repeating: 0, count: 12))
    let imputed = try Self.pipeline(missing: false).encode([[.number(.nan), .number(0)]])
    #expect(imputed.values == [0, 0, 0, 1] + [Float](repeating: 0, count: 12))
  }

  @Test func `a number is days since 1970`() throws {
    let pipeline = try Self.pipeline(missing: true)
    #expect(
      try pipeline.encode([[.number(19_732.375), .number(2)]])
        == pipeline.encode([[.text("2024-01-10 09:00:00"), .number(2)]]))
  }

  @Test func `what is no date is an error that names the column`() throws {
    let pipeline = try Self.pipeline(missing: true)
    for value in [RawValue.text("10.01.2024"), .text(""), .number(20_240_110)] {
      #expect(throws: LearningError.invalidDate(name: "joined")) { try pipeline.encode([[value, .missing]]) }
      #expect(throws: LearningError.invalidDate(name: "joined")) {
        try CoarseStatistics(schema: pipeline.schema).contribution(of: [[value, .missing]])
      }
    }
  }

  @Test func `trees get a column of bins for the days and for each part`() throws {
    let pipeline = try Self.pipeline(missing: true)
    func column(_ count: Int) -> BinnedColumn {
      BinnedColumn(count: count, isOrdered: true, hasMissing: true)
    }
    #expect(
      pipeline.shape(for: .bins).bins
        == [
          column(4), column(8), column(13), column(25),
          BinnedColumn(count: 1, isOrdered: true, hasMissing: false),
        ])
    let records: [RawRecord] = [
      [.text("2023-12-31T23:59"), .number(0)], [.text("2024-01-01"), .number(0)], [.missing, .number(0)],
      [.text("2024-02-17T13:30"), .number(0)],
    ]
    #expect(
      try pipeline.encode(records, as: .bins).values
        == [0, 6, 11, 23, 0] + [1, 0, 0, 0, 0] + [3, 7, 12, 24, 0] + [2, 5, 1, 13, 0])
    // Without an indicator a missing date is the mean: Thursday 2024-01-11.
    let imputed = try Self.pipeline(missing: false, hour: false)
    #expect(imputed.shape(for: .bins).bins.map(\.count) == [3, 7, 12, 1])
    #expect(try imputed.encode([[.missing, .missing]], as: .bins).values == [2, 3, 0, 0])
  }

  @Test(arguments: [0.0, 3.0])
  func `is fitted by the private sums as a number is`(noiseMultiplier: Double) throws {
    let schema = try Self.schema(Self.settings())
    let first = try #require(CivilTime(iso8601: "2024-02-01"))
    let records: [RawRecord] = try (0..<2_000).map { index in
      let time = try #require(CivilTime(seconds: first.seconds + Int64(index) * 6 * 3_600))
      return [index % 10 == 3 ? .missing : .text(time.description), .number(Double(index % 50))]
    }
    let pipeline = try FeaturePipelineTests.fit(
      records.map { [$0] }, schema: schema, noiseMultiplier: noiseMultiplier)
    guard case .date(let encoding) = pipeline.encodings[0] else {
      throw LearningError.invalidSchema(reason: "kinds were mixed up")
    }
    // 500 days from day 31 on.
    #expect(abs(encoding.days.mean - 281) < 20)
    #expect(abs(encoding.days.standardDeviation - 144) < 15)
    #expect(encoding.days.edges.count == TrainingDefaults.standard.quantileBins - 1)
    #expect(encoding.days.missingIndicator)
    #expect(encoding.settings == schema.columns[0].date)
    let bytes = try JSONEncoder().encode(pipeline)
    #expect(try JSONDecoder().decode(FeaturePipeline.self, from: bytes) == pipeline)
  }

  @Test func `an encoding fits its column alone`() throws {
    let settings = try Self.settings()
    let encoding = ColumnEncoding.date(DateEncoding(days: Self.days(missing: true), settings: settings))
    #expect(throws: LearningError.self) {
      try FeaturePipeline(schema: Self.schema(nil), encodings: [encoding, .unused])
    }
    #expect(throws: LearningError.self) {
      try FeaturePipeline(
        schema: Self.schema(settings), encodings: [.numeric(Self.days(missing: true)), .unused])
    }
    #expect(throws: LearningError.self) {
      try FeaturePipeline(schema: Self.schema(settings), encodings: [.unused, encoding])
    }
    let broken = NumericEncoding(mean: .nan, standardDeviation: 1, edges: [], missingIndicator: false)
    #expect(throws: LearningError.self) {
      try FeaturePipeline(
        schema: Self.schema(settings),
        encodings: [.date(DateEncoding(days: broken, settings: settings)), .unused])
    }
    #expect(throws: LearningError.self) {
      try FeatureSchema(columns: [FeatureColumn(name: "n", kind: .numeric, date: settings)])
    }
  }

  @Test func `absent settings are the standard ones`() throws {
    let text =
      #"{"columns":[{"name":"a","kind":"date"},{"name":"b","kind":"date","date":{"reference":"2024-01-01"}}]}"#
    let schema = try JSONDecoder().decode(FeatureSchema.self, from: Data(text.utf8))
    #expect(schema.columns[0].date == nil && schema.columns[0].dateSettings == .standard)
    #expect(schema.columns[1].date == (try Self.settings(hour: false)))
    #expect(DateSettings.standard.reference.description == "2025-01-01")
    #expect(throws: (any Error).self) {
      try JSONDecoder().decode(
        FeatureSchema.self,
        from: Data(text.replacingOccurrences(of: "2024-01-01", with: "2024-01-32").utf8))
    }
  }

  @Test func `a pipeline that was saved before dates were known is read`() throws {
    let text = """
      {"encodings":[{"numeric":{"_0":{"edges":[1],"mean":0,"missingIndicator":false,"standardDeviation":1}}}],\
      "schema":{"columns":[{"kind":"numeric","name":"age"}]}}
      """
    let pipeline = try JSONDecoder().decode(FeaturePipeline.self, from: Data(text.utf8))
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(String(decoding: try encoder.encode(pipeline), as: UTF8.self) == text)
  }

  @Test func `whatever a server sends as a pipeline is refused or safe`() throws {
    let bytes = Array(try JSONEncoder().encode(Self.pipeline(missing: true)))
    var draws = SplitMix64(seed: 5)
    let records: [RawRecord] = [[.text("2024-04-07T05:00"), .number(1)], [.missing, .missing]]
    for _ in 0..<3_000 {
      var mutated = bytes
      for _ in 0..<1 + draws.next() % 3 {
        mutated[Int(draws.next() % UInt64(mutated.count))] =
          Array("0123456789-eE.tfn\"[]{},".utf8)[Int(draws.next() % 23)]
      }
      guard let pipeline = try? JSONDecoder().decode(FeaturePipeline.self, from: Data(mutated)) else {
        continue
      }
      for layout in [FeatureLayout.dense, .bins] {
        guard let matrix = try? pipeline.encode(records, as: layout) else { continue }
        let isFinite = matrix.values.allSatisfy(\.isFinite)
        #expect(isFinite && matrix.values.count == 2 * pipeline.shape(for: layout).columns)
      }
    }
  }
}
