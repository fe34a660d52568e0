import Foundation
import Learning

/// How many examples per second a step of stochastic gradient descent takes whose gradients are clipped row by row and
/// noised (`ClippedDescent`), beside the same step without either and beside the fastest product of matrices that the
/// machine computes on as many threads.
///
/// All threads work on the same step: each has its part of the batch and of the noise, and they meet twice per step.
/// Every figure is measured once per repetition, one after the other, so that what else the machine does meets
/// all alike.
package struct LearningBenchmark {
  /// What is to be measured.
  package struct Options: Sendable, Codable {
    /// Models to run, by the start of their names; all if there are none.
    package var models: [String] = []
    /// Threads of the runs on all cores; the batch is cut into as many parts in every run.
    package var workers = ProcessInfo.processInfo.activeProcessorCount
    /// Measurements per figure, of which the median counts.
    package var repetitions = 7
    /// Seconds of one measurement, about.
    package var seconds = 0.2
    /// Rows of a step.
    package var batchSize = 256
    package init() {}
  }

  /// What a step does beside the gradient.
  package enum Kind: String, Sendable, Codable, CaseIterable {
    case plain
    case clipped
    case noised
  }

  /// One model, one kind of step, on some threads.
  package struct Speed: Sendable, Codable {
    package var model: String
    package var parameters: Int
    package var kind: Kind
    package var workers: Int
    /// Median over the repetitions: drawing the batch, gradients, clipping, noise and the step.
    package var examplesPerSecond: Double
    /// The best repetition: what the machine does when nobody else uses it.
    package var bestExamplesPerSecond: Double
    /// Median of the examples per second of processor time.
    package var examplesPerCoreSecond: Double
    /// How many times as long as a plain step on as many threads: the median of the repetitions' ratios.
    package var slowdown: Double
    /// The same by processor time: does not suffer from what else the machine does.
    package var coreSlowdown: Double
    /// 10⁹ multiplications and additions of the matrix products alone per second, at the median.
    package var gigaflops: Double
    /// Of the peak on as many threads: the median of the repetitions' ratios.
    package var shareOfPeak: Double
    /// Of the peak of one core, by processor time.
    package var coreShareOfPeak: Double
    /// Whether the parameters after eight steps are, bit for bit, those of one thread.
    package var isSameAsOnOneThread: Bool
  }

  /// What products of large square matrices reach.
  package struct Peak: Sendable, Codable {
    package var workers: Int
    package var gigaflops: Double
    package var bestGigaflops: Double
    package var gigaflopsPerCore: Double
  }

  /// What was measured.
  package struct Report: Sendable, Codable {
    package var options: Options
    package var cores: Int
    package var peaks: [Peak]
    package var speeds: [Speed]
  }

  private static let models: [(name: String, architecture: ModelArchitecture)] = [
    ("logistic 30-1", .logisticRegression),
    ("perceptron 30-64-32-1", .multiLayerPerceptron(hidden: [64, 32])),
    ("perceptron 30-512-512-1", .multiLayerPerceptron(hidden: [512, 512])),
  ]
  private static let inputs = 30
  private let options: Options
  private let progress: (String) -> Void

  /// - Parameter progress: told what happens now.
  package init(_ options: Options, progress: @escaping (String) -> Void) {
    self.options = options
    self.progress = progress
  }

  /// Runs everything.
  package func run() throws -> Report {
    let table = try Self.table(rows: 50_000)
    let counts = Set([1, options.workers]).sorted()
    let pools = counts.map { WorkerPool(workers: $0) }
    progress("warming up")
    let peaks = try pools.map { try PeakTrial(pool: $0, seconds: options.seconds) }
    var trials: [DescentTrial] = []
    for (name, architecture) in Self.models
    where options.models.isEmpty || options.models.contains(where: name.hasPrefix) {
      let model = Model(architecture: architecture, inputs: Self.inputs)
      for (place, pool) in pools.enumerated() {
        for kind in Kind.allCases {
          trials.append(
            try DescentTrial(
              name: name, model: model, kind: kind, pool: pool, place: place, table: table, options: options))
        }
      }
    }
    for repetition in 0..<options.repetitions {
      progress("repetition \(repetition + 1) of \(options.repetitions)")
      for peak in peaks { try peak.measure() }
      for trial in trials { try trial.measure() }
    }
    return Report(
      options: options, cores: ProcessInfo.processInfo.activeProcessorCount,
      peaks: peaks.map(\.peak),
      speeds: trials.map { trial in
        // Of the same model and number of threads; the first is the one without clipping.
        let plain = trials.first { $0.name == trial.name && $0.place == trial.place } ?? trial
        let single = trials.first { $0.name == trial.name && $0.kind == trial.kind } ?? trial
        return trial.speed(
          plain: plain, peak: peaks[trial.place], isSame: single.early == trial.early)
      })
  }

  /// Uniform features, and labels that a linear model knows.
  private static func table(rows: Int) throws -> TrainingBatch {
    var draws = SplitMix64(seed: 1)
    func symmetric() -> Float { Float(draws.next() >> 40) * 0x1p-23 - 1 }
    let weights = (0..<inputs).map { _ in symmetric() }
    var (values, labels): ([Float], [Float]) = ([], [])
    for _ in 0..<rows {
      let row = (0..<inputs).map { _ in symmetric() }
      labels.append(zip(row, weights).reduce(symmetric()) { $0 + $1.0 * $1.1 } > 0 ? 1 : 0)
      values += row
    }
    return try TrainingBatch(
      features: Matrix(rows: rows, columns: inputs, values: values), labels: labels,
      contributorOffsets: Array(0...rows))
  }
}

