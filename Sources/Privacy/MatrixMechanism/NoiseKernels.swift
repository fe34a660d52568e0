/// e_t = ⌊(z_t − Σ_{k≥1} m_k e_{t−k})/2^f + 1/2⌋ with integers m_k = 2^f·c_k: exact.
///
/// State: one row of `dimension` integers for each of m_1, m_2, …, the noise of as many past steps, that
/// of step t in row t modulo the number of rows.
struct ToeplitzKernel: Sendable, Hashable {
  /// Coordinates worked on at once: 4 KiB, which stay in the first-level cache over all rows.
  private static let block = 512

  /// m_1, m_2, ….
  let numerators: [Int64]
  /// f.
  let fractionBits: Int

  /// Turns the draws of step `step` into its noise, in place.
  func advance(
    _ draws: UnsafeMutableBufferPointer<Int64>, state: UnsafeMutableBufferPointer<Int64>, step: Int
  ) {
    let rows = numerators.count
    let half = Int64(1) << (fractionBits - 1)
    let shift = Int64(fractionBits)
    var start = 0
    while start < draws.count {
      let block = UnsafeMutableBufferPointer(
        rebasing: draws[start..<min(draws.count, start + Self.block)])
      for k in 1..<max(1, min(rows, step) + 1) {
        let numerator = numerators[k - 1]
        let row = (step - k) % rows * draws.count + start
        // Wrapping arithmetic, which vectorises: the layout has made sure that nothing wraps.
        for i in 0..<block.count { block[i] &-= numerator &* state[row &+ i] }
      }
      for i in 0..<block.count { block[i] = (block[i] &+ half) &>> shift }
      if rows > 0 {
        let row = step % rows * draws.count + start
        for i in 0..<block.count { state[row &+ i] = block[i] }
      }
      start += block.count
    }
  }
}

/// e_t = ⌊(z_t − G_t)/2^f + 1/2⌋ with G_t = ⌊2^f Σ_i ω_i s_i⌋ of buffers in fixed point with q ≥ f fraction
/// bits, s_i ← ⌊θ_i s_i⌋ + e_t, where ⌊·⌋ rounds down to what is representable.
///
/// Rounding makes a buffer short by at least 0 and less than min{steps, 1/(1−θ_i)}·2^−q, whatever its history;
/// so for two histories the G_t differ from what exact arithmetic would give by less than
/// κ = 1 + 2^(f−q) Σ_i ω_i min{steps, 1/(1−θ_i)}, and are integers.
///
/// State: one row of `dimension` integers for each buffer.
struct BufferedKernel: Sendable, Hashable {
  /// θ·2^40.
  let decays: [Int64]
  /// ω·2^40.
  let weights: [Int64]
  /// f.
  let fractionBits: Int
  /// q.
  let stateBits: Int

  /// Turns the draws of a step into its noise, in place.
  func advance(
    _ draws: UnsafeMutableBufferPointer<Int64>, state: UnsafeMutableBufferPointer<Int64>
  ) {
    let dimension = draws.count
    let half = Int64(1) << (fractionBits - 1)
    let decayShift = Int128(BufferedFactor.parameterBits)
    let feedbackShift = self.feedbackShift
    decays.withUnsafeBufferPointer { decays in
      weights.withUnsafeBufferPointer { weights in
        for i in 0..<dimension {
          var sum: Int128 = 0
          for buffer in 0..<decays.count {
            sum &+= Self.product(weights[buffer], state[buffer &* dimension &+ i])
          }
          let noise =
            (draws[i] &- Int64(truncatingIfNeeded: sum &>> feedbackShift) &+ half) &>> Int64(fractionBits)
          draws[i] = noise
          let addend = noise &<< Int64(stateBits)
          for buffer in 0..<decays.count {
            let place = buffer &* dimension &+ i
            let kept = Self.product(decays[buffer], state[place]) &>> decayShift
            state[place] = Int64(truncatingIfNeeded: kept) &+ addend
          }
        }
      }
    }
  }

  /// What turns Σ (2^40 ω)(2^q s) into 2^f Σ ω·s.
  private var feedbackShift: Int128 {
    Int128(BufferedFactor.parameterBits + stateBits - fractionBits)
  }

  /// G of the buffers of coordinate `i`: for tests of the bound on rounding errors.
  func feedback(state: [Int64], coordinate i: Int, dimension: Int) -> Int64 {
    let sum = weights.indices.reduce(Int128(0)) {
      $0 + Self.product(weights[$1], state[$1 * dimension + i])
    }
    return Int64(truncatingIfNeeded: sum &>> feedbackShift)
  }

  @inline(__always)
  private static func product(_ first: Int64, _ second: Int64) -> Int128 {
    // Two signed words multiplied into a double word: one instruction.
    let (high, low) = first.multipliedFullWidth(by: second)
    return Int128(truncatingIfNeeded: high) << 64 | Int128(truncatingIfNeeded: low)
  }
}
