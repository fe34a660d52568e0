import Foundation

extension DoubleDouble {
  /// ln 2 to 2^-110.
  private static let naturalLog2 = DoubleDouble(high: 0x1.62e42fefa39efp-1, low: 0x1.abc9e3b39803fp-56)
  /// 1/k for k from 1.
  private static let inverses = (1...14).map { quotient(1, Double($0)) }

  /// e^(−x) for x ≥ 0 known to a relative 3u²; 0 beyond x = 700. Relative error below 2^-94 for x ≤ 80.
  ///
  /// With n = ⌈x/ln 2⌉ and r = n·ln 2 − x in [0, ln 2], e^(−x) = 2^-n·e^r, and e^r = (e^(r/64))^64 with
  /// fourteen terms of the series.
  ///
  /// **Error**, u = 2^-53, for x ≤ 80 (n ≤ 116): in r absolutely 3u²·80 from x, 7u²·81 from the product,
  /// n·2^-110 = 8u² from ln 2 and 3u² from the difference, together 818u². In e^(r/64), at most 1.011:
  /// truncation (r/64)^14/14! < 2^-127, Horner's scheme 17u² per step, each weighted with r/64, and the
  /// last sum, together 4u². Six squarings double what they get and add 7u²: 64·4 + 63·7 = 697u². The sum
  /// is below 1516u² < 2^-95.
  static func exponential(ofNegated x: DoubleDouble) -> DoubleDouble {
    guard x.high <= 700 else { return DoubleDouble(0) }
    let power = (x.high / M_LN2).rounded(.up)
    let product = naturalLog2 * DoubleDouble(power)
    let rest = product + DoubleDouble(high: -x.high, low: -x.low)
    let small = DoubleDouble(high: rest.high / 64, low: rest.low / 64)
    var sum = DoubleDouble(1)
    for inverse in inverses.dropLast().reversed() {
      sum = DoubleDouble(1) + sum * inverse * small
    }
    for _ in 0..<6 { sum = sum * sum }
    let scale = exp2(-power)
    return DoubleDouble(high: sum.high * scale, low: sum.low * scale)
  }
}
