import Crypto

/// SHA-256 over bytes that arrive in pieces, for files that memory does not hold.
package struct StreamingSHA256: Sendable {
  private var hasher = SHA256()

  /// Begins with no bytes.
  package init() {}

  /// Adds bytes.
  package mutating func update(_ bytes: [UInt8]) {
    bytes.withUnsafeBytes { hasher.update(bufferPointer: $0) }
  }

  /// The hash of all bytes so far.
  package func finalize() -> Digest { Digest(unchecked: Array(hasher.finalize())) }
}
