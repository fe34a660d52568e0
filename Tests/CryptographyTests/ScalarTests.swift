import Cryptography
import Testing

struct ScalarTests {
  private func scalar(_ hex: String) throws -> Scalar { try Scalar(canonical: #require(Hex.decode(hex))) }
  private static let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010"

  @Test func `accepts exactly the numbers below the group order`() throws {
    #expect(throws: Never.self) { try scalar(String(repeating: "00", count: 32)) }
    #expect(throws: Never.self) { try scalar("ec" + ScalarTests.order.dropFirst(2)) }
    let order = try #require(Hex.decode(ScalarTests.order))
    var largest = [UInt8](repeating: 0xFF, count: 32)
    var above = order
    above[0] += 1
    #expect(throws: CryptographyError.nonCanonicalScalar) { try Scalar(canonical: order) }
    #expect(throws: CryptographyError.nonCanonicalScalar) { try Scalar(canonical: above) }
    #expect(throws: CryptographyError.nonCanonicalScalar) { try Scalar(canonical: largest) }
    largest[31] = 0x1F
    #expect(throws: CryptographyError.nonCanonicalScalar) { try Scalar(canonical: largest) }
    #expect(throws: CryptographyError.wrongLength(what: "scalar", expected: 32, actual: 31)) {
      try Scalar(canonical: [UInt8](repeating: 0, count: 31))
    }
  }

  @Test func `arithmetic is modulo the group order`() throws {
    // Computed with Python's integers.
    let a = try scalar("275a174ad03fe2575cd01bc64f1a51e61012131415161718191a1b1c1d1e1f00")
    #expect(
      Hex.encode((a * a).exportBytes()) == "acee139cd798c73023be9724a111f931034ef7068bd3e387291a296fc808c001")
    #expect(
      Hex.encode(try a.inverted().exportBytes())
        == "f5e24163b7c5c1d85cde846227683f22618f1a1c2f0cbfbe87b1bfa6ea7bcf09")
    #expect(Hex.encode((Scalar(0) - Scalar(1)).exportBytes()) == "ec" + ScalarTests.order.dropFirst(2))
    #expect((Scalar(0) - Scalar(1) + Scalar(1)).isZero)
    #expect((Scalar(1 << 40) * Scalar(1 << 20)).constantTimeEquals(Scalar(1 << 60)))
    #expect(Scalar(.max).exportBytes().prefix(9) == [255, 255, 255, 255, 255, 255, 255, 255, 0])
  }

  @Test func `every non-zero scalar has an inverse and zero has none`() throws {
    var random = RandomStream(testSeed: 1)
    for _ in 0..<50 {
      let scalar = Scalar(using: &random)
      #expect(!scalar.isZero)
      #expect(try (scalar * scalar.inverted()).constantTimeEquals(Scalar(1)))
    }
    #expect(throws: CryptographyError.nonCanonicalScalar) { try Scalar(0).inverted() }
  }

  @Test func `reconstructs the Shamir vector over the order of ristretto255`() throws {
    // f(x) = -1 - 2x + 2^200 x^2: f(1) = 2^200 - 3, f(2) = 2^202 - 5, f(0) = l - 1. With x = 1, 2, 3 the
    // Lagrange coefficients at zero are 3, -3, 1.
    let power = (0..<200).reduce(Scalar(1)) { sum, _ in sum + sum }
    let first = power - Scalar(3)
    let second = power * Scalar(4) - Scalar(5)
    let third = power * Scalar(9) - Scalar(7)
    let secret = Scalar(3) * first - Scalar(3) * second + third
    #expect(Hex.encode(secret.exportBytes()) == "ec" + ScalarTests.order.dropFirst(2))
  }
}
