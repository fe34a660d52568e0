import CSodium

/// The one place that starts libsodium. Every entry point of this module passes through `ready`:
/// without `sodium_init()` the library works but stays on its slow portable code (0.64 against
/// 2.4 GB/s of ChaCha20 measured).
enum Sodium {
  /// True once libsodium is initialised in this process.
  static let isReady: Bool = sodium_init() >= 0

  /// Stops the process if libsodium cannot start: nothing in Accord is safe without it.
  @inline(__always)
  static func ready() {
    precondition(isReady, "libsodium could not be initialised")
  }
}

/// What can be wrong with bytes handed to a cryptographic operation. Payloads are names and counts,
/// never the bytes.
package enum CryptographyError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A value has another length than its type asks for.
  case wrongLength(what: String, expected: Int, actual: Int)
  /// A public key is unusable: a small-order point or the all-zero key.
  case unusableKey(what: String)
  /// A scalar is not the canonical representative below the group order, or is zero.
  case nonCanonicalScalar
  /// A ciphertext, tag or stream was not made with this key, or was changed on the way.
  case authenticationFailed(what: String)
  /// A text is not the hexadecimal or base64 form that was expected.
  case malformedText(what: String)
  /// This processor has no instructions for the suite of key streams.
  case suiteUnavailable(KeyStreamSuite)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .wrongLength(let what, let expected, let actual):
      "\(what) must be \(expected) bytes long but is \(actual)"
    case .unusableKey(let what): "\(what) is not a usable public key"
    case .nonCanonicalScalar: "a scalar is zero or not in canonical form"
    case .authenticationFailed(let what):
      "\(what) failed authentication: it was changed on the way or made with another key"
    case .malformedText(let what): "\(what) is not correctly encoded"
    case .suiteUnavailable(let suite):
      "this processor has no instructions for the key-stream suite \(suite.rawValue); "
        + "use \(KeyStreamSuite.chacha20.rawValue)"
    }
  }
}
