import Foundation

/// Two distributions (P, Q) that dominate what one unit can do to one release, described by their privacy
/// loss ℓ = ln(P/Q): a density of ℓ under Q, or atoms, or both (Dwork and Rothblum 2016; Zhu, Dong and Wang
/// 2022, "Optimal Accounting of Differential Privacy via Characteristic Function", for domination).
///
/// Every pair here is symmetric: (Q, P) has the same losses as (P, Q).
struct LossPair: Sendable {
  /// Part of the distribution of ℓ under Q with the density e^(c₀ + c₁ℓ + c₂ℓ²) from `lower` to `upper`.
  struct Density: Sendable {
    let lower, upper: Double
    let c0, c1, c2: Double
    /// The length over which the logarithm of the density changes by about 1.
    let scale: Double

    /// The density under Q times e^tilt, in one exponential so that neither overflows alone.
    func value(_ loss: Double, tilt: Double = 0) -> Double { exp(c0 + tilt + loss * (c1 + loss * c2)) }
  }

  /// An outcome of positive probability under P and under Q, whose ratio is e^loss.
  struct Atom: Sendable {
    let p, q: Double
    let loss: Double
  }

  /// Upper bounds of what lies beyond the density's or the atoms' range.
  struct Tail: Sendable {
    var p = 0.0
    var q = 0.0
  }

  /// The largest variance of integer noise whose atoms are listed one by one: about a million of them.
  static let largestVariance = 0x1p30
  /// The largest shift of two-sided geometric noise whose atoms are listed.
  static let largestShift: Int64 = 1 << 20

  private(set) var density: Density?
  private(set) var atoms: [Atom] = []
  private(set) var lowerTail = Tail()
  private(set) var upperTail = Tail()

  /// Gaussian noise: ℓ is normal with variance μ² and mean −μ²/2 under Q, μ being the sensitivity over the
  /// standard deviation (Sommer, Meiser and Mohammadi 2019). `logTail`: ln of the mass to leave out.
  init(gaussian mu: Double, logTail: Double) {
    let reach = (-2 * logTail).squareRoot()
    func beyond(_ z: Double) -> Double { 0.5 * erfc(z * 0.5.squareRoot()) }
    density = Density(
      lower: -mu * mu / 2 - reach * mu, upper: mu * mu / 2 + reach * mu,
      c0: -mu * mu / 8 - log(mu) - 0.5 * log(2 * Double.pi), c1: -0.5, c2: -1 / (2 * mu * mu), scale: mu)
    lowerTail = Tail(p: beyond(reach + mu), q: beyond(reach))
    upperTail = Tail(p: beyond(reach), q: beyond(reach + mu))
  }

  /// Laplace noise: atoms at ±ε, and between them a density that is e^(−ε/2−ℓ/2)/4 under Q.
  init(laplace epsilon: Double) {
    density = Density(
      lower: -epsilon, upper: epsilon, c0: -epsilon / 2 - log(4), c1: -0.5, c2: 0, scale: 2)
    atoms = [
      Atom(p: exp(-epsilon) / 2, q: 0.5, loss: -epsilon), Atom(p: 0.5, q: exp(-epsilon) / 2, loss: epsilon),
    ]
  }

  /// Two of `categories` values trade places; the others cannot tell.
  init(randomizedResponse epsilon: Double, categories: Double) {
    let rest = 1 / (exp(epsilon) + categories - 1)
    let truth = 1 / (1 + (categories - 1) * exp(-epsilon))
    atoms = [
      Atom(p: rest, q: truth, loss: -epsilon), Atom(p: truth, q: rest, loss: epsilon),
    ]
    if categories > 2 { atoms.append(Atom(p: (categories - 2) * rest, q: (categories - 2) * rest, loss: 0)) }
  }

  /// Two-sided geometric noise under a shift: atoms at ±Δ/scale, where all outcomes outside the shift
  /// meet, and one for each outcome between.
  init(discreteLaplace scale: Double, sensitivity: Int64) {
    let a = 1 / scale
    let shift = Double(sensitivity)
    let ends = 1 / (1 + exp(-a))
    atoms = [
      Atom(p: ends * exp(-a * shift), q: ends, loss: -a * shift),
      Atom(p: ends, q: ends * exp(-a * shift), loss: a * shift),
    ]
    for k in stride(from: Int64(1), to: sensitivity, by: 1) {
      let (fromQ, fromP) = (Double(k), Double(sensitivity - k))
      let weight = tanh(a / 2)
      atoms.append(
        Atom(p: weight * exp(-a * fromP), q: weight * exp(-a * fromQ), loss: a * (fromQ - fromP)))
    }
  }

