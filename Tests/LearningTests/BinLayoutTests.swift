import Testing

@testable import Learning

@Suite struct BinLayoutTests {
  private static func pipeline() throws -> FeaturePipeline {
    try FeaturePipeline(
      schema: FeaturePipelineTests.schema(),
      encodings: [
        .numeric(NumericEncoding(mean: 10, standardDeviation: 2, edges: [8, 12], missingIndicator: true)),
        .numeric(NumericEncoding(mean: 1, standardDeviation: 1, edges: [0.5], missingIndicator: false)),
        .categorical(
          CategoricalEncoding(
            buckets: [CategoryHash.bucket(of: "Berlin"), CategoryHash.bucket(of: "Paris")].sorted(),
            missingIndicator: true)),
        .unused,
      ])
  }

  @Test func `cells become the numbers of their bins`() throws {
    let pipeline = try Self.pipeline()
    let shape = pipeline.shape(for: .bins)
    #expect(
      shape
        == FeatureShape(bins: [
          BinnedColumn(count: 4, isOrdered: true, hasMissing: true),
          BinnedColumn(count: 2, isOrdered: true, hasMissing: false),
          BinnedColumn(count: 4, isOrdered: false, hasMissing: true),
        ]))
    let berlin: Float = CategoryHash.bucket(of: "Berlin") < CategoryHash.bucket(of: "Paris") ? 0 : 1
    let kept = ["Berlin", "Paris"].map(CategoryHash.bucket)
    let other = try #require(
      (0..<99).map { "town \($0)" }.first { !kept.contains(CategoryHash.bucket(of: $0)) })
    let records: [RawRecord] = [
      [.number(7.9), .number(-1e300), .text("Berlin"), .missing],
      [.number(8), .number(0.5), .text("Paris"), .number(3)],
      [.number(11.9), .missing, .text(other), .missing],
      [.number(12), .number(.nan), .missing, .missing],
      [.missing, .number(1e300), .text("Berlin"), .missing],
    ]
    let matrix = try pipeline.encode(records, as: .bins)
    #expect(matrix.rows == 5 && matrix.columns == 3)
    #expect(
      matrix.values == [0, 0, berlin, 1, 1, 1 - berlin, 1, 1, 2, 2, 1, 3, 3, 1, berlin])
  }

  @Test func `the dense layout is what it was`() throws {
    let pipeline = try Self.pipeline()
    let records: [RawRecord] = [[.number(7.9), .missing, .text("Rome"), .missing]]
    #expect(try pipeline.encode(records, as: .dense) == pipeline.encode(records))
    #expect(pipeline.shape(for: .dense) == FeatureShape(columns: pipeline.featureCount))
  }

  @Test func `a pipeline without columns has one of one bin`() throws {
    let pipeline = try FeaturePipeline(
      schema: FeaturePipelineTests.schema(), encodings: [.unused, .unused, .unused, .unused])
    let shape = pipeline.shape(for: .bins)
    #expect(shape.bins == [BinnedColumn(count: 1, isOrdered: true, hasMissing: false)])
    let matrix = try pipeline.encode([[.missing, .missing, .missing, .missing]], as: .bins)
    #expect(try matrix == Matrix(rows: 1, columns: 1, values: [0]))
  }

  @Test(arguments: [33, 64, 128])
  func `more bins than 32 are cut finer`(bins: Int) throws {
    let schema = try FeatureSchema(columns: [FeatureColumn(name: "amount", kind: .numeric)])
    let records: [RawRecord] = (0..<4_000).map { [.number(Double($0 * $0) / 1_000)] }
    let coarse = CoarseStatistics(schema: schema)
    let first = total(try records.map { try coarse.contribution(of: [$0]) })
    func edges(_ bins: Int) throws -> [Double] {
      let bounds = try coarse.decode(sum: first, noiseStdDev: 0, quantileBins: bins)
      let fine = try FineStatistics(schema: schema, bounds: bounds)
      let second = total(try records.map { try fine.contribution(of: [$0]) })
      let pipeline = try fine.decode(sum: second, noiseStdDev: 0, quantileBins: bins)
      guard case .numeric(let encoding) = pipeline.encodings[0] else { return [] }
      return encoding.edges
    }
    let found = try edges(bins)
    #expect(found.count > bins * 3 / 5 && found.count < bins)
    #expect(try found.count > edges(32).count)
  }

  @Test func `the number of bins is limited`() throws {
    let coarse = CoarseStatistics(schema: try FeaturePipelineTests.schema())
    let zeros = [Double](repeating: 0, count: coarse.dimension)
    for bins in [0, 129] {
      #expect(throws: LearningError.self) {
        try coarse.decode(sum: zeros, noiseStdDev: 0, quantileBins: bins)
      }
    }
  }
}
