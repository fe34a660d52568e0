import Cryptography

/// Reconstruction of many secrets from revealed shares: on all cores, with Lagrange coefficients computed
/// once for all secrets that have the same holders, and corrupt shares corrected with the spare ones.
struct Recovery {
  private let book: RevealBook
  /// Shares that do not lie on their dealer's polynomial.
  private(set) var faults: [(dealer: Int, holder: Int)] = []
  /// Holders found in faults: their shares are used last.
  private var suspects: Set<Int> = []
  /// How many sets of holders may be tried in one session, so that hostile shares cost bounded time.
  private var attemptsLeft = 500

  /// Everybody's shares.
  init(_ book: RevealBook) { self.book = book }

  /// The dealers' secrets, in order, each of which satisfies `isRight`.
  ///
  /// - Throws: `Unrecoverable` naming the first dealer whose shares do not determine its secret.
  mutating func secrets(
    of dealers: [Int], isRight: @Sendable (_ dealer: Int, _ secret: Scalar) -> Bool
  ) throws(Unrecoverable) -> [Scalar] {
    guard let first = dealers.first else { return [] }
    let book = book
    let common = LagrangeWeights(xs: Recovery.xs(preferred(of: first)))
    let direct = parallelMap(dealers) { dealer in
      Recovery.direct(
        dealer, holders: book.revealers(of: dealer).prefix(book.threshold), in: book, common: common,
        isRight: isRight)
    }
    var secrets: [Scalar] = []
    secrets.reserveCapacity(dealers.count)
    for (dealer, found) in zip(dealers, direct) {
      if let secret = found ?? corrected(dealer, isRight: isRight) {
        secrets.append(secret)
      } else {
        throw Unrecoverable(dealer: dealer, shares: book.revealers(of: dealer).count)
      }
    }
    return secrets
  }

  /// Too few consistent shares of one dealer.
  struct Unrecoverable: Error {
    let dealer: Int
    let shares: Int
  }

  private static func xs(_ holders: some Sequence<Int>) -> [Int] { holders.map { $0 + 1 } }

  /// The holders to use for a dealer: those never found in a fault first.
  private func ranked(_ dealer: Int) -> [Int] {
    let holders = book.revealers(of: dealer)
    guard !suspects.isEmpty else { return holders }
    return holders.filter { !suspects.contains($0) } + holders.filter { suspects.contains($0) }
  }

  private func preferred(of dealer: Int) -> ArraySlice<Int> { ranked(dealer).prefix(book.threshold) }

  private static func direct(
    _ dealer: Int, holders: ArraySlice<Int>, in book: RevealBook, common: LagrangeWeights?,
    isRight: (Int, Scalar) -> Bool
  ) -> Scalar? {
    let shares = holders.compactMap { book.share(of: dealer, from: $0) }
    let xs = xs(holders)
    guard shares.count == xs.count else { return nil }
    let weights = common.flatMap { $0.xs == xs ? $0 : nil } ?? LagrangeWeights(xs: xs)
    let secret = weights.secret(of: shares)
    return isRight(dealer, secret) ? secret : nil
  }

  /// A secret some of whose shares are corrupt.
  private mutating func corrected(_ dealer: Int, isRight: (Int, Scalar) -> Bool) -> Scalar? {
    let holders = ranked(dealer)
    // What earlier dealers told of the holders may be enough.
    if !suspects.isEmpty,
      let secret = Recovery.direct(
        dealer, holders: holders.prefix(book.threshold), in: book, common: nil, isRight: isRight)
    {
      note(faultsOf: dealer, holders: holders, secret: secret)
      return secret
    }
    let points = holders.compactMap { holder in
      book.share(of: dealer, from: holder).map { (x: holder + 1, y: $0) }
    }
    guard
      let polynomial = decoded(points, dealer: dealer, isRight: isRight)
        ?? searched(points, dealer: dealer, isRight: isRight), let secret = polynomial.first
    else { return nil }
    blame(polynomial, points: points, dealer: dealer)
    return secret
  }

  /// Names the suspects' shares of this dealer that are corrupt as well.
  private mutating func note(faultsOf dealer: Int, holders: [Int], secret: Scalar) {
    let points = holders.compactMap { holder in
      book.share(of: dealer, from: holder).map { (x: holder + 1, y: $0) }
    }
    guard
      let polynomial = ShareDecoder.decode(Array(points.prefix(book.threshold)), threshold: book.threshold)
    else { return }
    blame(polynomial, points: points, dealer: dealer)
  }

  private mutating func blame(_ polynomial: [Scalar], points: [(x: Int, y: Scalar)], dealer: Int) {
    for point in points.sorted(by: { $0.x < $1.x })
    where !Shamir.evaluate(polynomial, at: Scalar(UInt64(point.x))).constantTimeEquals(point.y) {
      faults.append((dealer, point.x - 1))
      suspects.insert(point.x - 1)
    }
  }

  /// Corrects up to ⌊(shares - threshold)/2⌋ errors without any search.
  private func decoded(
    _ points: [(x: Int, y: Scalar)], dealer: Int, isRight: (Int, Scalar) -> Bool
  ) -> [Scalar]? {
    guard let polynomial = ShareDecoder.decode(points, threshold: book.threshold),
      let secret = polynomial.first, isRight(dealer, secret)
    else { return nil }
    return polynomial
  }

  /// With the commitment as judge one more error can be corrected than by decoding alone: leaves out
  /// every possible set of that size.
  private mutating func searched(
    _ points: [(x: Int, y: Scalar)], dealer: Int, isRight: (Int, Scalar) -> Bool
  ) -> [Scalar]? {
    let spare = points.count - book.threshold
    let size = spare / 2 + 1
    guard size <= spare else { return nil }
    var left = Array(0..<size)
    while attemptsLeft > 0 {
      attemptsLeft -= 1
      let excluded = Set(left)
      let chosen = points.indices.filter { !excluded.contains($0) }.prefix(book.threshold).map { points[$0] }
      let candidate = LagrangeWeights(xs: chosen.map(\.x)).secret(of: chosen.map(\.y))
      if isRight(dealer, candidate) {
        return ShareDecoder.decode(chosen, threshold: book.threshold)
      }
      guard let next = Recovery.combination(after: left, below: points.count) else { return nil }
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
