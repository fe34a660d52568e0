import CSodium

/// How a key stream is made. The cohort of a session uses one suite; the session's descriptor names it.
package enum KeyStreamSuite: String, Sendable, CaseIterable {
  /// ChaCha20 (IETF, RFC 8439) of libsodium: fast and constant in time on every processor.
  case chacha20
  /// AES-256 in counter mode (NIST SP 800-38A) of swift-crypto: only where the processor has instructions
  /// for AES, where it is more than twice as fast.
  case aes256CTR = "aes256-ctr"

  /// Whether this processor runs the suite at full speed and in constant time. AES without processor
  /// instructions is refused: in software it is slow or leaks its key through the cache.
  package var isAvailable: Bool {
    switch self {
    case .chacha20: true
    case .aes256CTR: Sodium.hasAESInstructions
    }
  }

  /// The fastest suite among those of a list that this processor has; nil if there is none.
  package static func fastest(among suites: some Sequence<KeyStreamSuite>) -> KeyStreamSuite? {
    let available = suites.filter(\.isAvailable)
    return [.aes256CTR, .chacha20].first(where: available.contains)
  }
}

extension Sodium {
  /// Asked once, when libsodium starts. libsodium 1.0.18 knows the instructions of x86 only, so other
  /// processors answer no and keep ChaCha20.
  static let hasAESInstructions: Bool = isReady && sodium_runtime_has_aesni() == 1
}
