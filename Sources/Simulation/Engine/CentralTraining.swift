import Cryptography
import Learning

/// The rounds of a run with a trusted server: sample, train, clip, add, noise, step. No features, no metrics:
/// what `CentralRun` and the benchmark share.
final class CentralTraining {
  /// What noise a round adds.
  struct Noise {
    /// Standard deviation on every coordinate of the sum, before the noise cohort's factor.
    var deviation: Double
    /// Whether the number of contributors is private: it then is one more coordinate of the sum.
    var countIsPrivate: Bool
    /// Nodes whose noise is simulated; nil for those of the cohort.
    var cohort: Int?
  }

  /// What a round did.
  struct Round {
    var nodes: Int
    var contributors: Int
    var zeroed: Int
  }

  /// The weight of the count's coordinate, in clip norms, as in a deployed sum.
  static let countWeight = 0.25

  /// The parameters after the rounds so far.
  private(set) var parameters: [Float]
  /// Seconds of phases: those of training summed over workers.
  private(set) var seconds: [String: Double] = [:]
  /// Updates so far.
  private(set) var updates = 0
  private let setup: RunSetup
  private let nodeCount: Int
  private let sampler: CohortSampler
  private let dropouts: CohortSampler
  private let pool: WorkerPool
  private let round: CentralRound
  private let noise: Noise?
  private var noiseBuffer: NoiseBuffer?
  private let noiseSource: CentralNoise
  private var optimizer: ServerOptimizer
  private let model: Model
  private let variates: ControlVariates?
  private let asynchronous: AsynchronousTraining?
  /// The most coordinates that a contributor's vector had so far.
  private(set) var longestContribution = 0
  /// Groups that were left out of a step because their sum was impossible, over all rounds.
  private(set) var excludedGroups = 0

  init(
    setup: RunSetup, model: Model, nodeCount: Int, noise: Noise?, pool: WorkerPool, reducer: any SumReducer
  ) throws {
    self.setup = setup
    self.nodeCount = nodeCount
    self.noise = noise
    self.pool = pool
    let size = setup.cohortSize(of: nodeCount)
    sampler = CohortSampler(seed: setup.seed, nodeCount: nodeCount)
    dropouts = CohortSampler(seed: setup.seed ^ 0x6472_6f70_6f75_7473, nodeCount: max(size, 1))
    self.model = model
    parameters = model.initialParameters(seed: setup.seed)
    asynchronous = setup.asynchronous.map {
      AsynchronousTraining(settings: $0, nodeCount: nodeCount, seed: setup.seed)
    }
    let parameterCount = parameters.count
    variates = setup.algorithm.descent.flatMap { settings in
      settings.controlVariates != true
        ? nil : ControlVariates(settings: settings, parameterCount: parameterCount, nodeCount: nodeCount)
    }
    round = try CentralRound(
      model: model, algorithm: setup.algorithm, clipNorm: setup.clipNorm.map { Float($0) },
      attack: setup.attack, poisoned: setup.attack?.nodes(of: nodeCount, seed: setup.seed) ?? [],
      groups: setup.groups?.count ?? 1, variates: variates, pool: pool, reducer: reducer)
    noiseSource = CentralNoise(seed: setup.seed)
    optimizer = ServerOptimizer(
      kind: setup.optimizer, weightDecay: setup.weightDecay, schedule: setup.schedule,
      parameterCount: parameters.count)
  }

  /// Whether the model can take no further step, as trees that are all grown.
  var isFinished: Bool { model.contributionLength(parameters: parameters) == 0 }

