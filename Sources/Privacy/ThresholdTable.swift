import Cryptography

/// A distribution on the integers as cumulative thresholds, searched with the same work for every draw.
///
/// A draw takes 128 random bits. The top one picks the side, above or below the centre c; the others are
/// v, uniform below 2^127. With thresholds S_0 ≥ S_1 ≥ … of that side in units of 2^-127,
///
///     value = c ± #{ j : v < S_j },    S_j = 2·P(K > c + j) above and 2·P(K < c − j) below,
///
/// which is exact (but for the truncation of the thresholds) if neither S_0 exceeds 1: c is a median. A
/// symmetric distribution around 0 has one set of thresholds, P(|K| > j), for both sides.
///
/// **Search.** Thresholds crowd where v is small, so buckets are those of a floating-point number: the
/// leading zeros of v and the `mantissaBits` bits after its first one. A bucket's entry is the number of
/// thresholds above all of it; a binary search of `steps` steps, as many as the worst bucket needs, adds
/// those above v.
///
/// **Constant work.** A draw takes 16 random bytes, one bucket and `steps` thresholds, and is never
/// rejected; comparisons become numbers, not jumps. The addresses read depend on the draw (an observer
/// who shares the cache could see them); the number of instructions and of reads does not.
package struct ThresholdTable: Sendable {
  /// Draws per request for random bytes: 16 KiB, which stay in the first-level cache.
  static let block = 1024

  /// Thresholds of the upper side, then of the lower one, each followed by zeros.
  let thresholds: [UInt128]
  /// Where the search starts in `thresholds`, per bucket; the upper side's buckets first.
  let starts: [UInt32]
  let mantissaBits: Int
  /// Thresholds compared per draw.
  let steps: Int
  /// The first threshold and the first bucket of the lower side; 0 if it shares the upper one's.
  let lowerThreshold: Int
  let lowerBucket: Int
  /// c.
  let center: Int64
  /// No draw is larger than c plus this, nor smaller than c minus `largestBelow`.
  let largestAbove: Int
  let largestBelow: Int

  /// A table symmetric around 0. `survival` decreases and is below 2^127.
  init(symmetric survival: [UInt128]) { self.init(center: 0, above: survival, below: nil) }

  /// A table around a median. Both lists decrease and are at most 2^127.
  init(center: Int64, above: [UInt128], below: [UInt128]?) {
    let longest = max(above.count, below?.count ?? 0)
    // Half of all draws have no leading zero and spread over a twentieth of the thresholds or so: one or
    // two per bucket, up to 1024 buckets (4 KiB for each leading zero, of which the first few are used).
    var bits = 4
    while bits < 10 && longest >> (bits + 4) > 0 { bits += 1 }
    let upper = Self.buckets(above, mantissaBits: bits)
    let lower = below.map { Self.buckets($0, mantissaBits: bits) }
    var steps = 1
    while (1 << steps) - 1 < max(upper.widest, lower?.widest ?? 0) { steps += 1 }
    let padding = repeatElement(UInt128(0), count: 1 << steps)
    var thresholds = above + padding
    var starts = upper.starts
    if let below, let lower {
      lowerThreshold = thresholds.count
      lowerBucket = starts.count
      let offset = UInt32(thresholds.count)
      starts += lower.starts.map { $0 + offset }
      thresholds += below + padding
    } else {
      lowerThreshold = 0
      lowerBucket = 0
    }
    self.thresholds = thresholds
    self.starts = starts
    self.steps = steps
    self.center = center
    mantissaBits = bits
    largestAbove = above.count
    largestBelow = below?.count ?? above.count
  }

  /// The number of thresholds above all v of each bucket, and the most that lie within one.
  private static func buckets(
    _ survival: [UInt128], mantissaBits: Int
  ) -> (starts: [UInt32], widest: Int) {
    let perLevel = 1 << mantissaBits
    var starts = [UInt32](repeating: 0, count: 127 * perLevel)
    var (widest, above) = (0, 0)
    // From the largest v down, so that the counts only grow.
    for level in 0..<127 {
      for mantissa in stride(from: perLevel - 1, through: 0, by: -1) {
        let leading = UInt128(perLevel + mantissa)
        let shift = 126 - level - mantissaBits
        // Below 2^mantissaBits a bucket holds one v or none.
        let first = shift >= 0 ? leading << UInt128(shift) : leading >> UInt128(-shift)
        let last = shift >= 0 ? first + ((1 << UInt128(shift)) - 1) : first
        while above < survival.count && last < survival[above] { above += 1 }
        starts[level * perLevel + mantissa] = UInt32(above)
        // v = 0 shares the bucket of v = 1.
        let smallest = level == 126 ? 0 : first
        var within = above
        while within < survival.count && smallest < survival[within] { within += 1 }
        widest = max(widest, within - above)
      }
    }
    return (starts, widest)
  }

  /// The probability with which a draw is `value`, as the thresholds have it.
  func probability(of value: Int64) -> Double {
    func mass(_ list: ArraySlice<UInt128>, _ index: Int) -> Double {
      let one: UInt128 = 1 << 127
      let above = index == 0 ? one : list[list.startIndex + index - 1]
      let below = index == list.count ? 0 : list[list.startIndex + index]
      return Double(above - below) * 0x1p-128
    }
    let upper = thresholds[0..<largestAbove]
    let lower = thresholds[lowerThreshold..<(lowerThreshold + largestBelow)]
    let (distance, overflow) = value.subtractingReportingOverflow(center)
    guard !overflow, distance <= Int64(largestAbove), distance >= -Int64(largestBelow) else {
      return 0
    }
    if distance == 0 { return mass(upper, 0) + mass(lower, 0) }
    return distance > 0 ? mass(upper, Int(distance)) : mass(lower, Int(-distance))
  }

  /// Adds an independent draw to every element, wrapping around at 64 bits.
  func add<Meter: WorkMeter>(
    to sums: UnsafeMutableBufferPointer<Int64>, random: inout RandomStream, meter: inout Meter
  ) {
    var words = [UInt64](repeating: 0, count: 2 * min(Self.block, sums.count))
    words.withUnsafeMutableBytes { bytes in
      let words = bytes.assumingMemoryBound(to: UInt64.self)
      withView { view in
        var start = 0
        while start < sums.count {
          let count = min(Self.block, sums.count - start)
          random.fill(UnsafeMutableRawBufferPointer(rebasing: bytes[..<(16 * count)]))
          meter.drewRandomBytes(16 * count)
          for offset in 0..<count {
            sums[start &+ offset] &+= view.draw(
              // Little-endian, so that a seed replays on any machine.
              high: UInt64(littleEndian: words[2 &* offset &+ 1]),
              low: UInt64(littleEndian: words[2 &* offset]), meter: &meter)
            meter.wrote()
          }
          start += count
        }
      }
      // The words tell the noise. Overwriting with further bytes of the stream is a call that the
      // compiler cannot leave out.
      random.fill(bytes)
      meter.drewRandomBytes(bytes.count)
    }
  }

  /// The draw that 128 random bits stand for: for tests of single words.
  func draw<Meter: WorkMeter>(high: UInt64, low: UInt64, meter: inout Meter) -> Int64 {
    withView { $0.draw(high: high, low: low, meter: &meter) }
  }

  private func withView<Result>(_ body: (View) -> Result) -> Result {
    thresholds.withUnsafeBufferPointer { thresholds in
      starts.withUnsafeBufferPointer { starts in
        body(
          View(
            thresholds: thresholds, starts: starts, mantissaShift: UInt64(64 - mantissaBits),
            mantissaBits: UInt64(mantissaBits), steps: steps,
            lowerThreshold: UInt64(lowerThreshold), lowerBucket: UInt64(lowerBucket), center: center))
      }
    }
  }

  /// The table as the inner loop reads it.
  private struct View {
    let thresholds: UnsafeBufferPointer<UInt128>
    let starts: UnsafeBufferPointer<UInt32>
    let mantissaShift: UInt64
    let mantissaBits: UInt64
    let steps: Int
    let lowerThreshold: UInt64
    let lowerBucket: UInt64
    let center: Int64

    @inline(__always)
    func draw<Meter: WorkMeter>(high: UInt64, low: UInt64, meter: inout Meter) -> Int64 {
      // All ones below the centre, 0 above.
      let side = UInt64(bitPattern: Int64(bitPattern: high) >> 63)
      let top = high & (.max >> 1)
      let v = UInt128(truncatingIfNeeded: top) << 64 | UInt128(truncatingIfNeeded: low)
      let bucket = Int(truncatingIfNeeded: bucket(top, low) &+ (side & lowerBucket))
      var position = Int(truncatingIfNeeded: starts[bucket])
      meter.probed()
      var step = steps
      while step > 0 {
        step &-= 1
        let (_, isBelow) = v.subtractingReportingOverflow(thresholds[position &+ (1 &<< step) &- 1])
        position &+= (isBelow ? 1 : 0) &<< step
        meter.probed()
      }
      let distance = Int64(position) &- Int64(bitPattern: side & lowerThreshold)
      // (d ^ -1) - -1 is -d.
      let sign = Int64(bitPattern: side)
      return center &+ ((distance ^ sign) &- sign)
    }

    /// The leading zeros of the 127-bit v and the bits after its first one, without a jump: a zero top
    /// word is replaced by the low one through a mask, and `| 1` spares the count its case of no bit.
    @inline(__always)
    private func bucket(_ top: UInt64, _ low: UInt64) -> UInt64 {
      // All ones if the top word has no bit: borrow from 0 − 1.
      let isEmpty = UInt64(bitPattern: Int64(bitPattern: (top | (0 &- top)) ^ .max) >> 63)
      let word = (top & ~isEmpty) | (low & isEmpty)
      let next = low & ~isEmpty
      let zeros = UInt64(truncatingIfNeeded: (word | 1).leadingZeroBitCount)
      // The word without its leading zeros, filled up from the next one, and then without its first
      // one. `>> 1` first keeps the shift of the next word below 64.
      let normal = (word &<< zeros) | ((next &>> 1) &>> (63 &- zeros))
      let mantissa = (normal &<< 1) &>> mantissaShift
      let level = (zeros &+ (64 & isEmpty)) &- 1
      return (level &<< mantissaBits) | mantissa
    }
  }
}
