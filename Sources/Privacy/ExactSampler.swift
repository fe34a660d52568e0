package import Cryptography

/// Exact samplers in integer arithmetic: the oracle that the table samplers are tested against.
///
/// Canonne, Kamath and Steinke 2020, "The Discrete Gaussian for Differential Privacy", algorithms 1 to 3.
/// No floating-point number occurs and every probability is met exactly, but the running time depends on
/// what is drawn (rejection), which leaks the noise to whoever can time it: production uses the tables.
package struct ExactSampler {
  /// Words fetched from the stream at once.
  private static let batch = 512

  private var random: RandomStream
  private var words: [UInt64]
  private var next: Int

  /// A sampler over `random`.
  package init(random: RandomStream) {
    self.random = random
    words = [UInt64](repeating: 0, count: Self.batch)
    next = Self.batch
  }

  /// A draw of the discrete Gaussian with σ² = numerator/denominator (algorithm 3).
  ///
  /// Throws: `outOfRange` unless numerator ≤ 2^40 and denominator ≤ 2^12 are positive, so that 128 bits
  /// hold all products of draws up to 2^8·t and beyond (t = ⌊σ⌋ + 1); a proposal that they do not hold is
  /// rejected, which an exact sampler would do with probability 1 − e^(−16000).
  package mutating func discreteGaussian(
    numerator: UInt64, denominator: UInt64
  ) throws(MechanismError) -> Int64 {
    try Self.check(numerator, denominator, largest: (1 << 40, 1 << 12))
    let floor = UInt64(Double(numerator / denominator).squareRoot())
    let scale = floor + 1
    // Accept Y with e^(−(|Y| − σ²/t)²/(2σ²)); (|Y|·d·t − n)²/(2·n·d·t²) in integers.
    let spread = UInt128(denominator) * UInt128(scale)
    let below = 2 * UInt128(numerator) * spread * UInt128(scale)
    while true {
      let candidate = discreteLaplace(scale: scale, by: 1)
      let (product, first) = UInt128(candidate.magnitude).multipliedReportingOverflow(by: spread)
      let distance =
        product > UInt128(numerator) ? product - UInt128(numerator) : UInt128(numerator) - product
      let (square, second) = distance.multipliedReportingOverflow(by: distance)
      if !first && !second && bernoulli(exponentOf: square, over: below) { return candidate }
    }
  }

  /// A draw of the discrete Laplace distribution of scale numerator/denominator (algorithm 2).
  ///
  /// Throws: `outOfRange` unless both are positive and at most 2^32.
  package mutating func discreteLaplace(
    scaleNumerator: UInt64, scaleDenominator: UInt64
  ) throws(MechanismError) -> Int64 {
    try Self.check(scaleNumerator, scaleDenominator, largest: (1 << 32, 1 << 32))
    return discreteLaplace(scale: scaleNumerator, by: scaleDenominator)
  }

  /// A draw of the Poisson distribution of mean numerator/denominator.
  ///
  /// A sum of r = ⌈2λ⌉ draws of mean x = λ/r ≤ 1/2 each. Such a draw is a geometric K, P(K = k) = 2^-(k+1),
  /// accepted with probability (2x)^K/K!, factor by factor: what is accepted has weight x^k/k!.
  ///
  /// Throws: `outOfRange` unless numerator ≤ 2^40 and denominator ≤ 2^20 are positive and the mean is at
  /// most 2^16.
  package mutating func poisson(
    meanNumerator: UInt64, meanDenominator: UInt64
  ) throws(MechanismError) -> Int64 {
    try Self.check(meanNumerator, meanDenominator, largest: (1 << 40, 1 << 20))
    guard meanNumerator >> 16 <= meanDenominator else {
      throw .outOfRange(.numerator, value: Double(meanNumerator))
    }
    let parts = (2 * meanNumerator + meanDenominator - 1) / meanDenominator
    let whole = UInt128(meanDenominator) * UInt128(parts)
    var sum: Int64 = 0
    for _ in 0..<parts {
      sum += smallPoisson(twiceMean: 2 * UInt128(meanNumerator), over: whole)
    }
    return sum
  }

  private mutating func smallPoisson(twiceMean: UInt128, over whole: UInt128) -> Int64 {
    while true {
      var (count, isAccepted) = (UInt128(0), true)
      while word() & 1 == 1 {
        count += 1
        isAccepted = isAccepted && uniform(below: whole * count) < twiceMean
      }
      if isAccepted { return Int64(count) }
    }
  }

  /// True with probability numerator/denominator; false if the denominator is 0.
  package mutating func bernoulli(numerator: UInt64, denominator: UInt64) -> Bool {
    denominator > 0 && uniform(below: UInt128(denominator)) < UInt128(numerator)
  }

  private static func check(
    _ numerator: UInt64, _ denominator: UInt64, largest: (numerator: UInt64, denominator: UInt64)
  ) throws(MechanismError) {
    guard numerator >= 1, numerator <= largest.numerator else {
      throw .outOfRange(.numerator, value: Double(numerator))
    }
    guard denominator >= 1, denominator <= largest.denominator else {
      throw .outOfRange(.denominator, value: Double(denominator))
    }
  }

  /// Algorithm 2 for the scale t/s.
  private mutating func discreteLaplace(scale: UInt64, by divisor: UInt64) -> Int64 {
    while true {
      let remainder = uniform(below: UInt128(scale))
      guard bernoulli(exponentOf: remainder, over: UInt128(scale)) else { continue }
      var quotient: UInt128 = 0
      while bernoulli(exponentOf: 1, over: 1) { quotient += 1 }
      let magnitude = (remainder + UInt128(scale) * quotient) / UInt128(divisor)
      let isNegative = word() & 1 == 1
      if isNegative && magnitude == 0 { continue }
      return isNegative ? -Int64(clamping: magnitude) : Int64(clamping: magnitude)
    }
  }

  /// True with probability e^(−p/q) (algorithm 1).
  mutating func bernoulli(exponentOf p: UInt128, over q: UInt128) -> Bool {
    var whole = p / q
    while whole > 0 {
      guard smallBernoulli(exponentOf: 1, over: 1) else { return false }
      whole -= 1
    }
    return smallBernoulli(exponentOf: p % q, over: q)
  }

  /// The same for p ≤ q: draw A_k with probability p/(qk) for k = 1, 2, … until one fails; e^(−p/q) is the
  /// probability that the first failure is at an odd k. A_k is drawn as two coins, p/q and 1/k.
  private mutating func smallBernoulli(exponentOf p: UInt128, over q: UInt128) -> Bool {
    var k: UInt128 = 1
    while uniform(below: q) < p && uniform(below: k) == 0 { k += 1 }
    return k & 1 == 1
  }

  private mutating func word() -> UInt64 {
    if next == words.count {
      words.withUnsafeMutableBytes { random.fill($0) }
      next = 0
    }
    next += 1
    return UInt64(littleEndian: words[next - 1])
  }

  /// A uniform integer below `bound`, by rejection from the bits that it has.
  private mutating func uniform(below bound: UInt128) -> UInt128 {
    guard bound > 1 else { return 0 }
    let largest = bound - 1
    let unused = largest.leadingZeroBitCount
    while true {
      var draw = UInt128(word())
      if unused < 64 { draw |= UInt128(word()) << 64 }
      // The mask keeps the low bits: both words are uniform.
      draw &= UInt128.max >> UInt128(unused)
      if draw <= largest { return draw }
    }
  }
}
