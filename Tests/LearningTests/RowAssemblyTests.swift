import Foundation
import Testing

@testable import Learning

@Suite struct RowAssemblyTests {
  private func matrix(rows: Int, sparseColumns: Int, seed: UInt64) throws -> Matrix {
    try networkBatch(
      rowCounts: [rows], columns: 3, sparseColumns: sparseColumns, objective: .squaredError, seed: seed
    ).features
  }

  @Test(arguments: [0, 9])
  func `joining undoes selecting`(sparseColumns: Int) throws {
    let whole = try matrix(rows: 20, sparseColumns: sparseColumns, seed: 81)
    let parts = [0..<1, 1..<1, 1..<9, 9..<20].map { whole.selecting([$0]) }
    #expect(try Matrix.joined(parts) == whole)
    #expect(try Matrix.joined([whole]) == whole)
    let twice = try Matrix.joined([parts[3], whole])
    #expect(twice.rows == 31 && twice.selecting([11..<31]) == whole && twice.selecting([0..<11]) == parts[3])
    // What was joined keeps all that is said of sparse columns.
    if let sparse = twice.sparse {
      _ = try SparseColumns(
        columns: sparse.columns, offsets: sparse.offsets, indices: sparse.indices, values: sparse.values)
    }
  }

  @Test func `matrices of other columns are not joined`() throws {
    let narrow = try Matrix(rows: 1, columns: 2, values: [1, 2])
    let (plain, sparse) = (
      try matrix(rows: 2, sparseColumns: 0, seed: 1), try matrix(rows: 2, sparseColumns: 4, seed: 1)
    )
    let wide = try matrix(rows: 2, sparseColumns: 5, seed: 1)
    for pair in [[plain, narrow], [plain, sparse], [sparse, plain], [sparse, wide], []] {
      #expect(throws: LearningError.self) { try Matrix.joined(pair) }
    }
  }

