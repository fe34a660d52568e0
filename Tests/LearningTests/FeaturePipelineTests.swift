import Foundation
import Testing

@testable import Learning

@Suite struct FeaturePipelineTests {
  static func schema() throws -> FeatureSchema {
    try FeatureSchema(columns: [
      FeatureColumn(name: "age", kind: .numeric), FeatureColumn(name: "spend", kind: .numeric),
      FeatureColumn(name: "city", kind: .categorical), FeatureColumn(name: "never", kind: .numeric),
    ])
  }

  /// Ages 20 … 59 evenly; half spend nothing, the others 5 … 5,000, a tenth is missing; three cities.
  private static func customers(_ count: Int) -> [RawRecord] {
    var noise = TestNoise(seed: 17)
    return (0..<count).map { index in
      let spend: RawValue =
        index % 10 == 3 ? .missing : index % 2 == 0 ? .number(0) : .number(exp(noise.next() + 4))
      return [
        .number(Double(20 + index % 40)), spend, .text(["Berlin", "Paris", "Rome"][index % 3]), .missing,
      ]
    }
  }

  static func fit(
    _ contributors: [[RawRecord]], schema: FeatureSchema, noiseMultiplier: Double, seed: UInt64 = 1
  ) throws -> FeaturePipeline {
    var noise = TestNoise(seed: seed)
    let coarse = CoarseStatistics(schema: schema)
    var sum = total(try contributors.map { try coarse.contribution(of: $0) })
    noise.add(to: &sum, standardDeviation: noiseMultiplier * coarse.l2Bound)
    let bounds = try coarse.decode(sum: sum, noiseStdDev: noiseMultiplier * coarse.l2Bound)
    let fine = try FineStatistics(schema: schema, bounds: bounds)
    sum = total(try contributors.map { try fine.contribution(of: $0) })
    noise.add(to: &sum, standardDeviation: noiseMultiplier * fine.l2Bound)
    return try fine.decode(sum: sum, noiseStdDev: noiseMultiplier * fine.l2Bound)
  }

