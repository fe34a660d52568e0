import CSodium

/// A secret element of GF(l), l the order of the ristretto255 group (RFC 9496), 32 bytes little endian,
/// always canonical. Shamir shares are made of these.
package final class Scalar: CustomStringConvertible, Sendable {
  fileprivate let storage: SecretBytes

  fileprivate init(storage: SecretBytes) { self.storage = storage }

  /// Wraps what libsodium's scalar arithmetic returned, which is always reduced.
  convenience init(reduced bytes: SecretBytes) { self.init(storage: bytes) }

  /// Draws a uniform non-zero scalar (64 random bytes reduced modulo l).
  package convenience init(using random: inout RandomStream) {
    while true {
      let wide = random.secret(64)
      let reduced = SecretBytes(count: 32) { output in
        wide.withBytes { wide in
          crypto_core_ristretto255_scalar_reduce(
            output.baseAddress!.assumingMemoryBound(to: UInt8.self),
            wide.baseAddress!.assumingMemoryBound(to: UInt8.self))
        }
      }
      guard !Scalar.isZero(reduced) else { continue }
      self.init(storage: reduced)
      return
    }
  }

  /// Reads 32 bytes; anything not below l is refused (zero is allowed: a share may be zero).
  package convenience init(canonical bytes: SecretBytes) throws(CryptographyError) {
    guard bytes.count == 32 else {
      throw .wrongLength(what: "scalar", expected: 32, actual: bytes.count)
    }
    // Adding zero reduces modulo l: only a canonical value stays the same.
    let reduced = Scalar.combine(bytes, SecretBytes(count: 32) { _ in }, crypto_core_ristretto255_scalar_add)
    guard reduced.constantTimeEquals(bytes) else { throw .nonCanonicalScalar }
    self.init(storage: bytes)
  }

  /// Reads 32 bytes from a message.
  package convenience init(canonical bytes: [UInt8]) throws(CryptographyError) {
    guard bytes.count == 32 else {
      throw .wrongLength(what: "scalar", expected: 32, actual: bytes.count)
    }
    try self.init(canonical: SecretBytes(copying: bytes))
  }

  /// A small public number as a scalar (x-coordinates of Shamir shares).
  package convenience init(_ value: UInt64) {
    self.init(
      storage: SecretBytes(count: 32) { $0.storeBytes(of: value.littleEndian, as: UInt64.self) })
  }

  /// The 32 bytes, as a secret.
  package var secretBytes: SecretBytes { storage }
  /// A copy of the 32 bytes for a sealed message.
  package func exportBytes() -> [UInt8] { storage.exportBytes() }
  /// Whether the scalar is zero.
  package var isZero: Bool { Scalar.isZero(storage) }

  /// Sum modulo l.
  package static func + (a: Scalar, b: Scalar) -> Scalar {
    Scalar(storage: combine(a.storage, b.storage, crypto_core_ristretto255_scalar_add))
  }
  /// Difference modulo l.
  package static func - (a: Scalar, b: Scalar) -> Scalar {
    Scalar(storage: combine(a.storage, b.storage, crypto_core_ristretto255_scalar_sub))
  }
  /// Product modulo l.
  package static func * (a: Scalar, b: Scalar) -> Scalar {
    Scalar(storage: combine(a.storage, b.storage, crypto_core_ristretto255_scalar_mul))
  }

  /// The inverse modulo l; zero has none.
  package func inverted() throws(CryptographyError) -> Scalar {
    var status: Int32 = -1
    let inverse = SecretBytes(count: 32) { output in
      storage.withBytes { bytes in
        status = crypto_core_ristretto255_scalar_invert(
          output.baseAddress!.assumingMemoryBound(to: UInt8.self),
          bytes.baseAddress!.assumingMemoryBound(to: UInt8.self))
      }
    }
    guard status == 0 else { throw .nonCanonicalScalar }
    return Scalar(storage: inverse)
  }

  /// Compares in constant time.
  package func constantTimeEquals(_ other: Scalar) -> Bool { storage.constantTimeEquals(other.storage) }

  package var description: String { "<secret scalar>" }

  private static func isZero(_ bytes: SecretBytes) -> Bool {
    bytes.withBytes { sodium_is_zero($0.baseAddress!.assumingMemoryBound(to: UInt8.self), 32) == 1 }
  }

  private static func combine(
    _ a: SecretBytes, _ b: SecretBytes,
    _ operation: (UnsafeMutablePointer<UInt8>, UnsafePointer<UInt8>, UnsafePointer<UInt8>) -> Void
  ) -> SecretBytes {
    SecretBytes(count: 32) { output in
      a.withBytes { a in
        b.withBytes { b in
          operation(
            output.baseAddress!.assumingMemoryBound(to: UInt8.self),
            a.baseAddress!.assumingMemoryBound(to: UInt8.self),
            b.baseAddress!.assumingMemoryBound(to: UInt8.self))
        }
      }
    }
  }
}
