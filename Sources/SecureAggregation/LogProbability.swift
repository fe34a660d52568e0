import Foundation

/// Natural logarithms of factorials, so that probabilities far below the smallest `Double` are added and
/// multiplied without underflow. One table serves every binomial coefficient up to its size.
struct LogFactorials: Sendable {
  private let values: [Double]

  /// The table of ln 0! … ln n!; O(n) logarithms. The sums are compensated (Neumaier), so that every
  /// entry is right to about one part in 10^15, whatever n.
  init(upTo n: Int) {
    precondition(n >= 0, "a table of factorials has an end")
    var values = [0.0]
    values.reserveCapacity(n + 1)
    var sum = 0.0
    var lost = 0.0
    for factor in stride(from: 1, through: n, by: 1) {
      let term = log(Double(factor))
      let next = sum + term
      // Every sum but the first two exceeds its next term, so its lost low bits are these.
      lost += sum >= term ? (sum - next) + term : (term - next) + sum
      sum = next
      values.append(sum + lost)
    }
    self.values = values
  }

  /// ln C(n, k); -∞ where k is negative or above n. n may not exceed the table.
  func choose(_ n: Int, _ k: Int) -> Double {
    guard k >= 0, k <= n else { return -.infinity }
    return values[n] - values[k] - values[n - k]
  }
}

/// The sum of numbers given by their natural logarithms.
struct LogSum: Sendable {
  /// ln of the sum; -∞ for none.
  private(set) var value = -Double.infinity

  /// Adds exp(`term`).
  mutating func add(_ term: Double) {
    guard term > -.infinity else { return }
    guard value > -.infinity else { return value = term }
    let (high, low) = value > term ? (value, term) : (term, value)
    value = high + log1p(exp(low - high))
  }
}

/// The number of marked items among `draws` drawn without replacement from `population`, of which
/// `marked` are marked: the law of every neighbourhood and of every group.
struct Hypergeometric: Sendable {
  let population: Int
  let marked: Int
  let draws: Int
  let factorials: LogFactorials

  /// The numbers that have a positive probability.
  var support: ClosedRange<Int> { max(0, draws - (population - marked))...min(marked, draws) }

  /// ln Pr[X = count].
  func logMass(_ count: Int) -> Double {
    factorials.choose(marked, count) + factorials.choose(population - marked, draws - count)
      - factorials.choose(population, draws)
  }

  /// ln Pr[X ≥ count].
  func logUpperTail(_ count: Int) -> Double {
    if count <= support.lowerBound { return 0 }
    var sum = LogSum()
    for value in stride(from: support.upperBound, through: count, by: -1) { sum.add(logMass(value)) }
    return min(sum.value, 0)
  }

  /// ln Pr[X ≤ count].
  func logLowerTail(_ count: Int) -> Double {
    if count >= support.upperBound { return 0 }
    var sum = LogSum()
    for value in stride(from: support.lowerBound, through: count, by: 1) { sum.add(logMass(value)) }
    return min(sum.value, 0)
  }

  /// The smallest c with ln Pr[X > c] ≤ `bound`: at most c are marked, except that rarely.
  func upperQuantile(_ bound: Double) -> Int {
    var sum = LogSum()
    for value in stride(from: support.upperBound, through: support.lowerBound, by: -1) {
      sum.add(logMass(value))
      if sum.value > bound { return value }
    }
    return support.lowerBound
  }

  /// The largest c with ln Pr[X < c] ≤ `bound`: at least c are marked, except that rarely.
  func lowerQuantile(_ bound: Double) -> Int {
    var sum = LogSum()
    for value in support {
      sum.add(logMass(value))
      if sum.value > bound { return value }
    }
    return support.upperBound
  }
}
