import Foundation
import Learning
import Privacy

/// How fast a simulation with a trusted server runs: the task that other simulators are measured on (1,000 nodes
/// of 50 records and 30 features, cohorts of 100, one local epoch of batches of 10), and a population of a
/// million nodes.
package struct SimulationBenchmark {
  /// What is to be measured.
  package struct Options: Sendable, Codable {
    /// Models to run, by the start of their names; all if there are none.
    package var models: [String] = []
    /// Threads of the runs on all cores.
    package var workers = ProcessInfo.processInfo.activeProcessorCount
    /// Measurements per figure, of which the median counts.
    package var repetitions = 7
    /// Seconds of one measurement, about.
    package var seconds = 0.4
    /// Whether to run the large population too.
    package var scale = false
    /// Nodes of the large population.
    package var scaleNodes = 1_000_000
    /// Cohort of the large population.
    package var scaleCohort = 10_000
    /// Rounds of the large population.
    package var scaleRounds = 20
    package init() {}
  }

  /// One model, with or without privacy, on some threads.
  package struct Speed: Sendable, Codable {
    package var model: String
    package var parameters: Int
    package var isPrivate: Bool
    package var workers: Int
    /// Median over the repetitions; everything between the start of the first and the end of the last round.
    package var clientUpdatesPerSecond: Double
    /// The best repetition: what the machine does when nobody else uses it.
    package var bestClientUpdatesPerSecond: Double
    /// Median of the updates per second of processor time: does not suffer from what else the machine does.
    package var clientUpdatesPerCoreSecond: Double
    /// From the start to the end of the first round: data in memory, everything else to be made.
    package var firstRoundSeconds: Double
    /// Wall-clock seconds of a round's phases; `train` sums over workers and is part of `round`.
    package var phaseSecondsPerRound: [String: Double]
    /// SHA-256 of the parameters after five rounds: the same for any number of workers.
    package var modelDigest: String
  }

  /// The large population.
  package struct Scale: Sendable, Codable {
    package var nodes: Int
    package var cohort: Int
    package var rounds: Int
    package var workers: Int
    package var seconds: Double
    package var clientUpdates: Int
    package var phaseSeconds: [String: Double]
    package var peakMemoryBytes: Int
    package var auc: Double?
    package var modelDigest: String
  }

  /// What was measured.
  package struct Report: Sendable, Codable {
    package var options: Options
    package var cores: Int
    /// From the start of this process to the end of its first round, the data's generation included.
    package var processToFirstRoundSeconds: Double
    package var speeds: [Speed]
    /// Resident memory after, and at the peak of, the speed runs.
    package var residentMemoryBytes: Int
    package var peakMemoryBytes: Int
    package var scale: Scale?
  }

  private static let models: [(name: String, architecture: ModelArchitecture)] = [
    ("logistic", .logisticRegression),
    ("perceptron 30-64-32-1", .multiLayerPerceptron(hidden: [64, 32])),
    ("perceptron 30-512-512-1", .multiLayerPerceptron(hidden: [512, 512])),
  ]
  private let options: Options
  private let progress: (String) -> Void

  /// - Parameter progress: told what happens now.
  package init(_ options: Options, progress: @escaping (String) -> Void) {
    self.options = options
    self.progress = progress
  }

  /// Runs everything.
  package func run() throws -> Report {
    let population = try DensePopulation(nodes: 1_000, records: 50, features: 30, seed: 1)
    _ = try Trial(population, .logisticRegression, isPrivate: true, workers: options.workers)
    let first = ProcessClock.secondsSinceProcessStart
    var speeds: [Speed] = []
    for (name, architecture) in Self.models
    where options.models.isEmpty || options.models.contains(where: name.hasPrefix) {
      for isPrivate in [false, true] {
        for workers in Set([1, options.workers]).sorted() {
          progress("\(name), \(isPrivate ? "with" : "without") noise, workers: \(workers)")
          speeds.append(try speed(name, architecture, population, isPrivate: isPrivate, workers: workers))
        }
      }
    }
    let (resident, peak) = (ProcessMemory.resident, ProcessMemory.peakResident)
    return Report(
      options: options, cores: ProcessInfo.processInfo.activeProcessorCount,
      processToFirstRoundSeconds: first, speeds: speeds, residentMemoryBytes: resident, peakMemoryBytes: peak,
      scale: options.scale ? try scale() : nil)
  }

  private func speed(
    _ name: String, _ architecture: ModelArchitecture, _ population: DensePopulation, isPrivate: Bool,
    workers: Int
  ) throws -> Speed {
    let trial = try Trial(population, architecture, isPrivate: isPrivate, workers: workers)
    try trial.rounds(4)
    let digest = trial.training.digest
    let pilot = try trial.timed(rounds: 2)
    let rounds = max(2, min(20_000, Int(options.seconds / max(pilot / 2, 1e-6))))
    let before = trial.training.seconds
    var (times, coreTimes): ([Double], [Double]) = ([], [])
    for _ in 0..<options.repetitions {
      let core = ProcessClock.processorSeconds
      times.append(try trial.timed(rounds: rounds))
      coreTimes.append(ProcessClock.processorSeconds - core)
    }
    times.sort()
    coreTimes.sort()
    let measured = Double(rounds * options.repetitions)
    let updates = Double(rounds * Trial.cohort)
    return Speed(
      model: name, parameters: trial.training.parameters.count, isPrivate: isPrivate, workers: workers,
      clientUpdatesPerSecond: updates / times[times.count / 2],
      bestClientUpdatesPerSecond: updates / times[0],
      clientUpdatesPerCoreSecond: updates / max(coreTimes[coreTimes.count / 2], 1e-9),
      firstRoundSeconds: trial.firstRound,
      phaseSecondsPerRound: trial.training.seconds.reduce(into: [:]) {
        $0[$1.key] = ($1.value - (before[$1.key] ?? 0)) / measured
      }, modelDigest: digest)
  }

  private func scale() throws -> Scale {
    progress("\(options.scaleNodes) nodes, cohorts of \(options.scaleCohort), \(options.scaleRounds) rounds")
    ProcessMemory.forgetPeak()
    let setup = RunSetup(
      name: "scale", rounds: options.scaleRounds, cohort: .fixed(options.scaleCohort),
      architecture: .logisticRegression, algorithm: .fedSGD,
      optimizer: .adam(learningRate: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8), clipNorm: 4,
      budget: PrivacyBudget(epsilon: 8, delta: 1e-7), aggregation: .off, evaluateEvery: options.scaleRounds)
    let start = ContinuousClock.now
    let population = try GeneratedPopulation(seed: 1, nodes: options.scaleNodes)
    let context = RunContext(workers: options.workers)
    let outcome = try CentralRun(setup: setup, population: population, context: context).run()
    return Scale(
      nodes: options.scaleNodes, cohort: options.scaleCohort, rounds: options.scaleRounds,
      workers: options.workers, seconds: (ContinuousClock.now - start).inSeconds,
      clientUpdates: outcome.cost.clientUpdates, phaseSeconds: outcome.cost.phaseSeconds,
      peakMemoryBytes: ProcessMemory.peakResident, auc: outcome.metrics.auc, modelDigest: outcome.model)
  }

  /// The peers' task on one model.
  private final class Trial {
    static let cohort = 100
    let training: CentralTraining
    let firstRound: Double
    private let population: DensePopulation
    private var round = 1

    init(
      _ population: DensePopulation, _ architecture: ModelArchitecture, isPrivate: Bool, workers: Int
    ) throws {
      let start = ContinuousClock.now
      self.population = population
      let setup = RunSetup(
        name: "speed", rounds: 1, cohort: .fixed(Self.cohort), architecture: architecture,
        algorithm: .fedAvg(epochs: 1, batchSize: 10, learningRate: 0.1), optimizer: .sgd(learningRate: 1),
        clipNorm: isPrivate ? 1 : nil, budget: PrivacyBudget(epsilon: .infinity, delta: 1e-6), unit: .node,
        aggregation: .off)
      training = try CentralTraining(
        setup: setup, model: Model(architecture: architecture, inputs: 30), nodeCount: population.nodeCount,
        noise: isPrivate
          ? CentralTraining.Noise(deviation: 0.5, countIsPrivate: false, cohort: nil) : nil,
        pool: WorkerPool(workers: workers), reducer: SingleProcess())
      _ = try training.run(round: round, batches: population)
      firstRound = (ContinuousClock.now - start).inSeconds
    }

    func rounds(_ count: Int) throws {
      for _ in 0..<count {
        round += 1
        _ = try training.run(round: round, batches: population)
      }
    }

    func timed(rounds count: Int) throws -> Double {
      let start = ContinuousClock.now
      try rounds(count)
      return (ContinuousClock.now - start).inSeconds
    }
  }
}

/// What the kernel says of this process (Linux).
private enum ProcessClock {
  /// Processor seconds of this process so far, all threads.
  static var processorSeconds: Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  /// Seconds since the kernel started this process (Linux), to a hundredth; 0 where that is not told.
  static var secondsSinceProcessStart: Double {
    guard let stat = try? String(contentsOfFile: "/proc/self/stat", encoding: .utf8),
      let uptime = try? String(contentsOfFile: "/proc/uptime", encoding: .utf8),
      let now = uptime.split(separator: " ").first.flatMap({ Double($0) }),
      // The name in parentheses may hold spaces; the 20th field after it is the start, in ticks.
      let fields = stat.split(separator: ")").last?.split(separator: " "), fields.count > 19,
      let ticks = Double(fields[19])
    else { return 0 }
    return now - ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
  }
}
