import Cryptography

/// Shamir's secret sharing over GF(l), l the order of the ristretto255 group: a secret is the value at 0
/// of a random polynomial of degree t-1, a share its value at a non-zero x.
enum Shamir {
  /// Splits a secret into one share per x-coordinate, any `threshold` of which recover it.
  static func split(
    _ secret: Scalar, threshold: Int, xs: [Int], using random: inout RandomStream
  ) -> [Scalar] {
    precondition(threshold >= 1 && threshold <= xs.count, "a threshold lies between 1 and the holders")
    precondition(xs.allSatisfy { $0 > 0 } && Set(xs).count == xs.count, "x are non-zero and distinct")
    var coefficients = [secret]
    for _ in 1..<threshold { coefficients.append(Scalar(using: &random)) }
    return xs.map { evaluate(coefficients, at: Scalar(UInt64($0))) }
  }

  /// The value of a polynomial, constant coefficient first (Horner).
  static func evaluate(_ coefficients: [Scalar], at x: Scalar) -> Scalar {
    guard var value = coefficients.last else { return Scalar(0) }
    for coefficient in coefficients.dropLast().reversed() { value = value * x + coefficient }
    return value
  }

  /// The inverses of non-zero scalars, at the price of one inversion (Montgomery's trick).
  static func inverses(_ scalars: [Scalar]) -> [Scalar] {
    guard let first = scalars.first else { return [] }
    var products = [first]
    for scalar in scalars.dropFirst() { products.append(products[products.count - 1] * scalar) }
    guard var running = try? products[products.count - 1].inverted() else {
      preconditionFailure("only non-zero scalars are inverted together")
    }
    var inverses = scalars
    for index in stride(from: scalars.count - 1, to: 0, by: -1) {
      inverses[index] = running * products[index - 1]
      running = running * scalars[index]
    }
    inverses[0] = running
    return inverses
  }
}

/// Lagrange coefficients at 0 for one set of holders, shared by all secrets that the same holders reveal.
struct LagrangeWeights: Sendable {
  private let weights: [Scalar]

  /// For distinct, non-zero x-coordinates.
  init(xs: [Int]) {
    precondition(xs.allSatisfy { $0 > 0 } && Set(xs).count == xs.count, "x are non-zero and distinct")
    let scalars = xs.map { Scalar(UInt64($0)) }
    var numerators: [Scalar] = []
    var denominators: [Scalar] = []
    for (i, x) in scalars.enumerated() {
      var numerator = Scalar(1)
      var denominator = Scalar(1)
      for (j, other) in scalars.enumerated() where j != i {
        numerator = numerator * other
        denominator = denominator * (other - x)
      }
      numerators.append(numerator)
      denominators.append(denominator)
    }
    weights = zip(numerators, Shamir.inverses(denominators)).map { $0 * $1 }
  }

  /// The secret of which these are the shares, in the order of the x-coordinates.
  func secret(of shares: some Sequence<Scalar>) -> Scalar {
    zip(weights, shares).reduce(Scalar(0)) { $0 + $1.0 * $1.1 }
  }
}
