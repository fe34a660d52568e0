import Synchronization

/// Seconds by phase, summed over the threads that worked on it.
final class PhaseClock: Sendable {
  private let totals = Mutex([String: Double]())

  /// The seconds so far.
  var seconds: [String: Double] { totals.withLock { $0 } }

  /// Adds the time of `body`.
  func time<Value>(_ phase: String, _ body: () throws -> Value) rethrows -> Value {
    let start = ContinuousClock.now
    defer {
      let seconds = (ContinuousClock.now - start).inSeconds
      totals.withLock { $0[phase, default: 0] += seconds }
    }
    return try body()
  }
}
