import Foundation

package import Cryptography

/// A sampler of integer noise from a table: integers only, no rejection, the same work for every draw
/// (`ThresholdTable`), with a stated error.
///
/// The error of one draw is the total-variation distance between what is drawn and the distribution that
/// the theorem speaks of: the arithmetic that made the table, the truncation of its thresholds and the tail
/// beyond its end. If an exact sampler gave (ε, δ)-differential privacy, k draws give
/// (ε, δ + (1 + e^ε)·k·2^errorLog2); accountants take it from delta.
package protocol TableSampler: Sendable {
  /// The table that draws are made from.
  var table: ThresholdTable { get }
  /// The variance of one draw, in grid units squared.
  var variance: Double { get }
  /// log2 of the total-variation distance between one draw and the named distribution, at most.
  var errorLog2: Double { get }
}

extension TableSampler {
  /// No draw is larger in magnitude.
  package var maximumMagnitude: Int {
    let center = Int(table.center)
    return max(abs(center + table.largestAbove), abs(center - table.largestBelow))
  }

  /// The probability with which a draw is `value`.
  package func probability(of value: Int) -> Double { table.probability(of: Int64(value)) }

  /// Adds an independent draw to every element, wrapping around at 64 bits.
  package func addNoise(to sums: inout [Int64], random: inout RandomStream) {
    sums.withUnsafeMutableBufferPointer { addNoise(to: $0, random: &random) }
  }

  /// Adds an independent draw to every element, wrapping around at 64 bits.
  package func addNoise(to sums: UnsafeMutableBufferPointer<Int64>, random: inout RandomStream) {
    var meter = NoMeter()
    table.add(to: sums, random: &random, meter: &meter)
  }

  /// `errorLog2` of the sum of `shares` independent draws, as the accountants want it.
  ///
  /// Throws: `parameterOutOfRange` for fewer than one share.
  package func errorLog2(shares: Int) throws(PrivacyError) -> Double {
    guard shares >= 1 else { throw .parameterOutOfRange(.shares, value: Double(shares)) }
    return errorLog2 + log2(Double(shares))
  }

  /// The draw that 128 random bits stand for: for tests of single words.
  func draw(high: UInt64, low: UInt64) -> Int64 {
    var meter = NoMeter()
    return table.draw(high: high, low: low, meter: &meter)
  }
}

/// Survival thresholds from weights, and what the arithmetic costs.
enum SurvivalThresholds {
  /// P(|K| > j) in units of 2^-127 for j from 0 to N − 1, where P(K = ±k) is proportional to weights[k],
  /// k from 0 to N. Sums run from the smallest weight up.
  static func symmetric(_ weights: [DoubleDouble]) -> [UInt128] {
    var tails = [DoubleDouble](repeating: DoubleDouble(0), count: weights.count - 1)
    var tail = DoubleDouble(0)
    for k in stride(from: weights.count - 1, to: 0, by: -1) {
      tail = tail + DoubleDouble(high: 2 * weights[k].high, low: 2 * weights[k].low)
      tails[k - 1] = tail
    }
    let total = tail + weights[0]
    return tails.map { ($0 / total).fixedPoint127 }
  }

  /// log2 of the total-variation distance, at most, for N thresholds from weights of relative error at most
  /// 2^-94 and with at most 2^-110 of the mass beyond the table.
  ///
  /// With u = 2^-53: the weights and their sum shift the distribution by 2^-94. Each addition adds 3u² of
  /// its result, at most 3N·u² in all and 3N·u² in the total; quotients 15u² of each threshold, which
  /// sum to E|K| ≤ N; truncation N·2^-126; the tail 2^-109. Together below 2^-93 + (N + 1)·2^-101.
  static func errorLog2(thresholds: Int) -> Double { log2(Double(thresholds) + 257) - 101 }
}
