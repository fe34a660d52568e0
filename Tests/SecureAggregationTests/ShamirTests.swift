import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

private let vectors: URL = {
  if let path = ProcessInfo.processInfo.environment["ACCORD_VECTORS_DIR"] {
    return URL(fileURLWithPath: path)
  }
  let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()
  return root.deletingLastPathComponent().appendingPathComponent("shared/vectors")
}()

private let accounting = vectors.appendingPathComponent("accounting.json")

struct ShamirTests {
  /// 2^exponent as a scalar.
  private func power(_ exponent: Int) -> Scalar {
    (0..<exponent).reduce(Scalar(1)) { value, _ in value + value }
  }

  @Test(
    .enabled(
      if: FileManager.default.fileExists(atPath: accounting.path),
      "shared/vectors is not here; set ACCORD_VECTORS_DIR"))
  func `agrees with the vector over the order of ristretto255`() throws {
    struct File: Decodable {
      struct Vector: Decodable {
        let polynomial, f_1, f_2, secret: String
      }
      let shamir_ristretto255_order: Vector
    }
    let vector = try JSONDecoder().decode(File.self, from: Data(contentsOf: accounting))
      .shamir_ristretto255_order
    #expect(vector.polynomial == "f(x) = -1 - 2x + 2^200 x^2 mod l")
    #expect(vector.f_1 == "2^200 - 3")
    #expect(vector.f_2 == "2^202 - 5")
    #expect(vector.secret == "l - 1")
    let minusOne = Scalar(0) - Scalar(1)
    let polynomial = [minusOne, Scalar(0) - Scalar(2), power(200)]
    let shares = (1...3).map { Shamir.evaluate(polynomial, at: Scalar(UInt64($0))) }
    #expect(shares[0].constantTimeEquals(power(200) - Scalar(3)))
    #expect(shares[1].constantTimeEquals(power(202) - Scalar(5)))
    #expect(LagrangeWeights(xs: [1, 2, 3]).secret(of: shares).constantTimeEquals(minusOne))
    // l - 1, little endian (RFC 9496, section 4.4).
    #expect(
      Hex.encode(LagrangeWeights(xs: [3, 1, 2]).secret(of: [shares[2], shares[0], shares[1]]).exportBytes())
        == "ecd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
  }

  @Test(arguments: [(1, 1), (1, 4), (2, 2), (3, 5), (7, 10), (34, 50)])
  func `any threshold of shares recovers the secret and one fewer does not`(t: Int, n: Int) {
    var random = RandomStream(testSeed: UInt64(n))
    let secret = Scalar(using: &random)
    let xs = (1...n).map { $0 * 3 }
    let shares = Shamir.split(secret, threshold: t, xs: xs, using: &random)
    for _ in 0..<8 {
      var order = Array(0..<n)
      for index in order.indices.reversed() {
        order.swapAt(index, Int(random.uniform(below: UInt64(index + 1))))
      }
      let some = Array(order.prefix(t))
      #expect(
        LagrangeWeights(xs: some.map { xs[$0] }).secret(of: some.map { shares[$0] })
          .constantTimeEquals(secret))
      guard t > 1 else { continue }
      let fewer = some.dropLast()
      #expect(
        !LagrangeWeights(xs: fewer.map { xs[$0] }).secret(of: fewer.map { shares[$0] })
          .constantTimeEquals(secret))
    }
  }

  @Test func `inverts many scalars at once`() throws {
    var random = RandomStream(testSeed: 3)
    let scalars = (0..<9).map { _ in Scalar(using: &random) }
    for (scalar, inverse) in zip(scalars, Shamir.inverses(scalars)) {
      #expect((scalar * inverse).constantTimeEquals(Scalar(1)))
      #expect(try inverse.constantTimeEquals(scalar.inverted()))
    }
    #expect(Shamir.inverses([]).isEmpty)
  }

  @Test(arguments: [(3, 3, 0), (3, 5, 1), (4, 9, 2), (7, 10, 1), (14, 20, 3), (1, 5, 2)])
  func `decodes as many errors as half the spare shares`(t: Int, n: Int, errors: Int) throws {
    var random = RandomStream(testSeed: UInt64(t * 100 + n))
    let secret = Scalar(using: &random)
    let shares = Shamir.split(secret, threshold: t, xs: Array(1...n), using: &random)
    var points = shares.enumerated().map { (x: $0 + 1, y: $1) }
    for error in 0..<errors { points[(error * 2) % n].y = Scalar(using: &random) }
    let polynomial = try #require(ShareDecoder.decode(points, threshold: t))
    #expect(polynomial.count == t)
    #expect(polynomial[0].constantTimeEquals(secret))
    for point in points[errors * 2 < n ? (errors * 2)... : n...] {
      #expect(Shamir.evaluate(polynomial, at: Scalar(UInt64(point.x))).constantTimeEquals(point.y))
    }
  }

  @Test func `decodes the zero polynomial and finds nothing in noise`() throws {
    let zeros = (1...6).map { (x: $0, y: Scalar(0)) }
    let polynomial = try #require(ShareDecoder.decode(zeros, threshold: 3))
    #expect(polynomial.count == 3 && polynomial.allSatisfy(\.isZero))
    var random = RandomStream(testSeed: 8)
    let noise = (1...8).map { (x: $0, y: Scalar(using: &random)) }
    #expect(ShareDecoder.decode(noise, threshold: 3) == nil)
    #expect(ShareDecoder.decode([], threshold: 3) == nil)
  }
}