  /// Integer noise of log-concave mass under the largest shift: for such noise the set of outcomes that
  /// attains a hockey-stick divergence is a half-line, whose mass grows with the shift, so that the largest
  /// shift dominates.
  ///
  /// `mass`: the probabilities of 0 … `reach + shift`, symmetric about 0; `tail`: an upper bound of the
  /// mass beyond `reach` on one side.
  private init(mass: [Double], reach: Int, shift: Int, tail: Double) {
    let logs = mass.map { log($0) }
    atoms.reserveCapacity(2 * reach + shift + 1)
    for k in -reach...(reach + shift) {
      let (inP, inQ) = (abs(k - shift), abs(k))
      atoms.append(Atom(p: mass[inP], q: mass[inQ], loss: logs[inP] - logs[inQ]))
    }
    lowerTail = Tail(p: tail, q: tail)
    upperTail = Tail(p: tail, q: tail)
  }

  /// The discrete Gaussian, P(k) ∝ e^(−k²/2σ²), of one coordinate (Canonne, Kamath and Steinke 2020).
  init(discreteGaussian variance: Double, shift: Int, logTail: Double) {
    // P(K ≥ k) ≤ e^(−k²/2σ²): the noise is subgaussian (their proposition 25).
    let reach = Int((-2 * variance * logTail).squareRoot().rounded(.up)) + 1
    var mass = (0...(reach + shift)).map { exp(-Double($0) * Double($0) / (2 * variance)) }
    // Underflow would make a ratio of 0 to 0; a mass far below every tail is as good.
    for index in mass.indices { mass[index] = max(mass[index], 1e-290) }
    let total = 2 * mass.dropFirst().reduce(0, +) + mass[0]
    for index in mass.indices { mass[index] /= total }
    self.init(mass: mass, reach: reach, shift: shift, tail: exp(logTail))
  }

  /// Symmetric Skellam noise of one coordinate: P(k) = e^(−μ)·I_|k|(μ), μ the variance.
  init(skellam variance: Double, shift: Int, logTail: Double) {
    // Chernoff: ln P(K ≥ k) ≤ √(k² + μ²) − μ − k·asinh(k/μ).
    func logBeyond(_ k: Double) -> Double {
      k * k / ((k * k + variance * variance).squareRoot() + variance) - k * asinh(k / variance)
    }
    func firstBeyond(_ bound: Double) -> Int {
      var (near, far) = (0, 1)
      while logBeyond(Double(far)) > bound { (near, far) = (far, 2 * far) }
      while far - near > 1 {
        let middle = (near + far) / 2
        if logBeyond(Double(middle)) > bound { near = middle } else { far = middle }
      }
      return far
    }
    let reach = firstBeyond(logTail)
    // Miller's backward recurrence, I_(k−1) = I_(k+1) + (2k/μ)·I_k, from so far out that how it starts does
    // not matter; all terms are positive, so that no digit is lost.
    let last = max(firstBeyond(min(logTail, -60) - 40), reach + shift + 60)
    var mass = [Double](repeating: 0, count: reach + shift + 1)
    var (above, here) = (0.0, 1e-280)
    var total = 0.0
    for k in stride(from: last, through: 0, by: -1) {
      if k < mass.count { mass[k] = here }
      total += k == 0 ? here : 2 * here
      guard k > 0 else { break }
      (above, here) = (here, above + 2 * Double(k) / variance * here)
      if here > 1e280 {
        // What lies outside the range after this counts for nothing.
        for index in mass.indices where index >= k { mass[index] *= 1e-280 }
        (above, here, total) = (above * 1e-280, here * 1e-280, total * 1e-280)
      }
    }
    for index in mass.indices { mass[index] = max(mass[index] / total, 1e-290) }
    self.init(mass: mass, reach: reach, shift: shift, tail: exp(logTail))
  }
}
