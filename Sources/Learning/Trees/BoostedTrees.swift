/// Gradient-boosted trees whose splits are found in securely summed histograms.
///
/// A round is one level of one tree, all its open nodes at once; see `TreeRound` for a contributor's vector
/// and its norm, `TreeEnsemble` for the parameters, which hold the growing tree too and so tell a node what
/// to compute. Rows of a round are scored by the trees finished before. Training has ended when `isFinished`
/// says so; until then every round has a vector of another length, `contributionLength(parameters:)`.
///
/// There is no sampling of rows: a round's cohort is a sample already, and a contributor's vector must not
/// depend on who else is in its batch.
package struct BoostedTrees: FederatedModel {
  /// The most bins of a column: cells are bytes during training.
  package static let maximumBins = 256
  /// The longest vector of a contributor.
  package static let maximumContributionLength = 1 << 26

  /// How trees are grown.
  package let settings: TreeSettings
  /// The rows: layout `bins`.
  package let shape: FeatureShape
  /// What is predicted.
  package var objective: Objective { settings.objective }
  /// Columns that can be split.
  let usableColumns: [Int]

  /// Refuses what `TreeSettings.validate(shape:)` refuses.
  package init(settings: TreeSettings, shape: FeatureShape) throws(LearningError) {
    try settings.validate(shape: shape)
    self.init(validSettings: settings, shape: shape)
  }

  init(validSettings settings: TreeSettings, shape: FeatureShape) {
    self.settings = settings
    self.shape = shape
    usableColumns = shape.bins.indices.filter { shape.bins[$0].count >= 2 }
  }

  /// No tree and no initial score yet.
  ///
  /// - Parameter seed: of the columns and splits that are drawn; its low 48 bits count.
  package func initialParameters(seed: UInt64) -> [Float] {
    [Float(seed & 0xff_ffff), Float(seed >> 24 & 0xff_ffff), 0, 0]
  }

  /// Refuses what is not an ensemble of this shape and these settings, finished or growing: see
  /// `TreeEnsemble`.
  package func check(parameters: [Float]) throws(LearningError) {
    _ = try ensemble(parameters)
  }

  /// The length of a contributor's vector: 1 in the first round; 2 · (open nodes) · (bins of the tree's
  /// columns) in others, with one bin for random splits; 0 if the trees are finished or the parameters
  /// malformed.
  package func contributionLength(parameters: [Float]) -> Int {
    guard let ensemble = try? ensemble(parameters) else { return 0 }
    return round(of: ensemble).length
  }

  /// Whether all trees are grown, so that no round is left. Malformed parameters are not finished.
  package func isFinished(parameters: [Float]) -> Bool {
    guard let ensemble = try? ensemble(parameters) else { return false }
    return round(of: ensemble).length == 0
  }

  /// A worker; the only algorithm of trees is `fedSGD`: derivatives at the contributor's records.
  package func makeWorker(algorithm: LocalAlgorithm) throws(LearningError) -> any ContributionWorker {
    guard algorithm == .fedSGD else {
      throw .invalidSetting(
        name: "the local algorithm", reason: "trees take one gradient of every record: choose FedSGD")
    }
    return TreeWorker(model: self)
  }

  /// The scores of rows by the finished trees; those of a growing tree do not count.
  package func scores(parameters: [Float], features: Matrix) throws(LearningError) -> [Float] {
    let ensemble = try ensemble(parameters)
    try features.check(shape: shape)
    var scores = [Float](repeating: 0, count: features.rows)
    var bins = [UInt8](repeating: 0, count: Self.blockRows * shape.columns)
    for first in stride(from: 0, to: features.rows, by: Self.blockRows) {
      let rows = min(Self.blockRows, features.rows - first)
      guard
        features.values.withUnsafeBufferPointer({ values in
          bins.withUnsafeMutableBufferPointer { bins in
            convert(values.baseAddress! + first * shape.columns, rows: rows, into: bins.baseAddress!)
          }
        })
      else { throw Self.cellsOutOfRange }
      bins.withUnsafeBufferPointer { bins in
        scores.withUnsafeMutableBufferPointer { scores in
          ensemble.score(
            bins: bins.baseAddress!, rows: rows, columns: shape.columns, into: scores.baseAddress! + first)
        }
      }
    }
    return scores
  }

  /// How many rows are scored at a time: their bins stay in the cache.
  static let blockRows = 2_048
  static let cellsOutOfRange = LearningError.invalidSetting(
    name: "a row of bins", reason: "a cell is not the number of one of its column's bins")

  /// Makes bytes of cells; false if one is not a bin of its column.
  func convert(
    _ cells: UnsafePointer<Float>, rows: Int, into bins: UnsafeMutablePointer<UInt8>
  ) -> Bool {
    shape.bins.withUnsafeBufferPointer { columns in
      var isValid = true
      for row in 0..<rows {
        for column in columns.indices {
          let cell = cells[row * columns.count + column]
          let isBin = cell >= 0 && cell < Float(columns[column].count)
          let bin = UInt8(isBin ? cell : 0)
          isValid = isValid && isBin && Float(bin) == cell
          bins[row * columns.count + column] = bin
        }
      }
      return isValid
    }
  }

  func ensemble(_ parameters: [Float]) throws(LearningError) -> TreeEnsemble {
    let result = parameters.withUnsafeBufferPointer { parameters in
      Result { () throws(LearningError) in
        try TreeEnsemble(parameters: parameters, settings: settings, shape: shape)
      }
    }
    return try result.get()
  }

  /// What the round that starts from an ensemble asks.
  func round(of ensemble: TreeEnsemble) -> TreeRound {
    guard ensemble.treeCount > 0 else { return .first }
    var columns: [Int] = []
    if settings.splitting == .best {
      var generator = generator(of: ensemble.treeCount - 1, seed: ensemble.seed)
      columns = drawColumns(&generator)
    }
    return TreeRound(
      columns: columns, bins: columns.map { shape.bins[$0].count }, nodes: ensemble.openNodes.count)
  }

  /// What the choices of one tree are drawn from: the same for everyone who has the parameters.
  func generator(of tree: Int, seed: UInt64) -> SplitMix64 { SplitMix64(seed: seed | UInt64(tree) << 48) }

  /// The columns that a tree may use, ascending.
  func drawColumns(_ generator: inout SplitMix64) -> [Int] {
    guard settings.columnShare < 1, !usableColumns.isEmpty else { return usableColumns }
    var columns = usableColumns
    generator.shuffle(&columns)
    let count = max(1, Int((Float(columns.count) * settings.columnShare).rounded()))
    return columns.prefix(count).sorted()
  }
}