  @Test(arguments: [0.0, 3.0])
  func `fits means, spreads, bins and vocabularies, with or without noise`(noiseMultiplier: Double) throws {
    let records = Self.customers(2000)
    let pipeline = try Self.fit(
      records.map { [$0] }, schema: Self.schema(), noiseMultiplier: noiseMultiplier)
    guard case .numeric(let age) = pipeline.encodings[0], case .numeric(let spend) = pipeline.encodings[1],
      case .categorical(let city) = pipeline.encodings[2]
    else { throw LearningError.invalidSchema(reason: "kinds were mixed up") }
    #expect(abs(age.mean - 39.5) < 1.5)
    #expect(abs(age.standardDeviation - 11.5) < 1.5)
    #expect(age.edges.count == TrainingDefaults.standard.quantileBins - 1)
    #expect(!age.missingIndicator)
    // An even column: every eighth is about five years wide.
    for (index, edge) in age.edges.enumerated() { #expect(abs(edge - (20 + 5 * Double(index + 1))) < 3) }
    #expect(spend.missingIndicator)
    // The many zeros have a bin of their own and leave the others to the rest.
    #expect(spend.edges.first.map { $0 < 8 } == true && spend.edges.count >= 5)
    #expect(
      Set(["Berlin", "Paris", "Rome"].map(CategoryHash.bucket)).isSubset(of: Set(city.buckets)))
    #expect(city.buckets.count <= 4)
    if noiseMultiplier == 0 { #expect(pipeline.encodings[3] == .unused) }
  }

  @Test func `contributions keep their bound and average a contributor's own records`() throws {
    let schema = try Self.schema()
    let records = Self.customers(40)
    let coarse = CoarseStatistics(schema: schema)
    let bounds = try coarse.decode(
      sum: total(try records.map { try coarse.contribution(of: [$0]) }), noiseStdDev: 0)
    let fine = try FineStatistics(schema: schema, bounds: bounds)
    for count in [1, 2, 7, 40] {
      let own = Array(records[..<count])
      let first = try coarse.contribution(of: own)
      let second = try fine.contribution(of: own)
      #expect(first.count == coarse.dimension && second.count == fine.dimension)
      #expect(l2(first) <= coarse.l2Bound * (1 + 1e-6) && l2(second) <= fine.l2Bound * (1 + 1e-6))
      let mean = total(try own.map { try coarse.contribution(of: [$0]) }).map { Float($0 / Double(count)) }
      #expect(distance(first, mean) < 1e-6)
    }
    // All records alike is the worst case: the bound is tight.
    let alike = try coarse.contribution(of: [records[0], records[0]])
    #expect(abs(l2(alike) - coarse.l2Bound) < 1e-6)
    #expect(throws: LearningError.emptyContributor) { try coarse.contribution(of: []) }
    #expect(throws: LearningError.emptyContributor) { try fine.contribution(of: []) }
  }

  @Test func `encodes by hand-made rules`() throws {
    let schema = try Self.schema()
    let berlin = CategoryHash.bucket(of: "Berlin")
    let pipeline = try FeaturePipeline(
      schema: schema,
      encodings: [
        .numeric(NumericEncoding(mean: 10, standardDeviation: 2, edges: [8, 12], missingIndicator: true)),
        .numeric(NumericEncoding(mean: 1, standardDeviation: 1, edges: [], missingIndicator: false)),
        .categorical(CategoricalEncoding(buckets: [berlin], missingIndicator: true)), .unused,
      ])
    #expect(pipeline.featureCount == 5 + 1 + 3 && pipeline.scale == 1)
    let matrix = try pipeline.encode([
      [.number(12), .number(100), .text("Berlin"), .missing],
      [.missing, .missing, .text("Rome"), .number(7)],
      [.number(-1e308), .number(1.5), .missing, .missing],
    ])
    #expect(
      matrix.values == [
        1, 0, 0, 1, 0, 3, 1, 0, 0,
        0, 0, 0, 0, 1, 0, 0, 1, 0,
        -3, 1, 0, 0, 0, 0.5, 0, 0, 1,
      ])
    #expect(try pipeline.encode([]).rows == 0)
    #expect(throws: LearningError.textInNumericColumn(name: "age")) {
      try pipeline.encode([[.text("x"), .missing, .missing, .missing]])
    }
  }

  @Test func `a missing value without an indicator falls into the mean's bin`() throws {
    let pipeline = try FeaturePipeline(
      schema: FeatureSchema(columns: [FeatureColumn(name: "n", kind: .numeric)]),
      encodings: [
        .numeric(NumericEncoding(mean: 10, standardDeviation: 2, edges: [8, 12], missingIndicator: false))
      ])
    #expect(try pipeline.encode([[.missing]]).values == [0, 0, 1, 0])
  }

  @Test func `wide schemas scale their features`() throws {
    let columns = (0..<64).map { FeatureColumn(name: "c\($0)", kind: .categorical) }
    let encoding = ColumnEncoding.categorical(CategoricalEncoding(buckets: [], missingIndicator: false))
    let pipeline = try FeaturePipeline(
      schema: FeatureSchema(columns: columns), encodings: Array(repeating: encoding, count: 64))
    let row = try pipeline.encode([Array(repeating: .missing, count: 64)])
    #expect(pipeline.scale == 0.5 && l2(row.values) == 4)
  }

  @Test func `any finite sum gives a pipeline that encodes finite features`() throws {
    let schema = try Self.schema()
    let coarse = CoarseStatistics(schema: schema)
    let records =
      Self.customers(20) + [
        [.number(1e308), .number(-1e308), .text(""), .number(.leastNonzeroMagnitude)],
        [.number(.nan), .number(-0.0), .number(7), .number(.infinity)],
      ]
    var noise = TestNoise(seed: 3)
    for trial in 0..<120 {
      let level = [0.0, 1, 50, 1e6, 1e15, 1e300][trial % 6]
      let shift = [0.0, -1e3, 40][trial % 3]
      var sum = [Double](repeating: shift, count: coarse.dimension)
      noise.add(to: &sum, standardDeviation: level)
      let bounds = try coarse.decode(sum: sum, noiseStdDev: trial % 5 == 0 ? 0 : level)
      let fine = try FineStatistics(schema: schema, bounds: bounds)
      var second = [Double](repeating: -shift, count: fine.dimension)
      noise.add(to: &second, standardDeviation: level)
      let pipeline = try fine.decode(
        sum: second, noiseStdDev: trial % 7 == 0 ? 0 : level, quantileBins: 1 + trial % 32)
      let matrix = try pipeline.encode(records)
      #expect(matrix.values.allSatisfy { abs($0) <= 3 })
      #expect(matrix.columns == pipeline.featureCount)
      let bytes = try JSONEncoder().encode(pipeline)
      #expect(try JSONDecoder().decode(FeaturePipeline.self, from: bytes) == pipeline)
    }
    let zero = try coarse.decode(sum: [Double](repeating: 0, count: coarse.dimension), noiseStdDev: 5)
    #expect(zero.columns[0] == .numeric(edges: [], missingSeen: false))
    #expect(try FineStatistics(schema: schema, bounds: zero).dimension == 1)
  }

  @Test func `bounds of whole numbers fall on whole numbers`() throws {
    let schema = try FeatureSchema(columns: [FeatureColumn(name: "n", kind: .numeric)])
    let coarse = CoarseStatistics(schema: schema)
    let records: [RawRecord] = (0..<640).map { [.number(Double($0 % 32 - 8))] }
    let bounds = try coarse.decode(
      sum: total(try records.map { try coarse.contribution(of: [$0]) }), noiseStdDev: 0)
    guard case .numeric(let edges, false) = bounds.columns[0] else {
      throw LearningError.invalidSchema(reason: "not numeric")
    }
    // Seven magnitudes share the bins: the last one, 16 … 31, is cut in twos.
    for whole in 1...16 { #expect(edges.contains(Double(whole))) }
    #expect(edges.dropFirst(25).allSatisfy { ($0 * 2).rounded() == $0 * 2 })
    #expect(edges.count <= 65)
  }

  @Test func `magnitudes fall into the bins that hold them`() {
    let edges = MagnitudeBins.edges
    #expect(edges.count == 98 && MagnitudeBins.count == 97)
    #expect(MagnitudeBins.index(of: 0) == MagnitudeBins.zero)
    #expect(MagnitudeBins.index(of: -0.0) == MagnitudeBins.zero)
    #expect(MagnitudeBins.index(of: -1e300) == 0 && MagnitudeBins.index(of: 1e300) == 96)
    for value in [1e-6, 0.3, 1, 1.99, 2, 1e9, -1, -0.5, -3, -1e9] {
      let bin = MagnitudeBins.index(of: value)
      #expect(edges[bin] <= value && value < edges[bin + 1])
    }
  }

  @Test func `refuses sums and bounds that do not belong`() throws {
    let schema = try Self.schema()
    let coarse = CoarseStatistics(schema: schema)
    let zeros = [Double](repeating: 0, count: coarse.dimension)
    #expect(throws: LearningError.self) { try coarse.decode(sum: [], noiseStdDev: 0) }
    #expect(throws: LearningError.self) { try coarse.decode(sum: zeros, noiseStdDev: .nan) }
    #expect(throws: LearningError.self) { try coarse.decode(sum: zeros, noiseStdDev: -1) }
    #expect(throws: LearningError.nonFiniteValue(what: "a statistics sum")) {
      try coarse.decode(sum: zeros.map { _ in Double.nan }, noiseStdDev: 0)
    }
    let good = ColumnBounds.numeric(edges: [0, 1], missingSeen: false)
    let broken: [[ColumnBounds]] = [
      [], [good, good, good, good],
      [.numeric(edges: [1], missingSeen: false), good, .categorical(buckets: [], missingSeen: false), good],
      [
        .numeric(edges: [1, 0], missingSeen: false), good, .categorical(buckets: [], missingSeen: false),
        good,
      ],
      [good, good, .categorical(buckets: [64], missingSeen: false), good],
      [good, good, .categorical(buckets: [3, 3], missingSeen: false), good],
      [
        .numeric(edges: [0, .infinity], missingSeen: false), good,
        .categorical(buckets: [], missingSeen: false), good,
      ],
    ]
    for columns in broken {
      #expect(throws: LearningError.self) {
        try FineStatistics(schema: schema, bounds: FeatureBounds(columns: columns))
      }
    }
    let bounds = FeatureBounds(columns: [good, good, .categorical(buckets: [3], missingSeen: true), good])
    let fine = try FineStatistics(schema: schema, bounds: bounds)
    let sum = [Double](repeating: 1, count: fine.dimension)
    for bins in [0, 129] {
      #expect(throws: LearningError.self) { try fine.decode(sum: sum, noiseStdDev: 0, quantileBins: bins) }
    }
  }

  @Test func `a decoded pipeline keeps its limits`() throws {
    let text = """
      {"encodings":[{"numeric":{"_0":
      {"edges":[1,2],"mean":0,"missingIndicator":false,"standardDeviation":1}}}],
      "schema":{"columns":[{"kind":"numeric","name":"n"}]}}
      """
    let decoder = JSONDecoder()
    #expect(try decoder.decode(FeaturePipeline.self, from: Data(text.utf8)).featureCount == 4)
    for (part, broken) in [
      ("[1,2]", "[2,1]"), (#""standardDeviation":1"#, #""standardDeviation":0"#),
      (#""kind":"numeric""#, #""kind":"categorical""#),
      (#""encodings":[{"#, #""encodings":[{"unused":{}},{"#),
    ] {
      #expect(text.contains(part))
      let bad = text.replacingOccurrences(of: part, with: broken)
      #expect(throws: (any Error).self) { try decoder.decode(FeaturePipeline.self, from: Data(bad.utf8)) }
    }
  }
}
