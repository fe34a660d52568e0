/// A deterministic minimiser of smooth functions: L-BFGS with a bisection line search for the weak Wolfe
/// conditions (Nocedal and Wright 2006, algorithms 7.4 and 7.5; Lewis and Overton 2013, section 2).
///
/// The same function from the same start takes the same path on the same machine. The result only has
/// to be good, never exact: what is released is accounted for from the numbers found.
struct QuasiNewton {
  /// The most directions searched.
  var iterations: Int
  /// How many past steps the curvature is estimated from.
  var memory = 20
  /// A gradient whose largest component is below this ends the search.
  var gradientTolerance = 1e-8
  /// So do this many steps in a row that gain less than 10^−10 each.
  var patience = 5

  /// A function value with its gradient.
  struct Evaluation {
    var value: Double
    var gradient: [Double]
  }

  private struct Pair {
    let step: [Double]
    let change: [Double]
    let inverseProduct: Double
  }

  /// The best point found from `start`; `objective` may return values that are not finite.
  func minimise(
    from start: [Double], _ objective: ([Double]) -> Evaluation
  ) -> (point: [Double], value: Double) {
    var point = start
    var current = objective(point)
    var pairs: [Pair] = []
    var idle = 0
    for _ in 0..<iterations {
      guard (current.gradient.map { abs($0) }.max() ?? 0) > gradientTolerance else { break }
      var direction = Self.direction(gradient: current.gradient, pairs: pairs)
      if !(Self.dot(direction, current.gradient) < 0) {
        pairs = []
        direction = Self.direction(gradient: current.gradient, pairs: [])
      }
      guard
        let (next, evaluation) = Self.search(
          from: point, current, along: direction, objective)
      else {
        // A poor estimate of the curvature is worth one more try without it.
        if pairs.isEmpty { break }
        pairs = []
        continue
      }
      let step = zip(next, point).map { $0 - $1 }
      let change = zip(evaluation.gradient, current.gradient).map { $0 - $1 }
      let product = Self.dot(step, change)
      if product > 1e-14 * Self.dot(change, change) {
        if pairs.count == memory { pairs.removeFirst() }
        pairs.append(Pair(step: step, change: change, inverseProduct: 1 / product))
      }
      idle = current.value - evaluation.value < 1e-10 ? idle + 1 : 0
      point = next
      current = evaluation
      if idle == patience { break }
    }
    return (point, current.value)
  }

  private static func dot(_ first: [Double], _ second: [Double]) -> Double {
    zip(first, second).reduce(0) { $0 + $1.0 * $1.1 }
  }

  private static func direction(gradient: [Double], pairs: [Pair]) -> [Double] {
    var result = gradient.map { -$0 }
    guard let last = pairs.last else {
      // No curvature is known yet: move by at most 1/10 in the parameters, which are all logarithmic.
      let largest = gradient.map { abs($0) }.max() ?? 1
      return result.map { $0 * min(1, 0.1 / largest) }
    }
    var factors: [Double] = []
    for pair in pairs.reversed() {
      let factor = pair.inverseProduct * dot(pair.step, result)
      for i in result.indices { result[i] -= factor * pair.change[i] }
      factors.append(factor)
    }
    let scale = 1 / (last.inverseProduct * dot(last.change, last.change))
    for i in result.indices { result[i] *= scale }
    for (pair, factor) in zip(pairs, factors.reversed()) {
      let correction = factor - pair.inverseProduct * dot(pair.change, result)
      for i in result.indices { result[i] += correction * pair.step[i] }
    }
    return result
  }

  private static func search(
    from point: [Double], _ current: Evaluation, along direction: [Double],
    _ objective: ([Double]) -> Evaluation
  ) -> (point: [Double], evaluation: Evaluation)? {
    let slope = dot(direction, current.gradient)
    var low = 0.0
    var high = Double.infinity
    var length = 1.0
    var best: (point: [Double], evaluation: Evaluation)?
    for _ in 0..<40 {
      let candidate = zip(point, direction).map { $0 + length * $1 }
      let evaluation = objective(candidate)
      if !(evaluation.value <= current.value + 1e-4 * length * slope) {
        high = length
      } else {
        best = (candidate, evaluation)
        if dot(direction, evaluation.gradient) >= 0.9 * slope { break }
        low = length
      }
      length = high.isFinite ? (low + high) / 2 : 2 * low
    }
    return best
  }
}
