import Foundation
import Testing

@testable import Learning

@Suite struct ObjectiveTests {
  private func loss(_ objective: Objective, _ scores: [Float], _ label: Float) -> Float {
    scores.withUnsafeBufferPointer { objective.loss(scores: $0, label: label) }
  }

  private func gradient(
    _ objective: Objective, _ scores: [Float], _ label: Float
  ) -> (values: [Float], curvature: Float) {
    var values = [Float](repeating: .nan, count: objective.outputs)
    let curvature = scores.withUnsafeBufferPointer {
      objective.gradient(scores: $0, label: label, into: &values)
    }
    return (values, curvature)
  }

  /// The loss in double precision, from the definitions.
  private func plain(_ objective: Objective, _ scores: [Double], _ label: Float) -> Double {
    let (score, label) = (scores[0], Double(label))
    switch objective {
    case .binary: return log1p(exp(label == 1 ? -score : score))
    case .classes: return log(scores.reduce(0) { $0 + exp($1) }) - scores[Int(label)]
    case .squaredError: return (score - label) * (score - label) / 2
    case .huber(let delta):
      let (distance, delta) = (abs(score - label), Double(delta))
      return distance <= delta ? distance * distance / 2 : delta * (distance - delta / 2)
    case .poisson: return exp(score) - label * score
    case .tweedie(let power):
      let power = Double(power)
      return exp((2 - power) * score) / (2 - power) - label * exp((1 - power) * score) / (1 - power)
    case .segments(let count):
      return scores[count + (scores.prefix(count).enumerated().max { $0.element < $1.element }?.offset ?? 0)]
    }
  }

  static let objectives =
    Objective.samples + [.tweedie(power: 1.05), .tweedie(power: 1.95), .huber(delta: 20)]

  @Test(arguments: objectives)
  func `loss, gradient and curvature are the definition's and its derivatives`(objective: Objective) {
    var noise = TestNoise(seed: 31)
    for _ in 0..<200 {
      let scores = noise.floats(objective.outputs).map { $0 * 2 }
      let label = objective.label(noise.next())
      let exact = scores.map(Double.init)
      let size = 1 + abs(plain(objective, exact, label))
      #expect(abs(Double(loss(objective, scores, label)) - plain(objective, exact, label)) < 2e-6 * size)
      let (values, curvature) = gradient(objective, scores, label)
      func moved(_ index: Int, by step: Double) -> Double {
        var scores = exact
        scores[index] += step
        return plain(objective, scores, label)
      }
      for index in values.indices {
        let slope = (moved(index, by: 1e-5) - moved(index, by: -1e-5)) / 2e-5
        #expect(abs(Double(values[index]) - slope) < 2e-5 * size, "\(scores), \(label)")
      }
      let step = 1e-3
      let bend = (moved(0, by: step) - 2 * plain(objective, exact, label) + moved(0, by: -step)) / step / step
      switch objective {
      case .classes: #expect(curvature == 1)
      case .huber: #expect(curvature == 1 && bend < 1 + 1e-3)
      default: #expect(abs(Double(curvature) - bend) < 1e-3 * size, "\(scores), \(label)")
      }
    }
  }

  @Test(arguments: objectives)
  func `extreme scores give finite losses and gradients that point back`(objective: Objective) {
    let label: Float = objective.isClassification ? 1 : 2
    for size in [40, 100, 1e4, 1e9, 1e18] as [Float] {
      for sign in [-1, 1] as [Float] {
        var scores = [Float](repeating: 0, count: objective.outputs)
        scores[objective.outputs > 1 ? 1 : 0] = sign * size
        let (values, curvature) = gradient(objective, scores, label)
        #expect(values.allSatisfy(\.isFinite) && curvature.isFinite && curvature >= 0)
        #expect(loss(objective, scores, label).isFinite)
        let own = values[objective.outputs > 1 ? 1 : 0]
        // Too low: up, that is, against the gradient. Too high: down, but for a class that may be that
        // certain.
        #expect(sign < 0 ? own < 0 : objective.isClassification ? abs(own) < 1e-6 : own > 0)
        #expect(objective.prediction(of: scores[0]).isFinite)
      }
    }
  }

  @Test func `a tie of classes with enormous scores costs what a tie costs`() {
    for size in [0, 1e3, 1e8, 1e30] as [Float] {
      let scores = [Float](repeating: size, count: 3)
      #expect(abs(loss(.classes(count: 3), scores, 1) - log(3)) < 1e-6)
    }
  }

  @Test func `labels are allowed as each objective says`() {
    let all: [Float] = [0, -0.0, 1, 2, 3, 0.5, -1, 1e30, .nan, .infinity, -.infinity]
    let expected: [(Objective, [Bool])] = [
      (.binary, [true, true, true, false, false, false, false, false, false, false, false]),
      (.classes(count: 3), [true, true, true, true, false, false, false, false, false, false, false]),
      (.squaredError, [true, true, true, true, true, true, true, true, false, false, false]),
      (.huber(delta: 1), [true, true, true, true, true, true, true, true, false, false, false]),
      (.poisson, [true, true, true, true, true, true, false, true, false, false, false]),
      (.tweedie(power: 1.5), [true, true, true, true, true, true, false, true, false, false, false]),
    ]
    for (objective, answers) in expected {
      #expect(all.map { objective.allows(label: $0) } == answers, "\(objective)")
      #expect(!objective.labelDescription.isEmpty)
      #expect(objective.outputs == (objective == .classes(count: 3) ? 3 : 1))
    }
  }

  @Test func `refuses impossible settings and survives JSON`() throws {
    let impossible: [Objective] = [
      .classes(count: 2), .classes(count: -1), .classes(count: 1025), .huber(delta: 0), .huber(delta: -1),
      .huber(delta: .nan), .huber(delta: .infinity), .tweedie(power: 1), .tweedie(power: 2),
      .tweedie(power: .nan), .tweedie(power: 0.5),
    ]
    for objective in impossible { #expect(throws: LearningError.self) { try objective.validate() } }
    for objective in Self.objectives + [.classes(count: 1024)] {
      try objective.validate()
      let bytes = try JSONEncoder().encode(objective)
      #expect(try JSONDecoder().decode(Objective.self, from: bytes) == objective)
    }
  }
}
