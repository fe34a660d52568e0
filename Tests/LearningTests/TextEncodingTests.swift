import Foundation
import Testing

@testable import Learning

@Suite struct TextEncodingTests {
  /// What a text is divided into, by hashing candidates: the hashes of its words in order.
  private func hashes(_ text: String, _ count: Int = 1) -> [UInt64] {
    var result: [UInt64] = []
    TextWords.forEachRun(of: text, upTo: count) { result.append($0) }
    return result
  }

  @Test(arguments: [
    ("Don't STOP me-now 24/7!", ["don", "t", "stop", "me", "now", "24", "7"]),
    ("  ", []), ("", []), ("—…!?", []), ("x", ["x"]), (" ab", ["ab"]), ("ab\n", ["ab"]),
    ("Größe ÄRMEL Œuvre", ["größe", "ärmel", "œuvre"]), ("ΑΘΗΝΑ Άνοιξη", ["αθηνα", "άνοιξη"]),
    ("Ёлка МОСКВА", ["ёлка", "москва"]), ("Łódź ŽIVOT Ÿ", ["łódź", "život", "ÿ"]), ("İ", ["i"]),
    ("5×3÷2", ["5", "3", "2"]), ("10 € «gut»", ["10", "gut"]), ("so 😀good👍🏽", ["so", "good"]),
    ("良い服", ["良", "い", "服"]), ("a服b", ["a", "服", "b"]), ("ﬀ１２", ["ﬀ１２"]), ("한국어 옷", ["한국어", "옷"]),
    ("e\u{301}te", ["e\u{301}te"]), ("a\u{fffd}b\u{10ffff}c\u{e000}d", ["a", "b", "c", "d"]),
    ("ªµº", ["ªµº"]), ("\0a", ["a"]),
  ]) func `texts are divided by the documented rule`(text: String, words: [String]) {
    #expect(hashes(text) == words.map(CategoryHash.fnv1a))
  }

  @Test func `capitals become small exactly where Unicode says so, in the ranges named`() {
    for value in [0x41...0x5a, 0xc0...0xde, 0x100...0x17f, 0x386...0x3ab, 0x400...0x42f].joined() {
      guard let scalar = Unicode.Scalar(UInt32(value)), scalar.properties.isAlphabetic, value != 0x130 else {
        continue
      }
      let small = scalar.properties.lowercaseMapping
      #expect(hashes(String(Character(scalar))) == [CategoryHash.fnv1a(small)], "U+\(value)")
    }
  }

  @Test func `runs of words are hashed as words with single spaces between them`() {
    let runs = [
      "the", "red", "the red", "dress", "red dress", "the red dress", "fits", "dress fits", "red dress fits",
    ]
    #expect(hashes("The RED,  dress\tfits", 3) == runs.map(CategoryHash.fnv1a))
    #expect(hashes("The RED,  dress\tfits", 1) == ["the", "red", "dress", "fits"].map(CategoryHash.fnv1a))
    // Known answers: FNV-1a of "a" and "foobar" from the draft.
    #expect(hashes("A foobar") == [0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8])
    let settings = TextSettings(ngrams: 1, bits: 16)
    #expect(settings.buckets(of: "a") == [0xec8c ^ 0xdc4c])
    #expect(settings.buckets(of: "a foobar a").count == 3)
    let many = TextSettings(ngrams: 2, bits: 10).buckets(
      of: (0..<3000).map { "w\($0)" }.joined(separator: " "))
    #expect(many.count == 5999 && zip(many, many.dropFirst()).allSatisfy { $0 <= $1 })
    #expect(many.allSatisfy { (0..<1024).contains($0) } && Set(many).count > 1000)
  }

  static func schema(_ settings: TextSettings? = nil) throws -> FeatureSchema {
    try FeatureSchema(columns: [
      FeatureColumn(name: "age", kind: .numeric), FeatureColumn(name: "title", kind: .text, text: settings),
      FeatureColumn(name: "review", kind: .text, text: TextSettings(ngrams: 1, bits: 8)),
    ])
  }

  static func fit(
    _ contributors: [[RawRecord]], _ schema: FeatureSchema, noise: Double = 0
  ) throws -> FeaturePipeline {
    try FeaturePipelineTests.fit(contributors, schema: schema, noiseMultiplier: noise)
  }