/// Seconds of one repetition, and those of all its threads on a processor.
private struct Seconds {
  var wall: Double
  var core: Double

  static func of(_ body: () throws -> Void) rethrows -> Seconds {
    let (start, core) = (ContinuousClock.now, processorSeconds)
    try body()
    return Seconds(wall: (ContinuousClock.now - start).inSeconds, core: processorSeconds - core)
  }

  private static var processorSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }
}

extension [Double] {
  fileprivate var median: Double { isEmpty ? .nan : sorted()[count / 2] }
}

/// Square products on all threads of a pool.
private final class PeakTrial {
  private let pool: WorkerPool
  private let probes: Probes
  private let count: Int
  private(set) var seconds: [Seconds] = []

  /// One product for each thread, which it alone computes.
  private final class Probes: @unchecked Sendable {
    // A product is computed by one item of a job at a time.
    let all: [ProductProbe]
    init(_ count: Int) { all = (0..<count).map { _ in ProductProbe(size: 1_024) } }
  }

  init(pool: WorkerPool, seconds: Double) throws {
    self.pool = pool
    probes = Probes(pool.workers)
    let probe = probes.all[0]
    probe.multiply()
    let pilot = Seconds.of { probe.multiply() }
    count = max(1, Int(seconds / max(pilot.wall, 1e-6)))
  }

  func measure() throws {
    let (probes, count) = (probes, count)
    seconds.append(
      try Seconds.of {
        try pool.run(pool.workers) { _, items in
          for item in items { for _ in 0..<count { probes.all[item].multiply() } }
        }
      })
  }

  /// 10⁹ operations of a repetition.
  var operations: Double { probes.all[0].operations * Double(count * pool.workers) * 1e-9 }

  var peak: LearningBenchmark.Peak {
    LearningBenchmark.Peak(
      workers: pool.workers, gigaflops: operations / seconds.map(\.wall).median,
      bestGigaflops: operations / (seconds.map(\.wall).min() ?? .nan),
      gigaflopsPerCore: operations / seconds.map(\.core).median)
  }
}