  @Test(arguments: [0, 9])
  func `chosen rows become one contributor`(sparseColumns: Int) throws {
    let batch = try networkBatch(
      rowCounts: [3, 1, 5], columns: 3, sparseColumns: sparseColumns, objective: .squaredError, seed: 82)
    let chosen = try batch.rows([7, 0, 7, 3])
    #expect(chosen.contributorOffsets == [0, 4] && chosen.objective == .squaredError)
    #expect(chosen.labels == [7, 0, 7, 3].map { batch.labels[$0] })
    for (row, position) in [7, 0, 7, 3].enumerated() {
      #expect(
        chosen.features.selecting([row..<row + 1]) == batch.features.selecting([position..<position + 1]))
    }
    #expect(throws: LearningError.self) { try batch.rows([]) }
    // A model scores the rows as it does in the whole.
    let model = NetworkModel(
      settings: NetworkSettings(hidden: [4], objective: .squaredError),
      shape: FeatureShape(columns: 3, sparseColumns: sparseColumns))
    let parameters = model.initialParameters(seed: 3)
    let all = try model.scores(parameters: parameters, features: batch.features)
    let some = try model.scores(parameters: parameters, features: chosen.features)
    #expect(distance(some, [7, 0, 7, 3].map { all[$0] }) < 1e-6)
  }

  private func pipeline(_ kinds: [FeatureKind]) throws -> FeaturePipeline {
    let schema = try FeatureSchema(
      columns: kinds.enumerated().map { FeatureColumn(name: "c\($0.offset)", kind: $0.element) })
    return try FeaturePipeline(schema: schema, encodings: kinds.map { _ in .unused })
  }

  private let recommendation = ModelArchitecture.recommendation(
    RecommendationSettings(
      factorization: FactorizationSettings(feedback: .explicit(lowest: 1, highest: 5), factors: 2), items: 4))

  @Test func `items are their numbers, and a missing one is refused by the worker`() throws {
    let pipeline = try pipeline([.numeric])
    let records: [RawRecord] = [[.number(3)], [.number(0)]]
    let features = try pipeline.encode(records, as: .items)
    #expect(try features == Matrix(rows: 2, columns: 1, values: [3, 0]))
    let model = try Model(architecture: recommendation, pipeline: pipeline)
    #expect(model.shape == .items)
    try features.check(shape: model.shape)
    func train(_ records: [RawRecord]) throws -> Int {
      let batch = try TrainingBatch(
        features: pipeline.encode(records, as: .items), labels: records.map { _ in 4 },
        contributorOffsets: [0, records.count], objective: .squaredError)
      var seen = 0
      try LocalTrainer(model: model, algorithm: .fedSGD).forEachUpdate(
        parameters: model.initialParameters(seed: 1), batch: batch, seed: 1
      ) { _, _ in seen += 1 }
      return seen
    }
    #expect(try train(records) == 1)
    for broken in [RawValue.missing, .number(.nan), .number(-1), .number(4), .number(1.5)] {
      #expect(throws: LearningError.self, "\(broken)") { try train([[.number(1)], [broken]]) }
    }
    #expect(try pipeline.encode([[.missing]], as: .items).values == [-1])
    #expect(throws: LearningError.textInNumericColumn(name: "c0")) {
      try pipeline.encode([[.text("three")]], as: .items)
    }
    #expect(throws: LearningError.self) { try pipeline.encode([[.number(1), .number(2)]], as: .items) }
    // Too large for single precision: no number.
    #expect(throws: LearningError.nonFiniteValue(what: "the features of a batch")) {
      try train([[.number(1e300)]])
    }
  }

  @Test func `a recommender takes one numeric column alone`() throws {
    for kinds in [[FeatureKind.categorical], [.text], [.numeric, .numeric], [.numeric, .categorical]] {
      let pipeline = try pipeline(kinds)
      #expect(!pipeline.schema.isItemNumber)
      #expect(throws: LearningError.self) {
        try Model(architecture: recommendation, pipeline: pipeline)
      }
    }
    let items = try pipeline([.numeric])
    #expect(items.schema.isItemNumber && items.shape(for: .items) == .items)
    for architecture in [ModelArchitecture.logisticRegression, .boostedTrees(TreeSettings(trees: 1))] {
      #expect(throws: LearningError.self) { try architecture.validate(shape: .items) }
      _ = try Model(architecture: architecture, pipeline: items)
    }
    for shape in [FeatureShape(columns: 1), FeatureShape(columns: 2)] {
      #expect(throws: LearningError.self) { try recommendation.validate(shape: shape) }
    }
  }

  @Test func `settings of a recommender survive JSON and are checked`() throws {
    let feedbacks: [FactorizationSettings.Feedback] = [
      .explicit(lowest: 1, highest: 5), .implicit(unobservedWeight: 0.1, strengthWeight: 2),
    ]
    for feedback in feedbacks {
      let settings = RecommendationSettings(
        factorization: FactorizationSettings(feedback: feedback, factors: 7), items: 30)
      let architecture = ModelArchitecture.recommendation(settings)
      try architecture.validate(shape: .items)
      let bytes = try JSONEncoder().encode(architecture)
      #expect(try JSONDecoder().decode(ModelArchitecture.self, from: bytes) == architecture)
      #expect(architecture.objective == .squaredError && architecture.layout == .items)
      #expect(settings.summary.contains("7") && settings.summary.contains("30"))
      for items in [0, -1, .max, .min, MatrixFactorization.maximumItems + 1] {
        var other = settings
        other.items = items
        #expect(throws: LearningError.self) { try ModelArchitecture.recommendation(other).validate() }
        #expect(throws: LearningError.self) {
          try ModelArchitecture.recommendation(other).validate(shape: .items)
        }
      }
      var other = settings
      other.factorization.factors = 0
      #expect(throws: LearningError.self) { try other.validate() }
    }
  }
}
