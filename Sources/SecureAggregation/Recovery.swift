import Cryptography

/// Reconstruction of many secrets whose shares are held by the same holders: Lagrange coefficients are
/// computed once, and corrupt shares are corrected with the help of the spare ones.
struct Recovery {
  /// Holders (roster indices), those found in faults last.
  private(set) var holders: [Int]
  private let threshold: Int
  private var weights: LagrangeWeights
  /// Shares that do not lie on their dealer's polynomial.
  private(set) var faults: [(dealer: Int, holder: Int)] = []
  /// How many sets of holders may be tried in one session, so that hostile shares cost bounded time.
  private var attemptsLeft = 500

  /// At least `threshold` holders.
  init(holders: [Int], threshold: Int) {
    precondition(holders.count >= threshold, "enough holders revealed their shares")
    self.holders = holders
    self.threshold = threshold
    weights = Recovery.weights(of: holders.prefix(threshold))
  }

  private static func weights(of holders: some Collection<Int>) -> LagrangeWeights {
    LagrangeWeights(xs: holders.map { $0 + 1 })
  }

  /// The dealer's secret that satisfies `isRight`, or nil if the shares do not determine one.
  mutating func secret(
    of dealer: Int, shares: [Int: Scalar], isRight: (Scalar) -> Bool
  ) -> Scalar? {
    let direct = weights.secret(of: holders.prefix(threshold).compactMap { shares[$0] })
    if isRight(direct) { return direct }
    guard
      let polynomial = decoded(shares, isRight: isRight) ?? searched(shares, isRight: isRight),
      let secret = polynomial.first
    else { return nil }
    let culprits = holders.filter { holder in
      guard let share = shares[holder] else { return false }
      return !Shamir.evaluate(polynomial, at: Scalar(UInt64(holder + 1))).constantTimeEquals(share)
    }
    faults += culprits.map { (dealer, $0) }
    // Whoever was wrong once is used last.
    holders = holders.filter { !culprits.contains($0) } + culprits
    weights = Recovery.weights(of: holders.prefix(threshold))
    return secret
  }

  /// Corrects up to ⌊(shares - threshold)/2⌋ errors without any search.
  private func decoded(_ shares: [Int: Scalar], isRight: (Scalar) -> Bool) -> [Scalar]? {
    let points = holders.compactMap { holder in shares[holder].map { (x: holder + 1, y: $0) } }
    guard let polynomial = ShareDecoder.decode(points, threshold: threshold),
      let secret = polynomial.first, isRight(secret)
    else { return nil }
    return polynomial
  }

  /// With the commitment as judge one more error can be corrected than by decoding alone: leaves out
  /// every possible set of that size.
  private mutating func searched(_ shares: [Int: Scalar], isRight: (Scalar) -> Bool) -> [Scalar]? {
    let spare = holders.count - threshold
    let size = spare / 2 + 1
    guard size <= spare else { return nil }
    var left = Array(0..<size)
    while attemptsLeft > 0 {
      attemptsLeft -= 1
      let excluded = Set(left)
      let chosen = holders.indices.filter { !excluded.contains($0) }.prefix(threshold).map { holders[$0] }
      let candidate = Recovery.weights(of: chosen).secret(of: chosen.compactMap { shares[$0] })
      if isRight(candidate) {
        let points = chosen.compactMap { holder in shares[holder].map { (x: holder + 1, y: $0) } }
        return ShareDecoder.decode(points, threshold: threshold)
      }
      guard let next = Recovery.combination(after: left, below: holders.count) else { return nil }
      left = next
    }
    return nil
  }

  /// The next combination in lexicographic order.
  private static func combination(after current: [Int], below bound: Int) -> [Int]? {
    var next = current
    for position in next.indices.reversed() where next[position] < bound - (next.count - position) {
      next[position] += 1
      for later in next.indices[(position + 1)...] { next[later] = next[later - 1] + 1 }
      return next
    }
    return nil
  }
}
