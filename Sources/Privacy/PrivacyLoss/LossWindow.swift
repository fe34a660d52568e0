import Foundation

/// The range in which the sum of all losses lies but for a stated mass, in both directions.
struct LossWindow {
  /// ln of the mass that may lie beyond either end.
  static let logTail = -38.0

  /// Least and largest loss with the unit present, and with it absent.
  private(set) var present: ClosedRange<Double>
  private(set) var absent: ClosedRange<Double>

  /// Chernoff's bound: P(S ≥ u) ≤ E[e^(λS)]·e^(−λu) for every λ > 0, and likewise below.
  ///
  /// `step`: the grid that the losses will be moved to. A loss is divided between grid points so that
  /// E[e^(−L)] stays; with u = e^(−L) and G(u) = u^(−λ), the error of the chord is at most max G″·(Δu)²/8,
  /// so that E[e^(λL)] grows by no more than the factor 1 + |λ(λ+1)|·step²/8·e^((|λ|+2)·step).
  init(_ releases: [LossRelease], outlines: [LossOutline], step: Double) {
    func bound(_ sign: Double, isPresent: Bool) -> Double {
      Self.minimum { exponent in
        let growth = log1p(
          exponent * (exponent + 1) * step * step / 8 * exp(min(700, (exponent + 2) * step)))
        var sum = -Self.logTail
        for (release, outline) in zip(releases, outlines) {
          let moment = outline.logMoment(sign * exponent, isPresent: isPresent)
          sum += Double(release.count) * (moment + growth)
        }
        return sum / exponent
      }
    }
    func range(isPresent: Bool) -> ClosedRange<Double> {
      let upper = min(bound(1, isPresent: isPresent), 1e300)
      let lower = max(-bound(-1, isPresent: isPresent), -1e300)
      return min(lower, upper)...upper
    }
    present = range(isPresent: true)
    absent = releases.allSatisfy(\.isSymmetric) ? present : range(isPresent: false)
  }

  /// The larger of the two ranges' lengths.
  var width: Double {
    max(present.upperBound - present.lowerBound, absent.upperBound - absent.lowerBound)
  }

  /// The largest loss of either sign at the ends.
  var largestMagnitude: Double {
    [present.lowerBound, present.upperBound, absent.lowerBound, absent.upperBound].map(abs).max() ?? 0
  }

  /// The least value of a bound in λ; any λ is valid, so that a coarse search costs only a wider window.
  private static func minimum(_ bound: (Double) -> Double) -> Double {
    let golden = (5.0.squareRoot() - 1) / 2
    var (low, high) = (log(1e-4), log(1e6))
    var (left, right) = (high - golden * (high - low), low + golden * (high - low))
    func at(_ x: Double) -> Double {
      let value = bound(exp(x))
      return value.isNaN ? .infinity : value
    }
    var (atLeft, atRight) = (at(left), at(right))
    for _ in 0..<18 {
      if atLeft <= atRight {
        (high, right, atRight) = (right, left, atLeft)
        left = high - golden * (high - low)
        atLeft = at(left)
      } else {
        (low, left, atLeft) = (left, right, atRight)
        right = low + golden * (high - low)
        atRight = at(right)
      }
    }
    return min(atLeft, atRight)
  }
}
