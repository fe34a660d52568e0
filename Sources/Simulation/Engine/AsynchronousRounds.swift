import Learning

/// Buffered asynchronous aggregation (FedBuff: Nguyen et al., *Federated Learning with Buffered Asynchronous
/// Aggregation*, AISTATS 2022): `concurrency` nodes train at any time, each from the model that was current when
/// it began, and the server takes a step whenever `buffer` of them have arrived.
///
/// A node is in flight at most once, and in a buffer at most once: a step releases one noised sum in which nobody
/// counts for more than the clip norm, so it costs what a synchronous round costs. Nothing is claimed from who
/// takes part.
package struct AsynchronousRounds: Codable, Equatable, Sendable {
  /// How long nodes take. A node keeps its pace: slow ones are slow in every round.
  package enum Speed: String, Codable, CaseIterable, Sendable {
    /// All alike.
    case constant
    /// e^(spread · z) of a median node's time, z being standard normal.
    case lognormal
    /// |z| · spread, z being standard normal, at least a twentieth (the paper's section 5.1 without the floor).
    case halfNormal = "half-normal"
  }

  /// How much an update counts that was computed from an old model, τ steps behind.
  package enum Staleness: String, Codable, CaseIterable, Sendable {
    /// All alike.
    case constant
    /// 1 / √(1 + τ), the paper's choice.
    case inverseSquareRoot = "inverse-square-root"

    /// The weight, 0 to 1.
    func weight(_ staleness: Int) -> Double {
      switch self {
      case .constant: 1
      case .inverseSquareRoot: 1 / Double(1 + staleness).squareRoot()
      }
    }
  }

  /// Arrivals of a step.
  package var buffer: Int
  /// Nodes in flight.
  package var concurrency: Int
  /// How nodes differ.
  package var speed: Speed
  /// How much they differ, 0 to 5.
  package var spread: Double
  /// How much a node's rounds differ: each takes e^(jitter · z) of its usual time; 0 to 5.
  package var jitter: Double
  /// How much late updates count.
  package var staleness: Staleness

  package init(
    buffer: Int, concurrency: Int, speed: Speed = .lognormal, spread: Double = 1, jitter: Double = 0.1,
    staleness: Staleness = .inverseSquareRoot
  ) {
    self.buffer = buffer
    self.concurrency = concurrency
    self.speed = speed
    self.spread = spread
    self.jitter = jitter
    self.staleness = staleness
  }
}

/// Rounds without waiting: who arrives when on a virtual clock, and the models that nodes in flight began with.
final class AsynchronousTraining {
  /// The most bytes of models that are kept for nodes in flight.
  static let mostBytes = 2 << 30

  /// What a node sends, as one piece of work.
  struct Arrival: Sendable {
    let node: Int
    /// Steps that the model it began with had seen.
    let version: Int
    /// Of the local shuffles.
    let seed: UInt64
    /// What its clipped update is multiplied by.
    let weight: Double
    let parameters: SharedParameters
  }

  private var schedule: ArrivalSchedule
  private let settings: AsynchronousRounds
  private var versions: [Int: SharedParameters] = [:]
  private var largestStaleness = 0
  private var totalStaleness = 0
  private var arrivals = 0

  init(settings: AsynchronousRounds, nodeCount: Int, seed: UInt64) {
    self.settings = settings
    schedule = ArrivalSchedule(settings: settings, nodeCount: nodeCount, seed: seed)
  }

  /// The arrivals that make up a step, from 1, ordered by the model that they began with.
  ///
  /// - Parameters:
  ///   - parameters: the model before the step.
  ///   - seed: of the local shuffles of those who begin with a model of so many steps.
  func arrivals(step: Int, parameters: [Float], seed: (_ version: Int) -> UInt64) throws -> [Arrival] {
    let current = step - 1
    versions[current] = SharedParameters(parameters)
    guard versions.count <= Self.mostBytes / (4 * max(1, parameters.count)) else {
      throw CentralRunError.invalidSetting(
        name: "asynchronous training",
        reason:
          "nodes in flight began with \(versions.count) different models of \(parameters.count) parameters, "
          + "more than 2 GB; take a smaller concurrency or a larger buffer")
    }
    let buffer = schedule.nextBuffer(version: current)
    var result: [Arrival] = []
    for (node, version) in buffer {
      guard let parameters = versions[version] else { continue }
      let staleness = current - version
      largestStaleness = max(largestStaleness, staleness)
      totalStaleness += staleness
      arrivals += 1
      result.append(
        Arrival(
          node: node, version: version, seed: seed(version), weight: settings.staleness.weight(staleness),
          parameters: parameters))
    }
    let needed = schedule.versionsInFlight
    versions = versions.filter { needed.contains($0.key) }
    return result.sorted { ($0.version, $0.node) < ($1.version, $1.node) }
  }

  /// Models that are kept.
  var keptVersions: Int { versions.count }

  /// What the clock says, as sentences.
  func sentences(steps: Int) -> [String] {
    let mean = arrivals == 0 ? 0 : Double(totalStaleness) / Double(arrivals)
    func shown(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }
    return [
      "Updates were \(shown(mean)) steps old on average and \(largestStaleness) at most.",
      "\(steps) steps took \(shown(schedule.now)) times the round of a median node. Synchronous rounds would have "
        + "taken \(shown(schedule.synchronous.buffer)) with \(settings.buffer) nodes each and "
        + "\(shown(schedule.synchronous.concurrency)) with \(settings.concurrency).",
    ]
  }
}
