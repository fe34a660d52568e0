#if canImport(Glibc)
  import Glibc
#endif

/// The first, data-independent grid for numbers: one bin for every sign and power of two from 2⁻¹⁶ to 2³²,
/// one for what is nearer to zero. Larger magnitudes fall into the outermost bins.
enum MagnitudeBins {
  /// The bounds of the bins, ascending: −2³² … −2⁻¹⁶, 2⁻¹⁶ … 2³².
  static let edges: [Double] = {
    let powers = (-16...32).map { Double(sign: .plus, exponent: $0, significand: 1) }
    return powers.reversed().map { -$0 } + powers
  }()
  /// The number of bins.
  static let count = edges.count - 1
  /// The bin around zero.
  static let zero = count / 2

  /// The bin of a finite number.
  static func index(of value: Double) -> Int { edges.binIndex(of: value) }
}

extension [Double] {
  /// The bin of `value` when `self` holds the ascending bounds of `count − 1` bins, each containing its lower
  /// bound; values outside belong to the first or last bin.
  func binIndex(of value: Double) -> Int {
    var low = 1
    var high = count - 1
    while low < high {
      let middle = (low + high) / 2
      if self[middle] <= value { low = middle + 1 } else { high = middle }
    }
    return low - 1
  }
}

/// What a noisy count must exceed to count as seen.
struct NoiseFloor {
  /// Counts at or below this may be noise alone.
  let threshold: Double

  /// The level that the largest of `coordinates` independent Gaussian noises of deviation `noiseStdDev`
  /// rarely exceeds, σ·(√(2 ln m) + ½), and at least a thousandth of the contributors: rarer things are
  /// outliers.
  init(noiseStdDev: Double, coordinates: Int, contributors: Double) {
    let spread = (2 * log(Double(Swift.max(coordinates, 2)))).squareRoot() + 0.5
    threshold = Swift.max(noiseStdDev * spread, contributors / 1000, 1e-6)
  }

  /// Refuses sums that could not have come from a round of this layout.
  static func check(sum: [Double], dimension: Int, noiseStdDev: Double) throws(LearningError) {
    guard sum.count == dimension else {
      throw .wrongCount(what: "a statistics sum", expected: dimension, actual: sum.count)
    }
    guard sum.allSatisfy(\.isFinite) else { throw .nonFiniteValue(what: "a statistics sum") }
    guard noiseStdDev.isFinite, noiseStdDev >= 0 else {
      throw .invalidSetting(
        name: "the noise of a statistics round", reason: "it must be finite and not negative")
    }
  }
}