  @Test func `frequencies become weights, and rows get the documented norm`() throws {
    let schema = try FeatureSchema(columns: [
      FeatureColumn(name: "t", kind: .text, text: TextSettings(ngrams: 1, bits: 12))
    ])
    // "dress" in all texts, "red" in a quarter of them; two different words each.
    let texts = (0..<400).map { $0 % 4 == 0 ? "red dress" : "dress number\($0 % 4)" }
    let pipeline = try Self.fit(texts.map { [[.text($0)]] }, schema)
    guard case .text(let encoding) = pipeline.encodings[0] else {
      throw LearningError.invalidSchema(reason: "not a text")
    }
    func level(_ word: String) throws -> UInt8 {
      encoding.levels[Int(try #require(TextSettings(ngrams: 1, bits: 12).buckets(of: word).first))]
    }
    #expect(try level("dress") == 4)
    #expect(try level("red") == UInt8((4 * (1 + log(4.0))).rounded()))
    #expect(try level("never") == 0 && encoding.keptBuckets == 5)
    #expect(pipeline.featureCount == 1 && pipeline.sparseFeatureCount == 5)
    let matrix = try pipeline.encode([
      [.text("Red red red DRESS never")], [.text("never seen")], [.missing], [.number(12)], [.text("dress")],
    ])
    let sparse = try #require(matrix.sparse)
    #expect(sparse.offsets == [0, 2, 2, 2, 2, 3] && sparse.columns == 5)
    #expect(abs(l2(Array(sparse.values[..<2])) - 4) < 1e-5 && sparse.values[2] == 4)
    let ratio = Float(try level("red")) / 4 * (1 + log(Float(3)))
    let own = sparse.values[..<2].sorted()
    #expect(abs(own[1] / own[0] - ratio) < 1e-4)
    #expect(matrix.values == [0, 0, 0, 0, 0])
    // What encodes must be fit to train on.
    _ = try TrainingBatch(features: matrix, labels: [0, 1, 0, 1, 1], contributorOffsets: [0, 5])
    _ = try SparseColumns(
      columns: 5, offsets: sparse.offsets, indices: sparse.indices, values: sparse.values)
  }

  /// Texts of common and rare words; some without any.
  private static func records(_ count: Int) -> [RawRecord] {
    var generator = SplitMix64(seed: 3)
    return (0..<count).map { index in
      let words = (0..<Int(generator.next() % 40)).map { _ in
        generator.next() % 3 == 0 ? "rare\(generator.next() % 5000)" : "word\(generator.next() % 20)"
      }
      let title: RawValue = index % 5 == 0 ? .missing : .text(index % 7 == 0 ? "!!!" : "title \(index % 3)")
      return [.number(Double(index % 50)), title, .text(words.joined(separator: " "))]
    }
  }

  @Test func `contributions keep their bound, whatever the texts`() throws {
    let schema = try Self.schema(TextSettings(ngrams: 2, bits: 12))
    let records = Self.records(60)
    let coarse = CoarseStatistics(schema: schema)
    let bounds = try coarse.decode(
      sum: total(try records.map { try coarse.contribution(of: [$0]) }), noiseStdDev: 0)
    #expect(bounds.columns[1] == .text(isSeen: true, missingSeen: true))
    let fine = try FineStatistics(schema: schema, bounds: bounds)
    #expect(abs(fine.l2Bound - 2) < 1e-12)
    let long: RawRecord = [
      .number(3), .text((0..<20_000).map { "w\($0)" }.joined(separator: " ")), .text("a b c d"),
    ]
    for own in [
      [records[1]], Array(records[..<7]), records, [long], [long, long, records[0]], [long] + records,
    ] {
      let first = try coarse.contribution(of: own)
      let second = try fine.contribution(of: own)
      #expect(l2(first) <= coarse.l2Bound * (1 + 1e-6) && l2(second) <= fine.l2Bound * (1 + 1e-6))
      let mean = total(try own.map { try fine.contribution(of: [$0]) }).map { Float($0 / Double(own.count)) }
      #expect(distance(second, mean) < 1e-5)
    }
    // The bound is tight: a record with all three columns.
    #expect(abs(l2(try fine.contribution(of: [long])) - 2) < 1e-4)
    // A column that nobody fills has no part.
    let unseen = FeatureBounds(columns: [
      bounds.columns[0], .text(isSeen: false, missingSeen: true), bounds.columns[2],
    ])
    let short = try FineStatistics(schema: schema, bounds: unseen)
    #expect(short.dimension == fine.dimension - 4097 && abs(short.l2Bound - 3.0.squareRoot()) < 1e-12)
    let pipeline = try short.decode(sum: .init(repeating: 1, count: short.dimension), noiseStdDev: 0)
    #expect(pipeline.encodings[1] == .unused)
  }

  @Test func `with noise the words in use are kept and few others`() throws {
    let schema = try FeatureSchema(columns: [
      FeatureColumn(name: "t", kind: .text, text: TextSettings(ngrams: 1, bits: 11))
    ])
    var generator = SplitMix64(seed: 9)
    let texts = (0..<1500).map { _ in
      (0..<8).map { _ in "word\(generator.next() % 30)" }.joined(separator: " ") + " once\(generator.next())"
    }
    let pipeline = try Self.fit(texts.map { [[.text($0)]] }, schema, noise: 4)
    guard case .text(let encoding) = pipeline.encodings[0] else {
      throw LearningError.invalidSchema(reason: "not a text")
    }
    let settings = TextSettings(ngrams: 1, bits: 11)
    for word in 0..<30 {
      let level = encoding.levels[Int(settings.buckets(of: "word\(word)")[0])]
      // In about 24 % of the texts: 1 + ln 4.2 = 2.4.
      #expect(abs(Int(level) - 10) <= 1)
    }
    // One in 740 of the others passes three deviations: 3.
    #expect((30..<45).contains(encoding.keptBuckets))
  }

  @Test func `any finite sum gives a pipeline that encodes finite features and survives JSON`() throws {
    let schema = try Self.schema(TextSettings(ngrams: 2, bits: 9))
    let coarse = CoarseStatistics(schema: schema)
    let records =
      Self.records(30) + [[.number(1), .text(""), .missing], [.missing, .number(.nan), .number(-3.5)]]
    var noise = TestNoise(seed: 3)
    for trial in 0..<60 {
      let level = [0.0, 1, 50, 1e6, 1e15, 1e300][trial % 6]
      let shift = [0.0, -1e3, 40][trial % 3]
      var sum = [Double](repeating: shift, count: coarse.dimension)
      noise.add(to: &sum, standardDeviation: level)
      let bounds = try coarse.decode(sum: sum, noiseStdDev: trial % 5 == 0 ? 0 : level)
      let fine = try FineStatistics(schema: schema, bounds: bounds)
      var second = [Double](repeating: -shift, count: fine.dimension)
      noise.add(to: &second, standardDeviation: level)
      let pipeline = try fine.decode(sum: second, noiseStdDev: trial % 7 == 0 ? 0 : level)
      let matrix = try pipeline.encode(records)
      #expect(matrix.sparseColumns == pipeline.sparseFeatureCount && matrix.columns == pipeline.featureCount)
      #expect(matrix.values.allSatisfy { abs($0) <= 3 })
      #expect(matrix.sparse?.values.allSatisfy { $0 > 0 && $0 <= 4.001 } ?? true)
      let bytes = try JSONEncoder().encode(pipeline)
      #expect(bytes.count < 4096)
      #expect(try JSONDecoder().decode(FeaturePipeline.self, from: bytes) == pipeline)
      let decoded = try JSONDecoder().decode(FeatureBounds.self, from: JSONEncoder().encode(bounds))
      #expect(decoded == bounds)
    }
  }

  @Test func `hostile schemas and pipelines are refused`() throws {
    for settings in [(0, 16), (5, 16), (-1, 16), (2, 7), (2, 19), (2, -1), (2, 64)] {
      #expect(throws: LearningError.self) {
        try Self.schema(TextSettings(ngrams: settings.0, bits: settings.1))
      }
    }
    #expect(throws: LearningError.self) {
      try FeatureSchema(columns: [FeatureColumn(name: "n", kind: .numeric, text: .standard)])
    }
    let five = (0..<5).map { FeatureColumn(name: "t\($0)", kind: .text, text: TextSettings(bits: 18)) }
    #expect(throws: LearningError.self) { try FeatureSchema(columns: five) }
    _ = try FeatureSchema(columns: Array(five.dropLast()))

    let weights = String(repeating: "A", count: 254) + "E_"
    let text = """
      {"encodings":[{"text":{"_0":{"missingIndicator":true,"weights":"\(weights)"}}}],
      "schema":{"columns":[{"kind":"text","name":"t","text":{"bits":8,"ngrams":1}}]}}
      """
    let decoder = JSONDecoder()
    let pipeline = try decoder.decode(FeaturePipeline.self, from: Data(text.utf8))
    #expect(pipeline.featureCount == 1 && pipeline.sparseFeatureCount == 2)
    #expect(try pipeline.encode([[.missing]]).values == [1])
    for (part, broken) in [
      ("E_", "E"), ("E_", "E_A"), ("E_", "E+"), ("E_", "Eé"), (#""bits":8"#, #""bits":9"#),
      (#""bits":8"#, #""bits":70"#), (#""bits":8"#, #""bits":-1"#), (#""ngrams":1"#, #""ngrams":0"#),
      (#""kind":"text""#, #""kind":"numeric""#), (weights, ""), (weights, String(repeating: "E", count: 512)),
    ] {
      #expect(text.contains(part))
      let bad = text.replacingOccurrences(of: part, with: broken)
      #expect(throws: (any Error).self, "\(broken)") {
        try decoder.decode(FeaturePipeline.self, from: Data(bad.utf8))
      }
    }
    // Mutated bytes are refused or encode safely.
    var generator = SplitMix64(seed: 12)
    for _ in 0..<300 {
      var bytes = Array(text.utf8)
      bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
      guard let decoded = try? decoder.decode(FeaturePipeline.self, from: Data(bytes)) else { continue }
      guard let matrix = try? decoded.encode([[.text("some words to hash, some words to keep")]]) else {
        continue
      }
      #expect(matrix.values.allSatisfy(\.isFinite) && matrix.sparseColumns == decoded.sparseFeatureCount)
    }
  }

  @Test func `a column without settings says nothing of them`() throws {
    let column = FeatureColumn(name: "n", kind: .numeric)
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    #expect(String(decoding: try encoder.encode(column), as: UTF8.self) == #"{"kind":"numeric","name":"n"}"#)
  }

  @Test func `a model learns from words alone`() throws {
    let schema = try FeatureSchema(columns: [
      FeatureColumn(name: "t", kind: .text, text: TextSettings(bits: 10))
    ])
    var generator = SplitMix64(seed: 4)
    // "not good" is bad: single words do not tell.
    let samples = (0..<300).map { _ -> (String, Float) in
      let (first, second) = (generator.next() % 2 == 0, generator.next() % 2 == 0)
      let text =
        "filler\(generator.next() % 50) " + (first ? "not " : "so ") + (second ? "good" : "bad") + " really"
      return (text, first == second ? 0 : 1)
    }
    let pipeline = try Self.fit(samples.map { [[.text($0.0)]] }, schema)
    let features = try pipeline.encode(samples.map { [.text($0.0)] })
    let batch = try TrainingBatch(
      features: features, labels: samples.map(\.1),
      contributorOffsets: Array(stride(from: 0, through: 300, by: 30)))
    let model = Model(
      architecture: .network(NetworkSettings()),
      shape: FeatureShape(columns: 1, sparseColumns: pipeline.sparseFeatureCount))
    var parameters = model.initialParameters(seed: 1)
    for round in 0..<20 {
      let mean = total(
        try updates(
          model, .fedAvg(epochs: 1, batchSize: 10, learningRate: 0.5), parameters, batch, seed: UInt64(round))
      )
      for index in parameters.indices { parameters[index] += Float(mean[index]) / 10 }
    }
    let scores = try model.scores(parameters: parameters, features: features)
    #expect((ExactMetrics.accuracy(scores: scores, labels: batch.labels) ?? 0) > 0.99)
  }
}
