package import Cryptography

/// The probability with which a unit takes part in a round, as a fraction of integers, and the decision.
///
/// Amplification by Poisson sampling holds only if every unit decides for itself, independently of all
/// others and of all other rounds, with exactly the rate that is accounted, and if the observer does not
/// learn the decision. So the node draws, not the server, and the rate is a fraction and not a rounded
/// double: `probability` is what the accountant is told.
package struct ParticipationRate: Sendable, Hashable {
  /// Of `denominator` equally likely draws, the number that mean "take part".
  package let numerator: UInt64
  /// The number of equally likely draws, at least 1.
  package let denominator: UInt64

  /// A rate in thousandths.
  ///
  /// Throws: `outOfRange(.participationRate)` below 0 and above 1000.
  package init(permille: Int) throws(MechanismError) {
    guard (0...1000).contains(permille) else {
      throw .outOfRange(.participationRate, value: Double(permille) / 1000)
    }
    (numerator, denominator) = (UInt64(permille), 1000)
  }

  /// A rate in units of 2^-32.
  ///
  /// Throws: `outOfRange(.participationRate)` above 2^32 units.
  package init(units32 units: UInt64) throws(MechanismError) {
    guard units <= 1 << 32 else {
      throw .outOfRange(.participationRate, value: Double(units) * 0x1p-32)
    }
    (numerator, denominator) = (units, 1 << 32)
  }

  /// The rate, rounded up: claiming a larger rate claims less amplification.
  package var probability: Double {
    let quotient = Double(numerator) / Double(denominator)
    // The fused product has the exact remainder's sign.
    let remainder = (-Double(numerator)).addingProduct(quotient, Double(denominator))
    return remainder < 0 ? quotient.nextUp : quotient
  }

  /// Whether one unit takes part: true with exactly the fraction's probability.
  package func participates(random: inout RandomStream) -> Bool {
    random.uniform(below: denominator) < numerator
  }

  /// The decisions of `count` units, from one request for random bytes.
  ///
  /// Each is exact: a 64-bit word beyond the last multiple of the denominator, one in 2^54 for thousandths,
  /// is drawn anew.
  package func decisions(count: Int, random: inout RandomStream) -> [Bool] {
    let limit = UInt64.max - UInt64.max % denominator
    var decisions: [Bool] = []
    decisions.reserveCapacity(count)
    let bytes = random.bytes(8 * count)
    bytes.withUnsafeBytes { bytes in
      for index in 0..<count {
        var word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8 * index, as: UInt64.self))
        while word >= limit { word = random.word() }
        decisions.append(word % denominator < numerator)
      }
    }
    return decisions
  }
}
