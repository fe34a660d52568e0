import Foundation

/// Welch's test of the difference between two means (B. L. Welch, Biometrika 34, 1947).
struct WelchTest: Equatable {
  /// Two-sided p of no difference.
  let probability: Double
  /// Half the width of the 95 % interval around the difference.
  let margin: Double

  /// Nil unless both sides have at least two figures.
  init?(_ first: Spread, _ second: Spread) {
    guard let left = first.deviation, let right = second.deviation else { return nil }
    let leftError = left * left / Double(first.values.count)
    let rightError = right * right / Double(second.values.count)
    let error = (leftError + rightError).squareRoot()
    let difference = abs(second.mean - first.mean)
    guard error > 1e-12 else {
      // Without spread any difference is one.
      probability = difference > 1e-12 ? 0 : 1
      margin = 0
      return
    }
    let freedom =
      (leftError + rightError) * (leftError + rightError)
      / (leftError * leftError / Double(first.values.count - 1)
        + rightError * rightError / Double(second.values.count - 1))
    probability = Self.twoSided(difference / error, freedom: freedom)
    margin = Self.quantile(freedom: freedom) * error
  }

  /// P(|T| > t) of Student's distribution: the regularised incomplete beta function at ν / (ν + t²).
  static func twoSided(_ t: Double, freedom: Double) -> Double {
    incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5)
  }

  /// The t with P(|T| > t) = 0.05, by bisection.
  static func quantile(freedom: Double) -> Double {
    var (low, high) = (0.0, 1e4)
    for _ in 0..<80 {
      let middle = (low + high) / 2
      if twoSided(middle, freedom: freedom) > 0.05 { low = middle } else { high = middle }
    }
    return (low + high) / 2
  }

  /// I_x(a, b) by Lentz's continued fraction (DLMF 8.17.22).
  static func incompleteBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
    guard x > 0 else { return 0 }
    guard x < 1 else { return 1 }
    if x > (a + 1) / (a + b + 2) { return 1 - incompleteBeta(1 - x, b, a) }
    let whole: Double = lgamma(a + b)
    let parts: Double = lgamma(a) + lgamma(b)
    let power: Double = a * log(x) + b * log(1 - x)
    let front: Double = exp(whole - parts + power) / a
    var (c, d) = (1.0, 1 - (a + b) * x / (a + 1))
    d = 1 / (abs(d) < 1e-300 ? 1e-300 : d)
    var result = d
    for step in 1...500 {
      let m = Double(step)
      let double: Double = a + 2 * m
      let even: Double = m * (b - m) * x / ((double - 1) * double)
      let odd: Double = -(a + m) * (a + b + m) * x / (double * (double + 1))
      for numerator in [even, odd] {
        d = 1 + numerator * d
        c = 1 + numerator / c
        d = 1 / (abs(d) < 1e-300 ? 1e-300 : d)
        c = abs(c) < 1e-300 ? 1e-300 : c
        result *= c * d
      }
      if abs(c * d - 1) < 1e-14 { break }
    }
    return front * result
  }
}
