/// How the server's learning rate changes from step to step.
package enum LearningRateSchedule: Codable, Equatable, Sendable {
  /// It stays.
  case constant
  /// It falls in a straight line to `end` times itself over so many steps, and stays there.
  case linear(steps: Int, end: Float)
  /// It rises in a straight line from nothing over so many steps, then falls with the root of the step.
  case inverseSquareRoot(warmup: Int)

  /// The most steps of a schedule.
  package static let maximumSteps = 1_000_000

  /// Refuses impossible settings. Decoding does not check.
  package func validate() throws(LearningError) {
    switch self {
    case .constant: return
    case .linear(let steps, let end):
      guard (1...Self.maximumSteps).contains(steps), end >= 0, end <= 1 else {
        throw .invalidSetting(
          name: "the learning rate's schedule", reason: "it needs 1 to 1000000 steps and an end from 0 to 1")
      }
    case .inverseSquareRoot(let warmup):
      guard (1...Self.maximumSteps).contains(warmup) else {
        throw .invalidSetting(
          name: "the learning rate's schedule", reason: "allowed are 1 to 1000000 steps of warm-up")
      }
    }
  }

  /// What the learning rate is multiplied by.
  ///
  /// - Parameter step: from 0.
  package func factor(step: Int) -> Float {
    switch self {
    case .constant: return 1
    case .linear(let steps, let end):
      let part = min(Float(step) / Float(steps), 1)
      return 1 - (1 - end) * part
    case .inverseSquareRoot(let warmup):
      let place = Float(step) + 1
      return place < Float(warmup) ? place / Float(warmup) : (Float(warmup) / place).squareRoot()
    }
  }
}