/// Steps of one kind on one model.
private final class DescentTrial {
  let name: String
  let kind: LearningBenchmark.Kind
  /// Of the pool.
  let place: Int
  /// The parameters after eight steps.
  private(set) var early: [Float] = []
  private let parameterCount: Int
  private let operations: Double
  private let pool: WorkerPool
  private let table: TrainingBatch
  private let descent: ClippedDescent
  private var draws = SplitMix64(seed: 7)
  private let rows: [Int32]
  private var steps = 8
  private var seconds: [Seconds] = []

  init(
    name: String, model: Model, kind: LearningBenchmark.Kind, pool: WorkerPool, place: Int,
    table: TrainingBatch, options: LearningBenchmark.Options
  ) throws {
    (self.name, self.kind) = (name, kind)
    parameterCount = model.parameterCount
    operations = try ClippedGradients.operations(of: model)
    (self.pool, self.place, self.table) = (pool, place, table)
    rows = [Int32](repeating: 0, count: options.batchSize)
    descent = try ClippedDescent(
      model: model, parameters: model.architecture.initialParameters(inputs: model.inputs, seed: 1),
      settings: ClippedDescent.Settings(
        learningRate: 0.1, batchSize: options.batchSize, maximumRows: options.batchSize,
        clipNorm: kind == .plain ? nil : 1, noiseMultiplier: kind == .noised ? 1 : 0,
        shards: options.workers, seed: 3))
    try run()
    early = descent.parameters
    let pilot = try Seconds.of { try run() }
    steps = max(8, min(1_000_000, Int(8 * options.seconds / max(pilot.wall, 1e-6))))
  }

  func measure() throws { seconds.append(try Seconds.of { try run() }) }

  /// Takes the steps of a repetition, each on rows that are drawn uniformly.
  private func run() throws {
    let (pool, count) = (pool, UInt64(table.features.rows))
    // The generator and the rows in variables of their own: every access to an object's would be checked.
    var (draws, rows) = (draws, rows)
    defer { self.draws = draws }
    for _ in 0..<steps {
      for index in rows.indices {
        rows[index] = Int32(truncatingIfNeeded: draws.next().multipliedFullWidth(by: count).high)
      }
      _ = try rows.withUnsafeBufferPointer { rows in
        try descent.step(table, rows: rows) { count, body in
          try pool.run(count) { _, items in for item in items { body(item) } }
        }
      }
    }
  }

  func speed(plain: DescentTrial, peak: PeakTrial, isSame: Bool) -> LearningBenchmark.Speed {
    let examples = Double(steps * rows.count)
    let operations = operations * examples * 1e-9
    /// The median of the repetitions' ratios of seconds per unit of work.
    func ratio(
      _ key: KeyPath<Seconds, Double>, _ work: Double, over other: [Seconds], _ otherWork: Double
    ) -> Double {
      zip(seconds, other).map { $0[keyPath: key] / work / ($1[keyPath: key] / otherWork) }.median
    }
    let plainExamples = Double(plain.steps * plain.rows.count)
    return LearningBenchmark.Speed(
      model: name, parameters: parameterCount, kind: kind, workers: pool.workers,
      examplesPerSecond: examples / seconds.map(\.wall).median,
      bestExamplesPerSecond: examples / (seconds.map(\.wall).min() ?? .nan),
      examplesPerCoreSecond: examples / seconds.map(\.core).median,
      slowdown: ratio(\.wall, examples, over: plain.seconds, plainExamples),
      coreSlowdown: ratio(\.core, examples, over: plain.seconds, plainExamples),
      gigaflops: operations / seconds.map(\.wall).median,
      shareOfPeak: 1 / ratio(\.wall, operations, over: peak.seconds, peak.operations),
      coreShareOfPeak: 1 / ratio(\.core, operations, over: peak.seconds, peak.operations),
      isSameAsOnOneThread: isSame)
  }
}