  /// Runs one round, from 1.
  func run(round number: Int, batches: some NodeBatches) throws -> Round {
    let start = ContinuousClock.now
    let cohort = asynchronous == nil ? cohort(round: number) : []
    let sampled = ContinuousClock.now
    let length = model.contributionLength(parameters: parameters)
    longestContribution = max(longestContribution, length)
    if noise != nil, noiseBuffer?.count != length + 1 { noiseBuffer = NoiseBuffer(count: length + 1) }
    let total: CentralRound.Total
    var asked = cohort.count
    if let asynchronous {
      let arrivals = try asynchronous.arrivals(step: number, parameters: parameters) { shuffleSeed($0 + 1) }
      asked = arrivals.count
      total = try round.total(arrivals: arrivals, length: length, batches: batches)
    } else {
      total = try round.total(
        parameters: parameters, length: length, cohort: cohort, seed: shuffleSeed(number), batches: batches)
    }
    let trained = ContinuousClock.now
    if let noise, let noiseBuffer {
      // The mean is taken over those whose updates arrive, the guarantee over those who were drawn.
      let factor = noise.cohort.map { Double(setup.cohortSize(of: nodeCount)) / Double($0) } ?? 1
      try noiseSource.fill(noiseBuffer, deviation: noise.deviation * factor, round: number, pool: pool)
    }
    let noised = ContinuousClock.now
    // With noise always: whether anybody contributed is as private as what they did.
    if total.contributors > 0 || noise != nil {
      try step(total, cohort: asked)
    }
    let end = ContinuousClock.now
    seconds["train"] = round.trainingSeconds
    seconds["sample", default: 0] += (sampled - start).inSeconds
    seconds["round", default: 0] += (trained - sampled).inSeconds
    seconds["noise", default: 0] += (noised - trained).inSeconds
    seconds["step", default: 0] += (end - noised).inSeconds
    updates += total.contributors
    return Round(nodes: total.nodes, contributors: total.contributors, zeroed: total.zeroed)
  }

  /// The seed of the local shuffles from the model before a round.
  private func shuffleSeed(_ round: Int) -> UInt64 {
    var generator = SplitMix64(seed: setup.seed ^ 0x7368_7566_666c_6573)
    generator = SplitMix64(seed: generator.next() &+ UInt64(round))
    return generator.next()
  }

  /// What asynchronous rounds have to say.
  func sentences(rounds: Int) -> [String] { asynchronous?.sentences(steps: rounds) ?? [] }

  private func step(_ total: CentralRound.Total, cohort: Int) throws {
    if let groups = setup.groups {
      let combined = try groups.combine(total.groups, clipNorm: setup.clipNorm, unit: round.unit)
      excludedGroups += combined?.excluded ?? groups.count
      guard let combined else { return }
      try model.step(
        mean: combined.mean, contributors: Double(combined.contributors), optimizer: &optimizer,
        parameters: &parameters)
      return
    }
    let divisor = divisor(of: total, cohort: cohort)
    let mean = round.means(of: total, noise: noiseBuffer, divisor: divisor)
    try model.step(mean: mean, contributors: divisor, optimizer: &optimizer, parameters: &parameters)
    variates?.follow(mean: mean, share: Double(cohort) / Double(nodeCount))
  }

  /// `digest(of:)` of the parameters.
  var digest: String { Self.digest(of: parameters) }

  /// SHA-256 of parameters as little-endian binary32, hex.
  static func digest(of parameters: [Float]) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(parameters.count * 4)
    #if _endian(little)
      parameters.withUnsafeBytes { bytes.append(contentsOf: $0) }
    #else
      for parameter in parameters {
        withUnsafeBytes(of: parameter.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
      }
    #endif
    return Hash.sha256(bytes).hex
  }

  /// The nodes of a round whose updates arrive.
  func cohort(round: Int) -> [Int] {
    let size = setup.cohortSize(of: nodeCount)
    let cohort = sampler.cohort(round: round, size: size)
    let lost = size * setup.dropoutPermille / 1000
    guard lost > 0 else { return cohort }
    return dropouts.cohort(round: round, size: size - lost).map { cohort[$0] }
  }

  /// The number of contributors: exact without noise, the public size of the cohort where nodes are protected,
  /// and else as noisy as every other coordinate.
  private func divisor(of total: CentralRound.Total, cohort: Int) -> Double {
    guard let noise, let noiseBuffer, let clipNorm = setup.clipNorm else { return Double(total.contributors) }
    guard noise.countIsPrivate else { return Double(cohort) }
    let error = noiseBuffer.values[noiseBuffer.count - 1] / (clipNorm * Self.countWeight)
    return max(1, Double(total.contributors) + error)
  }
}

extension RunSetup {
  /// Nodes of a round's cohort in a population; those of a buffer where rounds do not wait.
  func cohortSize(of nodeCount: Int) -> Int {
    if let asynchronous { return min(asynchronous.buffer, nodeCount) }
    return switch cohort {
    case .all: nodeCount
    case .fixed(let size): min(size, nodeCount)
    }
  }
}
