import Foundation

package import Cryptography

/// A count with its standard error.
package struct CountEstimate: Codable, Sendable, Hashable {
  /// The unbiased estimate; it may be negative.
  package var value: Double
  /// The standard deviation of the estimate around the true count.
  package var standardError: Double

  /// Holds the two numbers.
  package init(value: Double, standardError: Double) {
    self.value = value
    self.standardError = standardError
  }
}

/// A local mechanism for counts: each respondent sends a bit per category that is 1 with probability p in its
/// own category and q in any other, so that sums of the bits tell the counts.
///
/// - **Neighbours**: any two categories of one respondent (local differential privacy).
/// - **Estimator**: n̂_j = (c_j − n·q)/(p − q) for c_j ones of n respondents, unbiased, with variance
///   (n_j·p(1 − p) + (n − n_j)·q(1 − q))/(p − q)² (Wang, Blocki, Li and Jha 2017, "Locally Differentially
///   Private Protocols for Frequency Estimation", theorem 2).
package protocol FrequencyOracle: Sendable {
  /// The number of categories k.
  var categories: Int { get }
  /// p: the probability of a 1 in the respondent's own category, as the integer thresholds have it.
  var keepProbability: Double { get }
  /// q: the same for another category.
  var otherProbability: Double { get }
  /// The pure local epsilon of one response, for the probabilities as they are drawn.
  var epsilon: Double { get }
  /// One response: `categories` bits.
  ///
  /// Throws: `outOfRange(.category)`.
  func respond(category: Int, random: inout RandomStream) throws(MechanismError) -> [Int64]
}

extension FrequencyOracle {
  /// The counts of all categories from the sums of the bits of `respondents` responses.
  ///
  /// The standard error takes the estimate, clamped to what is possible, for the unknown count.
  /// Throws: `wrongDimension`; `outOfRange(.contributors)`.
  package func estimate(
    sums: [Int64], respondents: Int
  ) throws(MechanismError) -> [CountEstimate] {
    guard sums.count == categories else {
      throw .wrongDimension(expected: categories, actual: sums.count)
    }
    guard respondents >= 1 else { throw .outOfRange(.contributors, value: Double(respondents)) }
    let (p, q, n) = (keepProbability, otherProbability, Double(respondents))
    return sums.map { sum in
      let value = (Double(sum) - n * q) / (p - q)
      let count = min(max(value, 0), n)
      let variance = (count * p * (1 - p) + (n - count) * q * (1 - q)) / ((p - q) * (p - q))
      return CountEstimate(value: value, standardError: variance.squareRoot())
    }
  }

  func checked(_ category: Int) throws(MechanismError) {
    guard (0..<categories).contains(category) else {
      throw .outOfRange(.category, value: Double(category))
    }
  }

  static func check(categories: Int, epsilon: Double) throws(MechanismError) {
    guard (2...1 << 24).contains(categories) else {
      throw .outOfRange(.categories, value: Double(categories))
    }
    // Beyond 40 the thresholds of 2^-64 are too coarse, and nothing is protected.
    guard epsilon > 0, epsilon <= 40 else { throw .outOfRange(.epsilon, value: epsilon) }
  }
}

/// k-ary randomized response (Warner 1965; Kairouz, Bonawitz and Ramage 2016): the own category with
/// probability a, else any of the k at random. p = a + (1 − a)/k, q = (1 − a)/k, ε = ln(p/q).
///
/// The best of the two oracles for few categories, k < 3e^ε + 2 (Wang et al. 2017).
package struct RandomizedResponse: FrequencyOracle {
  package let categories: Int
  /// 2^64·a.
  private let threshold: UInt64

  /// Rounds a down to 2^-64, so that `epsilon` is at most the one asked for.
  ///
  /// Throws: `outOfRange` for an epsilon that is not positive or above 40, fewer than 2 categories or more
  /// than 2^24.
  package init(categories: Int, epsilon: Double) throws(MechanismError) {
    try Self.check(categories: categories, epsilon: epsilon)
    self.categories = categories
    // (e^ε − 1)/(e^ε − 1 + k), less a relative 2^-48 for the rounding of the formula.
    let gain = expm1(epsilon)
    let keep = gain / (gain + Double(categories)) * (1 - 0x1p-48)
    threshold = UInt64(keep * 0x1p64)
  }

  private var keep: Double { Double(threshold) * 0x1p-64 }
  package var otherProbability: Double { (1 - keep) / Double(categories) }
  package var keepProbability: Double { keep + otherProbability }
  package var epsilon: Double { log1p(Double(categories) * keep / (1 - keep)) }

  package func respond(category: Int, random: inout RandomStream) throws(MechanismError) -> [Int64] {
    let answer = try choose(category: category, random: &random)
    // One pass over all, so that neither the place written nor the time tells the answer.
    return (0..<categories).map { $0 == answer ? 1 : 0 }
  }

  /// The category to report.
  package func choose(category: Int, random: inout RandomStream) throws(MechanismError) -> Int {
    try checked(category)
    let word = random.word()
    // Drawn in either case. A repeat within it depends on the stream alone.
    let other = Int(random.uniform(below: UInt64(categories)))
    let mask = word < threshold ? -1 : 0
    return (category & mask) | (other & ~mask)
  }
}

/// Optimised unary encoding (Wang et al. 2017, section 4): a bit per category, the own one kept with
/// probability 1/2, every other set with probability q = 1/(e^ε + 1). ε = ln(p(1 − q)/((1 − p)q)).
///
/// The better one for many categories: the variance, n·4e^ε/(e^ε − 1)² about zero, does not grow with them.
package struct UnaryEncoding: FrequencyOracle {
  package let categories: Int
  /// 2^64·q.
  private let threshold: UInt64

  /// Rounds q up to 2^-64, so that `epsilon` is at most the one asked for.
  ///
  /// Throws: as `RandomizedResponse.init`.
  package init(categories: Int, epsilon: Double) throws(MechanismError) {
    try Self.check(categories: categories, epsilon: epsilon)
    self.categories = categories
    threshold = UInt64((1 / (exp(epsilon) + 1) * (1 + 0x1p-48) * 0x1p64).rounded(.up))
  }

  package var keepProbability: Double { 0.5 }
  package var otherProbability: Double { Double(threshold) * 0x1p-64 }
  package var epsilon: Double { log((1 - otherProbability) / otherProbability) }

  package func respond(category: Int, random: inout RandomStream) throws(MechanismError) -> [Int64] {
    try checked(category)
    let half: UInt64 = 1 << 63
    return random.bytes(8 * categories).withUnsafeBytes { bytes in
      (0..<categories).map { index in
        let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        let mask: UInt64 = index == category ? .max : 0
        let limit = (half & mask) | (threshold & ~mask)
        return word < limit ? 1 : 0
      }
    }
  }
}
