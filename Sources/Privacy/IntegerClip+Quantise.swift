package import Cryptography

extension IntegerClip {
  /// What became of one unit's update. It depends on private data: for local diagnostics only.
  package enum Outcome: Sendable, Hashable {
    /// Rounded stochastically, at this attempt (from 1).
    case rounded(attempt: Int)
    /// No attempt stayed within the bound: truncated toward zero.
    case truncated
    /// A coordinate was not finite: the unit contributed the zero vector.
    case notFinite
  }

  /// Memory that `quantise` uses again and again. One per thread.
  package struct Scratch: Sendable {
    fileprivate var rounded: [Int32]
    fileprivate var random = [Int32](repeating: 0, count: IntegerClip.block)

    /// Memory for updates of `dimension` coordinates.
    package init(dimension: Int) { rounded = [Int32](repeating: 0, count: dimension) }
  }

  /// Attempts at stochastic rounding; all fail with probability at most e^(−40/2) = 2e-9.
  static let maximumAttempts = 40
  /// Coordinates per block: the random words of one stay in the first-level cache, and partial sums of
  /// squares per block keep the rounding error of the norm below 2^-38 (see `truncate`).
  fileprivate static let block = 4096

  /// Clips one unit's update to C, scales it, rounds it to integers with Σx² ≤ Δ₂², and adds it to `sum`.
  ///
  /// The bound is checked in integer arithmetic on the very integers that are added: no floating-point
  /// error can void the sensitivity. Rounding is unbiased to 2^-32 of a grid unit, given that it stayed
  /// within the bound.
  ///
  /// An update with a NaN or an infinity contributes the zero vector and is reported. It does not throw:
  /// a round that aborts because of one customer's data would tell about that customer.
  ///
  /// `update` is only read; it, `scratch` and `sum` have `dimension` elements (a precondition).
  @discardableResult
  package func quantise(
    _ update: UnsafeMutableBufferPointer<Float>, scratch: inout Scratch, random: inout RandomStream,
    addingInto sum: inout [Int64]
  ) -> Outcome {
    quantise(UnsafeBufferPointer(update), scratch: &scratch, random: &random, addingInto: &sum)
  }

  /// The same for an array.
  @discardableResult
  package func quantise(
    _ update: [Float], scratch: inout Scratch, random: inout RandomStream,
    addingInto sum: inout [Int64]
  ) -> Outcome {
    update.withUnsafeBufferPointer {
      quantise($0, scratch: &scratch, random: &random, addingInto: &sum)
    }
  }

  private func quantise(
    _ update: UnsafeBufferPointer<Float>, scratch: inout Scratch, random: inout RandomStream,
    addingInto sum: inout [Int64]
  ) -> Outcome {
    precondition(
      update.count == dimension && scratch.rounded.count == dimension && sum.count == dimension,
      "an update, its scratch and its sum have the clip's dimension")
    let norm = Self.norm(update)
    guard norm.isFinite else { return .notFinite }
    let factor = norm > clipNorm ? scale * clipNorm / norm : scale
    return scratch.rounded.withUnsafeMutableBufferPointer { rounded in
      scratch.random.withUnsafeMutableBufferPointer { words in
        for attempt in 1...Self.maximumAttempts {
          let squares = Self.round(
            update, factor: factor, words: words, random: &random, into: rounded)
          if squares <= sensitivityL2Squared {
            Self.add(rounded, to: &sum)
            return .rounded(attempt: attempt)
          }
        }
        let squares = Self.truncate(update, factor: factor, into: rounded)
        precondition(squares <= sensitivityL2Squared, "truncation toward zero shortens vectors")
        Self.add(rounded, to: &sum)
        return .truncated
      }
    }
  }

  /// The L2 norm; NaN or infinity if a coordinate is.
  ///
  /// A finite Float squared is at most 2^256, so the sum does not overflow. Its relative error is below
  /// (4096 + d/4096 + 1)·2^-53 < 2^-38: one rounding per square, per addition in a block and per block.
  private static func norm(_ update: UnsafeBufferPointer<Float>) -> Double {
    var total = 0.0
    var start = 0
    while start < update.count {
      let end = min(start + block, update.count)
      // Four independent chains of additions, for speed; each is shorter than the block.
      var lanes = SIMD4<Double>()
      var index = start
      while index &+ 4 <= end {
        let x = SIMD4<Double>(
          SIMD4<Float>(
            update[index], update[index &+ 1], update[index &+ 2], update[index &+ 3]))
        lanes += x * x
        index &+= 4
      }
      while index < end {
        let x = Double(update[index])
        lanes[0] += x * x
        index &+= 1
      }
      total += (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
      start = end
    }
    return total.squareRoot()
  }

  /// Rounds stochastically and returns Σ of the squares.
  ///
  /// A coordinate v becomes the integer nearest to v + w, w = (r + 1/2)·2^-32 for a uniform 32-bit r, so
  /// uniform in (−1/2, 1/2): that is ⌈v⌉ with the probability of v's fraction, and v itself if v is an
  /// integer. Adding 1.5·2^52 rounds to nearest and leaves the integer in the low bits.
  ///
  /// No overflow: |v| ≤ ‖v‖ ≤ sC(1 + 2^-38), rounding moves a coordinate by less than 1 and so the
  /// vector by less than √d, and (sC(1 + 2^-38) + √d)² < 2^63 as sC + √d < 2^31.
  private static func round(
    _ update: UnsafeBufferPointer<Float>, factor: Double, words: UnsafeMutableBufferPointer<Int32>,
    random: inout RandomStream, into rounded: UnsafeMutableBufferPointer<Int32>
  ) -> Int64 {
    let shift = 0x1.8p52
    var squares: Int64 = 0
    var start = 0
    while start < update.count {
      let count = min(block, update.count - start)
      random.fill(
        UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(words)[..<(4 * count)]))
      for offset in 0..<count {
        let word = (Double(words[offset]) + 0.5) * 0x1p-32
        let moved = (Double(update[start &+ offset]) * factor + word) + shift
        let integer = Int64(bitPattern: moved.bitPattern &- shift.bitPattern)
        squares &+= integer &* integer
        rounded[start &+ offset] = Int32(truncatingIfNeeded: integer)
      }
      start += count
    }
    return squares
  }

  /// Truncates toward zero and returns Σ of the squares, which is always within Δ₂².
  ///
  /// Proof: |trunc(v)| ≤ |v|, so Σ ≤ ‖v‖². The factor is at most sC over the computed norm (or s, with
  /// the computed norm at most C), whose relative error is below 2^-39 (`norm`), and three roundings of
  /// 2^-53 come on top, so ‖v‖² ≤ s²C²(1 + 2^-37). Both branches of Δ₂² are at least s²C² + sC, and
  /// s²C²·2^-37 ≤ sC as sC < 2^31. Hence Σ ≤ Δ₂² before it was rounded down, and after, being an integer.
  static func truncate(
    _ update: UnsafeBufferPointer<Float>, factor: Double,
    into rounded: UnsafeMutableBufferPointer<Int32>
  ) -> Int64 {
    var squares: Int64 = 0
    for index in 0..<update.count {
      // In range: |v| < 2^31 by the bound on sC.
      let integer = Int64(Double(update[index]) * factor)
      squares &+= integer &* integer
      rounded[index] = Int32(truncatingIfNeeded: integer)
    }
    return squares
  }

  private static func add(_ rounded: UnsafeMutableBufferPointer<Int32>, to sum: inout [Int64]) {
    sum.withUnsafeMutableBufferPointer { sum in
      for index in 0..<rounded.count { sum[index] &+= Int64(rounded[index]) }
    }
  }
}
