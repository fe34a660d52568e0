import Foundation

/// Statistics that the sampler tests share.
enum GoodnessOfFit {
  /// P(X > x) for χ² with `degrees` of freedom: the regularised upper incomplete gamma function Q(k/2, x/2)
  /// (Numerical Recipes, section 6.2: the series below a + 1, Lentz's continued fraction above).
  static func upperTail(chiSquared x: Double, degrees: Int) -> Double {
    let (a, z) = (Double(degrees) / 2, x / 2)
    guard z > 0 else { return 1 }
    let front = exp(a * log(z) - z - lgamma(a))
    if z < a + 1 {
      var (term, sum, n) = (1 / a, 1 / a, a)
      while abs(term) > abs(sum) * 1e-16 {
        n += 1
        term *= z / n
        sum += term
      }
      return 1 - front * sum
    }
    var b = z + 1 - a
    var c = 1e300
    var d = 1 / b
    var h = d
    for i in 1...100_000 {
      let numerator = -Double(i) * (Double(i) - a)
      b += 2
      d = 1 / (numerator * d + b)
      c = b + numerator / c
      h *= d * c
      if abs(d * c - 1) < 1e-15 { break }
    }
    return front * h
  }

  /// The p-value of the counts against the expected ones; bins that expect fewer than 10 are pooled with
  /// their neighbours toward the end, so that no bin is left out and the tails make up the last ones.
  static func pValue(observed: [Double], expected: [Double]) -> Double {
    var (statistic, bins) = (0.0, 0)
    var (o, e) = (0.0, 0.0)
    var rest = expected.reduce(0, +)
    for (count, mean) in zip(observed, expected) {
      o += count
      e += mean
      rest -= mean
      // What is left over must be enough for a bin of its own, or it joins this one.
      guard e >= 10, rest >= 10 || rest < 1e-9 else { continue }
      statistic += (o - e) * (o - e) / e
      bins += 1
      (o, e) = (0, 0)
    }
    if e > 0 {
      statistic += (o - e) * (o - e) / e
      bins += 1
    }
    return upperTail(chiSquared: statistic, degrees: max(1, bins - 1))
  }

  /// The p-value of draws against probabilities, over the values from −reach to reach in bins of `width`, with
  /// everything beyond in the two outermost bins.
  static func pValue(
    _ draws: [Int64], center: Int, reach: Int, width: Int, probability: (Int) -> Double
  ) -> Double {
    let count = 2 * (reach / width) + 1
    func bin(_ value: Int) -> Int {
      let index = Int((Double(value - center) / Double(width)).rounded(.toNearestOrAwayFromZero))
      return min(max(index + reach / width, 0), count - 1)
    }
    var (observed, expected) = ([Double](repeating: 0, count: count), [Double](repeating: 0, count: count))
    for draw in draws { observed[bin(Int(draw))] += 1 }
    for value in (center - 2 * reach - width)...(center + 2 * reach + width) {
      expected[bin(value)] += probability(value) * Double(draws.count)
    }
    return pValue(observed: observed, expected: expected)
  }

  /// The p-value of a table of pair counts against independence of rows and columns.
  static func independence(_ table: [[Double]]) -> Double {
    let rows = table.map { $0.reduce(0, +) }
    let columns = table[0].indices.map { column in table.reduce(0) { $0 + $1[column] } }
    let total = rows.reduce(0, +)
    var statistic = 0.0
    for (row, counts) in table.enumerated() {
      for (column, count) in counts.enumerated() {
        let mean = rows[row] * columns[column] / total
        statistic += (count - mean) * (count - mean) / mean
      }
    }
    return upperTail(chiSquared: statistic, degrees: (rows.count - 1) * (columns.count - 1))
  }

  /// The p-value of two samples coming from one distribution, over the given counts per bin.
  static func twoSample(_ a: [Double], _ b: [Double]) -> Double {
    var (pooledA, pooledB) = ([0.0], [0.0])
    for (x, y) in zip(a, b) {
      if pooledA[pooledA.count - 1] + pooledB[pooledB.count - 1] >= 20 {
        pooledA.append(0)
        pooledB.append(0)
      }
      pooledA[pooledA.count - 1] += x
      pooledB[pooledB.count - 1] += y
    }
    // What is left over joins the last full bin.
    if pooledA.count > 1, let a = pooledA.popLast(), let b = pooledB.popLast() {
      pooledA[pooledA.count - 1] += a
      pooledB[pooledB.count - 1] += b
    }
    return independence([pooledA, pooledB])
  }
}
