#if DEBUG
  import Cryptography
  import Federation
  import Foundation

  @testable import Learning
  @testable import SecureAggregation
  @testable import Simulation

  /// Files and uploads: models, tables, packed vectors.
  extension FuzzTargets {
    static let files: [FuzzTarget] = [modelArtifact, ringVector, pendingInput, csv, gzip]

    /// The first byte chooses: an artifact as it is, or a header (up to a line feed) whose length is put in
    /// front here, and parameters.
    private static let modelArtifact = FuzzTarget("model-artifact", maximumLength: 8_192) {
      let schema = try FeatureSchema(columns: [
        FeatureColumn(name: "visits", kind: .numeric), FeatureColumn(name: "channel", kind: .categorical),
      ])
      let pipeline = try FeaturePipeline(
        schema: schema,
        encodings: [
          .numeric(
            NumericEncoding(mean: 1.5, standardDeviation: 2, edges: [0, 1.25], missingIndicator: true)),
          .categorical(CategoricalEncoding(buckets: [3, 17], missingIndicator: false)),
        ])
      let inputs = pipeline.featureCount
      let network = ModelArchitecture.multiLayerPerceptron(hidden: [2])
      let stages: [(ModelArchitecture, ModelArtifact.Stage, [Float])] = [
        (.logisticRegression, .schema, []),
        (
          .logisticRegression, .model(pipeline),
          ModelArchitecture.logisticRegression.initialParameters(inputs: inputs, seed: 1)
        ),
        (network, .model(pipeline), network.initialParameters(inputs: inputs, seed: 1)),
        (
          .logisticRegression, .model(try FeaturePipeline(schema: schema, encodings: [.unused, .unused])),
          [0, 1]
        ),
      ]
      return try stages.enumerated().flatMap { version, stage in
        let bytes = try ModelArtifact(
          task: "task-1", version: version, architecture: stage.0, stage: stage.1, parameters: stage.2
        ).encode()
        let end = bytes.count - 4 * stage.2.count
        return [[0] + bytes, [1] + bytes[4..<end] + [10] + bytes[end...]]
      }
    } run: { bytes in
      var script = ScriptReader(bytes)
      let isAssembled = script.number(below: 2) == 1
      var artifact = script.rest()
      if isAssembled {
        let header = Array(artifact.prefix { $0 != 10 })
        artifact = LittleEndian.bytes([UInt32(header.count)]) + header + artifact.dropFirst(header.count + 1)
      }
      try checkRoundTrip(
        artifact, isCanonical: false, refusal: FederationError.self,
        decode: { try ModelArtifact.decode($0) }, encode: { try $0.encode() })
      guard let read = try? ModelArtifact.decode(artifact), let (pipeline, _) = read.model else { return }
      for cell in [RawValue.missing, .number(1e308), .number(-1e308), .number(.nan), .text("a")] {
        // A text in a numeric column is refused; nothing may trap.
        _ = try? pipeline.encode([RawRecord](repeating: [cell, cell], count: 1))
      }
    }

    /// Width, dimension, and packed values.
    private static let ringVector = FuzzTarget("ring-vector", maximumLength: 1_024) {
      try RingWidth.all.enumerated().map { position, bits in
        let vector = try RingVector(centred: [0, 1, -1, 32_767, -32_768], ringBits: bits)
        return [UInt8(position), 5, 0] + vector.packed
      }
    } run: { bytes in
      var script = ScriptReader(bytes)
      let bits = (RingWidth.all + [0, 1, 64])[script.number(below: RingWidth.all.count + 3)]
      let dimension = Int(script.byte()) | Int(script.byte()) << 8
      try checkRoundTrip(
        script.rest(), isCanonical: true, refusal: AggregationError.self,
        decode: { try RingVector(packed: $0, dimension: dimension, ringBits: bits) }, encode: { $0.packed })
    }

    /// Width, dimension, the size of the chunks, and an upload that arrives in them.
    private static let pendingInput = FuzzTarget("pending-input", maximumLength: 1_024) {
      [
        [1, 5, 3] + [UInt8](repeating: 9, count: 12) + [0],
        [0, 3, 1] + [UInt8](repeating: 255, count: 6), [3, 1, 255, 1, 2, 3, 4],
      ]
    } run: { bytes in
      var script = ScriptReader(bytes)
      let bits = RingWidth.all[script.number(below: RingWidth.all.count)]
      let dimension = 1 + Int(script.byte())
      let chunk = 1 + Int(script.byte())
      let upload = script.rest()
      let parameters = try AggregationParameters(
        sessionID: FuzzWorld.digest("sid"), dimension: dimension, ringBits: bits, minimumCohort: 2,
        minimumSurvivors: 2, corruptPermille: 0)
      let complete = try attempt(AggregationError.self) {
        var pending = PendingInput(parameters: parameters)
        for start in stride(from: 0, to: upload.count, by: chunk) {
          try pending.append(upload[start..<min(start + chunk, upload.count)])
        }
        return try pending.finish()
      }
      let vector = try? RingVector(packed: upload, dimension: dimension, ringBits: bits)
      try expect(
        (complete != nil) == (vector?.packed == upload), "an upload was judged otherwise than as a vector")
    }

    private static let csv = FuzzTarget("csv", maximumLength: 2_048) {
      [
        "id,name,\"last, \"\"visit\"\"\"\n1,Anna,\n2,\"Béla\nK.\",3.5\r\n\n", "\u{feff}a\n1\n\n2\n",
        "a,,c\r1,2,3\r",
      ].map { Array($0.utf8) }
    } run: { bytes in
      func read(_ bytes: [UInt8]) throws -> Cells {
        var parser = CSVParser(bytes, path: "table.csv")
        let table = try parser.parse()
        return Cells(columns: table.columns, rows: table.rows)
      }
      try checkRoundTrip(
        bytes, isCanonical: false, refusal: TableError.self, decode: read, encode: { $0.text })
    }

    /// What a table says, apart from where it stood in the file.
    private struct Cells: Equatable {
      let columns: [String]
      let rows: [[String]]
      /// All cells in quotation marks.
      var text: [UInt8] {
        let quote = UInt8(ascii: "\"")
        var text: [UInt8] = []
        for cells in [columns] + rows {
          for (index, cell) in cells.enumerated() {
            if index > 0 { text.append(UInt8(ascii: ",")) }
            text.append(quote)
            for byte in cell.utf8 { text += byte == quote ? [quote, quote] : [byte] }
            text.append(quote)
          }
          text.append(UInt8(ascii: "\n"))
        }
        return text
      }
    }

    /// A line of text, two members, and bytes behind the end.
    private static let gzip = FuzzTarget("gzip", maximumLength: 2_048) {
      let line = "H4sIAAAAAAACA8tIzcnJVyjPL8pJ4QIALTsIrwwAAAA="
      guard let member = Data(base64Encoded: line) else { return [] }
      return [Array(member), Array(member + member), Array(member) + [0]]
    } run: { bytes in
      let limit = 1 << 20
      let content = try attempt(TableError.self) {
        try Gzip.inflate(bytes, limit: limit, path: "table.csv.gz")
      }
      try expect(content?.count ?? 0 <= limit, "a file was inflated beyond the limit")
    }
  }
#endif
