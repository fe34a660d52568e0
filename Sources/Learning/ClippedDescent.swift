/// Stochastic gradient descent with clipped and noised gradients of single rows (DP-SGD: Abadi et al., *Deep
/// Learning with Differential Privacy*, 2016, algorithm 1), for simulations on a trusted server: the noise is
/// `SimulatedGaussian`'s, and the steps are to be accounted for by who calls.
///
/// A step is cut into a fixed number of shards, each with a part of the rows and a part of the noise, which
/// threads may compute at the same time; the parameters depend on the number of shards, not on the threads.
package final class ClippedDescent: @unchecked Sendable {
  // A shard's memory is used by the thread that computes the shard, the rest by the caller between the calls.

  /// What a step does.
  package struct Settings: Sendable {
    /// The step is `learningRate` times the sum, over `batchSize`.
    package var learningRate: Float
    /// What sums are divided by, whatever the number of rows: the expected size under Poisson sampling.
    package var batchSize: Int
    /// The most rows of a step.
    package var maximumRows: Int
    /// L2 norm that a row's gradient is clipped to; nil for none, and then there must be no noise.
    package var clipNorm: Float?
    /// Standard deviation of the noise of a coordinate of the sum, over the clip norm; 0 for none.
    package var noiseMultiplier: Float
    /// Parts that can be computed at the same time.
    package var shards: Int
    /// Of the noise.
    package var seed: UInt64

    package init(
      learningRate: Float, batchSize: Int, maximumRows: Int, clipNorm: Float?, noiseMultiplier: Float,
      shards: Int, seed: UInt64
    ) {
      self.learningRate = learningRate
      self.batchSize = batchSize
      self.maximumRows = maximumRows
      self.clipNorm = clipNorm
      self.noiseMultiplier = noiseMultiplier
      self.shards = shards
      self.seed = seed
    }
  }

  /// Computes `body` for all of 0 ..< `count`, on any threads, and returns when all calls have returned.
  package typealias ForEach = (_ count: Int, _ body: @escaping @Sendable (Int) -> Void) throws -> Void

  /// The most shards.
  package static let maximumShards = 256
  private let settings: Settings
  private let shards: [Shard]
  private let noise: SimulatedGaussian
  private let values: UnsafeMutableBufferPointer<Float>
  private var steps = 0

  /// Starts from `parameters`; refuses impossible settings and models that `ClippedGradients` does not know.
  package init(model: Model, parameters: [Float], settings: Settings) throws(LearningError) {
    try model.check(parameters: parameters)
    try Self.check(settings)
    self.settings = settings
    noise = SimulatedGaussian(seed: settings.seed)
    let rows = (settings.maximumRows + settings.shards - 1) / settings.shards
    var shards: [Shard] = []
    for _ in 0..<settings.shards { shards.append(Shard(try ClippedGradients(model: model, rows: rows))) }
    self.shards = shards
    values = .allocate(capacity: parameters.count)
    _ = values.initialize(from: parameters)
  }

  deinit { values.deallocate() }

  private static func check(_ settings: Settings) throws(LearningError) {
    func require(_ isRight: Bool, _ name: String, _ reason: String) throws(LearningError) {
      if !isRight { throw .invalidSetting(name: name, reason: reason) }
    }
    let (rate, multiplier) = (settings.learningRate, settings.noiseMultiplier)
    try require(rate.isFinite && rate > 0, "the learning rate", "it must be positive and finite")
    try require(
      settings.batchSize >= 1 && settings.maximumRows >= 1, "the batch size", "it must be at least 1")
    try require(
      settings.clipNorm.map { $0.isFinite && $0 > 0 } ?? true, "the clip norm",
      "it must be positive and finite")
    try require(
      multiplier.isFinite && multiplier >= 0, "the noise multiplier", "it must be finite and not negative")
    try require(
      multiplier == 0 || settings.clipNorm != nil, "the noise multiplier", "noise needs a clip norm")
    try require(
      (1...maximumShards).contains(settings.shards), "the number of shards",
      "allowed are 1 to \(maximumShards)")
  }

  /// The parameters after the steps so far.
  package var parameters: [Float] { Array(values) }

  /// Takes one step.
  ///
  /// - Parameters:
  ///   - batch: the rows to choose from; contributors do not matter here, each row is its own.
  ///   - rows: positions of the rows of this step, at most `maximumRows`.
  ///   - forEach: runs the shards.
  /// - Returns: how many rows counted as zero because their gradient was not finite.
  @discardableResult
  package func step(
    _ batch: TrainingBatch, rows: UnsafeBufferPointer<Int32>, forEach: ForEach
  ) throws -> Int {
    try batch.check(shape: FeatureShape(columns: shards[0].gradients.columns), objective: .binary)
    guard rows.count <= settings.maximumRows else {
      throw LearningError.invalidSetting(
        name: "the batch",
        reason: "it has \(rows.count) rows, allowed are at most \(settings.maximumRows)")
    }
    let count = Int32(clamping: batch.features.rows)
    guard rows.allSatisfy({ $0 >= 0 && $0 < count }) else {
      throw LearningError.invalidSetting(name: "the batch", reason: "it names a row that does not exist")
    }
    return try batch.features.values.withUnsafeBufferPointer { features in
      try batch.labels.withUnsafeBufferPointer { labels in
        guard let features = features.baseAddress, let labels = labels.baseAddress else { return 0 }
        for (index, shard) in shards.enumerated() {
          let own = part(index, of: rows.count)
          shard.rows = RowSelection(
            features: features, labels: labels, order: UnsafeBufferPointer(rebasing: rows[own]))
        }
        return try step(forEach)
      }
    }
  }

  private func step(_ forEach: ForEach) throws -> Int {
    defer {
      for shard in shards { shard.rows = nil }
      steps += 1
    }
    try forEach(shards.count) { [self] in sum(shard: $0) }
    // Few parameters are moved in less time than threads need to meet.
    if values.count < 32_768 || shards.count == 1 {
      move(0..<values.count)
    } else {
      try forEach(shards.count) { [self] in move(coordinates(of: $0)) }
    }
    return shards.reduce(0) { $0 + $1.zeroed }
  }

  /// The rows of a shard, clipped and added to the shard's part of the noise.
  private func sum(shard index: Int) {
    let shard = shards[index]
    guard let rows = shard.rows, let target = shard.sum.baseAddress, let start = values.baseAddress
    else { return }
    let (clipNorm, multiplier) = (settings.clipNorm, settings.noiseMultiplier)
    let own = multiplier > 0 ? coordinates(of: index) : 0..<0
    target.update(repeating: 0, count: own.lowerBound)
    (target + own.upperBound).update(repeating: 0, count: values.count - own.upperBound)
    if let clipNorm, !own.isEmpty {
      noise.fill(
        UnsafeMutableBufferPointer(rebasing: shard.sum[own]), deviation: multiplier * clipNorm,
        vector: steps, first: own.lowerBound)
    }
    shard.zeroed = shard.gradients.add(
      of: rows, parameters: start, clipNorm: clipNorm, scale: 1, to: target)
  }

  /// Adds up the shards and takes the step, for some coordinates.
  private func move(_ range: Range<Int>) {
    guard let first = shards[0].sum.baseAddress, let start = values.baseAddress else { return }
    for shard in shards.dropFirst() {
      guard let other = shard.sum.baseAddress else { continue }
      VectorKernels.add(
        other + range.lowerBound, factor: 1, count: range.count, to: first + range.lowerBound)
    }
    VectorKernels.add(
      first + range.lowerBound, factor: -settings.learningRate / Float(settings.batchSize),
      count: range.count, to: start + range.lowerBound)
  }

  /// The coordinates that a shard has to do with: whole blocks of noise.
  private func coordinates(of shard: Int) -> Range<Int> {
    let block = SimulatedGaussian.block
    let blocks = part(shard, of: (values.count + block - 1) / block)
    return min(blocks.lowerBound * block, values.count)..<min(blocks.upperBound * block, values.count)
  }

  private func part(_ shard: Int, of count: Int) -> Range<Int> {
    count * shard / shards.count..<count * (shard + 1) / shards.count
  }

  /// What a thread needs for a shard.
  private final class Shard {
    let gradients: ClippedGradients
    let sum: UnsafeMutableBufferPointer<Float>
    var rows: RowSelection?
    var zeroed = 0

    init(_ gradients: ClippedGradients) {
      self.gradients = gradients
      sum = UnsafeMutableBufferPointer(
        start: VectorKernels.allocate(gradients.parameterCount), count: gradients.parameterCount)
    }

    deinit { sum.deallocate() }
  }
}

extension VectorKernels {
  /// sum += factor · values
  static func add(
    _ values: UnsafePointer<Float>, factor: Float, count: Int, to sum: UnsafeMutablePointer<Float>
  ) {
    var index = 0
    while index + width <= count {
      store(load(sum + index) + load(values + index) * factor, sum + index)
      index += width
    }
    while index < count {
      sum[index] += values[index] * factor
      index += 1
    }
  }
}
