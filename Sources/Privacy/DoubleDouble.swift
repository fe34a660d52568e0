/// A number as the unevaluated sum of two doubles: about 106 bits.
///
/// The algorithms and their error bounds are those of Joldes, Muller and Popescu 2017, "Tight and
/// rigorous error bounds for basic building blocks of double-word arithmetic"; u = 2^-53.
struct DoubleDouble: Sendable {
  /// The number rounded to a double.
  var high: Double
  /// The rest, at most half a unit in the last place of `high`.
  var low: Double

  init(_ value: Double) {
    high = value
    low = 0
  }

  /// The sum of two doubles of which the second is at most half a unit in the last place of the first.
  init(high: Double, low: Double) {
    self.high = high
    self.low = low
  }

  /// The exact sum of two doubles of which the first is not smaller in magnitude (Fast2Sum).
  private init(larger: Double, smaller: Double) {
    high = larger + smaller
    low = smaller - (high - larger)
  }

  /// The exact sum of two doubles (2Sum).
  private static func exactSum(_ a: Double, _ b: Double) -> (sum: Double, rest: Double) {
    let sum = a + b
    let part = sum - a
    return (sum, (a - (sum - part)) + (b - part))
  }

  /// Relative error at most 3u² + 13u³, whatever the signs (algorithm 6).
  static func + (a: DoubleDouble, b: DoubleDouble) -> DoubleDouble {
    let (high, highRest) = exactSum(a.high, b.high)
    let (low, lowRest) = exactSum(a.low, b.low)
    let partial = DoubleDouble(larger: high, smaller: highRest + low)
    return DoubleDouble(larger: partial.high, smaller: lowRest + partial.low)
  }

  /// Relative error at most 7u² (algorithm 11).
  static func * (a: DoubleDouble, b: DoubleDouble) -> DoubleDouble {
    let high = a.high * b.high
    let highRest = (-high).addingProduct(a.high, b.high)
    let cross = (a.high * b.low).addingProduct(a.low, b.high)
    return DoubleDouble(larger: high, smaller: highRest + cross)
  }

  /// Two doubles' quotient, relative error at most 3u².
  static func quotient(_ a: Double, _ b: Double) -> DoubleDouble {
    let first = a / b
    let rest = a.addingProduct(-first, b)
    return DoubleDouble(larger: first, smaller: rest / b)
  }

  /// Relative error at most 15u² + 56u³ (algorithm 17).
  static func / (a: DoubleDouble, b: DoubleDouble) -> DoubleDouble {
    let first = a.high / b.high
    let product = b * DoubleDouble(first)
    let rest = (a.high - product.high) + (a.low - product.low)
    return DoubleDouble(larger: first, smaller: rest / b.high)
  }

  /// The number times 2^127, below 2^127, with an error below 2: both parts are truncated.
  var fixedPoint127: UInt128 {
    let sum = Int128(high * 0x1p127) + Int128(low * 0x1p127)
    return UInt128(max(0, sum))
  }
}
