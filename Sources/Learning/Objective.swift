#if canImport(Glibc)
  import Glibc
#endif

/// What a model predicts, and by which loss it learns.
///
/// A model gives `outputs` numbers for a row, its scores. The label of a row is one number.
package enum Objective: Codable, Equatable, Hashable, Sendable {
  /// One of two classes. Label: 0 or 1; score: the logit of class 1; loss: log loss.
  case binary
  /// One of `count` classes, 3 or more. Label: 0 ..< count; scores: a logit for each class; loss: log loss of
  /// the softmax.
  case classes(count: Int)
  /// A number. Label and score: the number; loss: ½ (score − label)².
  case squaredError
  /// A number with outliers. Loss: ½ e² up to |e| = `delta`, then delta · (|e| − delta / 2) (Huber 1964).
  case huber(delta: Float)
  /// A count. Label: ≥ 0; score: the logarithm of the mean; loss: e^score − label · score.
  case poisson
  /// An amount that is often 0. Label: ≥ 0; score: the logarithm of the mean; `power` between 1 and 2,
  /// exclusive; loss: e^((2 − p) score) / (2 − p) − label · e^((1 − p) score) / (1 − p) (Tweedie's deviance;
  /// Jørgensen 1987).
  case tweedie(power: Float)
  /// Nothing: rows are assigned to one of `count` segments, 2 or more. Label: 0. Scores: a preference for every
  /// segment (k-means: minus the squared distance to its centre; a mixture: the logarithm of its share times
  /// its density), then the squared Euclidean distance to every centre; of a segment that training has not made
  /// yet minus `absentSegment` and `absentSegment`. Loss: the squared distance to the preferred centre. It is
  /// not learnt by its derivatives, which are given as 0.
  case segments(count: Int)

  /// The most classes.
  package static let maximumClasses = 1_024
  /// Scores that are logarithms are taken to be within plus and minus this: e^30 is beyond every amount.
  static let largestLogarithm: Float = 30

  /// The squared distance to a segment that there is not: beyond every other.
  static let absentSegment: Float = 1e30

  /// The numbers that a model gives for a row.
  package var outputs: Int {
    switch self {
    case .classes(let count): count
    case .segments(let count): 2 * count
    case .binary, .squaredError, .huber, .poisson, .tweedie: 1
    }
  }

  /// Whether labels are classes.
  package var isClassification: Bool {
    switch self {
    case .binary, .classes: true
    case .squaredError, .huber, .poisson, .tweedie, .segments: false
    }
  }

  /// Whether labels are numbers, so that a bound on them is needed wherever they are summed.
  package var predictsNumbers: Bool {
    switch self {
    case .squaredError, .huber, .poisson, .tweedie: true
    case .binary, .classes, .segments: false
    }
  }

  /// Whether rows are assigned to segments and nothing is predicted: networks and trees cannot.
  package var isSegmentation: Bool {
    if case .segments = self { true } else { false }
  }

  /// Refuses segments, for models that learn by the derivatives of a loss.
  func refuseSegments(_ who: String) throws(LearningError) {
    guard !isSegmentation else {
      throw .invalidSetting(
        name: "the objective", reason: "\(who) predict labels: choose k-means or a mixture for segments")
    }
  }

  /// Refuses impossible settings. Decoding does not check: call this on whatever came from outside.
  package func validate() throws(LearningError) {
    switch self {
    case .binary, .squaredError, .poisson: break
    case .classes(let count):
      guard (3...Self.maximumClasses).contains(count) else {
        throw .invalidSetting(
          name: "the objective", reason: "allowed are 3 to \(Self.maximumClasses) classes; two are binary")
      }
    case .huber(let delta):
      guard delta >= 1e-9, delta <= 1e9 else {
        throw .invalidSetting(name: "Huber's delta", reason: "it must be from 1e-9 to 1e9")
      }
    case .tweedie(let power):
      guard power > 1, power < 2 else {
        throw .invalidSetting(name: "Tweedie's power", reason: "it must be above 1 and below 2")
      }
    case .segments(let count):
      guard (2...SegmentSettings.maximumCount).contains(count) else {
        throw .invalidSetting(
          name: "the objective", reason: "allowed are 2 to \(SegmentSettings.maximumCount) segments")
      }
    }
  }

  /// Whether a label is possible.
  package func allows(label: Float) -> Bool {
    switch self {
    case .binary: label == 0 || label == 1
    case .classes(let count): label >= 0 && label < Float(count) && label == label.rounded()
    case .squaredError, .huber: label.isFinite
    case .poisson, .tweedie: label.isFinite && label >= 0
    case .segments: label == 0
    }
  }

  /// What a label must be, for people.
  package var labelDescription: String {
    switch self {
    case .binary: "0 or 1"
    case .classes(let count): "a whole number from 0 to \(count - 1)"
    case .squaredError, .huber: "a finite number"
    case .poisson, .tweedie: "a finite number of at least 0"
    case .segments: "0, as segments have no label"
    }
  }

  /// The loss of one row.
  ///
  /// - Parameter scores: `outputs` numbers.
  package func loss(scores: UnsafeBufferPointer<Float>, label: Float) -> Float {
    let score = scores[0]
    switch self {
    case .binary: return ExactMetrics.logLoss(score: score, label: label)
    case .classes:
      let highest = scores.reduce(-Float.infinity, max)
      var sum: Float = 0
      for value in scores { sum += exp(value - highest) }
      // The distance first: the logarithm would be lost against a large score.
      return log(sum) + (highest - scores[Int(label)])
    case .squaredError: return (score - label) * (score - label) / 2
    case .huber(let delta):
      let distance = abs(score - label)
      return distance <= delta ? distance * distance / 2 : delta * (distance - delta / 2)
    case .poisson:
      let bounded = Self.bounded(score)
      return exp(bounded) - label * bounded
    case .tweedie(let power):
      let bounded = Self.bounded(score)
      return exp((2 - power) * bounded) / (2 - power) - label * exp((1 - power) * bounded) / (1 - power)
    case .segments(let count):
      var preferred = 0
      for index in 1..<count where scores[index] > scores[preferred] { preferred = index }
      return scores[count + preferred]
    }
  }

  /// The derivatives of one row's loss by its scores, and an upper bound of its curvature where a
  /// second-order method needs one (the second derivative itself but for Huber, whose is that of the square).
  ///
  /// - Returns: the curvature by the single score; 1 for classes, which no second-order method of ours uses.
  @discardableResult
  package func gradient(
    scores: UnsafeBufferPointer<Float>, label: Float, into gradient: UnsafeMutablePointer<Float>
  ) -> Float {
    let score = scores[0]
    switch self {
    case .binary:
      let probability = 1 / (1 + exp(-score))
      gradient[0] = probability - label
      return probability * (1 - probability)
    case .classes(let count):
      let highest = scores.reduce(-Float.infinity, max)
      var sum: Float = 0
      for index in 0..<count {
        gradient[index] = exp(scores[index] - highest)
        sum += gradient[index]
      }
      for index in 0..<count { gradient[index] /= sum }
      gradient[Int(label)] -= 1
      return 1
    case .squaredError:
      gradient[0] = score - label
      return 1
    case .huber(let delta):
      gradient[0] = min(max(score - label, -delta), delta)
      return 1
    case .poisson:
      let mean = exp(Self.bounded(score))
      gradient[0] = mean - label
      return mean
    case .tweedie(let power):
      let bounded = Self.bounded(score)
      let (up, down) = (exp((2 - power) * bounded), exp((1 - power) * bounded))
      gradient[0] = up - label * down
      return (2 - power) * up - (1 - power) * label * down
    case .segments(let count):
      for index in 0..<2 * count { gradient[index] = 0 }
      return 1
    }
  }

  /// The prediction that a score stands for: a probability, a number, a mean. Classes and segments have
  /// scores, not one value.
  package func prediction(of score: Float) -> Float {
    switch self {
    case .binary, .classes: 1 / (1 + exp(-score))
    case .squaredError, .huber, .segments: score
    case .poisson, .tweedie: exp(Self.bounded(score))
    }
  }

  private static func bounded(_ score: Float) -> Float {
    min(max(score, -largestLogarithm), largestLogarithm)
  }
}
