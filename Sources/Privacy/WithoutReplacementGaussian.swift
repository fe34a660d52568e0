import Foundation

/// The Gaussian mechanism on a uniformly random subset of fixed size, under replace-one neighbours (Wang,
/// Balle and Kasiviswanathan 2019, "Subsampled Rényi Differential Privacy and Analytical Moments
/// Accountant", theorem 9 and, with the tighter terms for a Gaussian, theorem 27; corollary 10 between
/// integers).
///
/// With γ the fraction sampled and A_l = E[X^l] = e^(l(l−1)/2σ²), X the ratio of the densities:
///
///     (α−1)·ε(α) ≤ ln(1 + Σ_{l=2..α} C(α, l)·γ^l·T_l),
///     T_2 = min{4·(A_2 − 1), 2·A_2},    T_l = min{4·√(B_{l'}·B_{l''}), 2·A_l},
///
/// B_l = E[(X − 1)^l] for an even l, l' and l'' being the even numbers at or next to l.
struct WithoutReplacementGaussian: Sendable {
  /// The largest order at which sampling is made use of.
  static let largestOrder = 256

  private let noiseMultiplier: Double
  /// ln A_α for α = 0 … `largestOrder`.
  private let logMoments: [Double]

  /// `rate`: γ, above 0 and below 1. `noiseMultiplier`: σ, positive and finite.
  init(rate: Double, noiseMultiplier: Double) {
    self.noiseMultiplier = noiseMultiplier
    let terms = Self.logTerms(rate: rate, noiseMultiplier: noiseMultiplier)
    logMoments = (0...Self.largestOrder).map { order in
      guard order >= 2 else { return 0 }
      var sum = LogSum()
      sum.add(0)
      var logBinomial = log(Double(order))
      for l in 2...order {
        logBinomial += log(Double(order - l + 1) / Double(l))
        sum.add(logBinomial + terms[l])
      }
      return sum.value
    }
  }

  /// An upper bound of the divergence at `order` > 1, in nats.
  func divergence(order: Double) -> Double {
    let unsampled = order / (2 * noiseMultiplier * noiseMultiplier)
    guard order <= Double(Self.largestOrder) else { return unsampled }
    let below = Int(order.rounded(.down))
    var moment = logMoments[below]
    let fraction = order - Double(below)
    // (α−1)·ε(α) is convex, so the chord lies above it.
    if fraction > 0 { moment += fraction * (logMoments[below + 1] - moment) }
    return min(moment / (order - 1), unsampled)
  }

  /// ln(γ^l·T_l) for l = 0 … `largestOrder`; the first two are not used.
  private static func logTerms(rate: Double, noiseMultiplier: Double) -> [Double] {
    let logRate = log(rate)
    let a = 1 / noiseMultiplier
    func logRatioMoment(_ l: Int) -> Double { Double(l) * Double(l - 1) * a * a / 2 }
    var evenMoments = [Double](repeating: .infinity, count: largestOrder + 3)
    for l in stride(from: 4, through: largestOrder, by: 2) {
      // Once (1 − 1/X)^l is close to 1 where X^l counts, 2·A_l is the smaller bound and B_l of no use.
      if Double(l) * exp(-a * a * (Double(l) - 0.5)) < 0.1 { break }
      evenMoments[l] = logCentralMoment(order: l, inverseMultiplier: a)
    }
    evenMoments[2] = SampledGaussian.logExpm1(logRatioMoment(2))
    return (0...largestOrder).map { l in
      guard l >= 2 else { return -.infinity }
      let central = (evenMoments[l - l % 2] + evenMoments[l + l % 2]) / 2
      return Double(l) * logRate + min(log(4) + central, M_LN2 + logRatioMoment(l))
    }
  }

  /// ln E[(X − 1)^l] for an even l, X = e^(au − a²/2), u normal: the sum of binomials alternates and loses
  /// all digits, so the integral is taken by the trapezoidal rule, which for a Gaussian times an entire
  /// function of this growth converges faster than any power of the step; all terms are positive.
  static func logCentralMoment(order: Int, inverseMultiplier a: Double) -> Double {
    let l = Double(order)
    let step = 0.125
    let margin = (2 * l).squareRoot() + 10
    var sum = LogSum()
    var u = -margin
    while u < a * l + margin {
      let excess = abs(expm1(a * u - a * a / 2))
      if excess > 0 { sum.add(l * log(excess) - u * u / 2) }
      u += step
    }
    return sum.value + log(step) - 0.5 * log(2 * Double.pi)
  }
}
