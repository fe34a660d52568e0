import CSodium

/// A long-term Ed25519 signing key (RFC 8032), kept as its 32-byte seed.
package final class SigningKey: CustomStringConvertible, Sendable {
  /// The public half.
  package let verifyingKey: VerifyingKey
  private let seed: SecretBytes
  private let secret: SecretBytes

  /// Derives the key pair from its seed (32 bytes).
  package convenience init(seed: SecretBytes) throws(CryptographyError) {
    guard seed.count == 32 else {
      throw .wrongLength(what: "Ed25519 seed", expected: 32, actual: seed.count)
    }
    self.init(checkedSeed: seed)
  }

  /// Draws a new key.
  package convenience init(using random: inout RandomStream) {
    self.init(checkedSeed: random.secret(32))
  }

  private init(checkedSeed seed: SecretBytes) {
    Sodium.ready()
    var publicBytes = [UInt8](repeating: 0, count: 32)
    secret = SecretBytes(count: 64) { secret in
      seed.withBytes { seed in
        _ = crypto_sign_seed_keypair(
          &publicBytes, secret.baseAddress!.assumingMemoryBound(to: UInt8.self),
          seed.baseAddress!.assumingMemoryBound(to: UInt8.self))
      }
    }
    self.seed = seed
    verifyingKey = VerifyingKey(unchecked: publicBytes)
  }

  /// Signs a message, deterministically.
  package func sign(_ message: [UInt8]) -> Signature {
    var output = [UInt8](repeating: 0, count: 64)
    secret.withBytes { secret in
      _ = crypto_sign_detached(
        &output, nil, message, UInt64(message.count),
        secret.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    return Signature(unchecked: output)
  }

  /// Signs a domain name and parts (`Hash.framed`).
  package func sign(domain: String, _ parts: [[UInt8]]) -> Signature {
    sign(Hash.framed(domain: domain, parts))
  }

  /// The seed, for a key file of mode 0600.
  package func exportSeed() -> [UInt8] { seed.exportBytes() }

  package var description: String { "<signing key of \(verifyingKey.hex.prefix(16))…>" }
}

extension VerifyingKey {
  /// Whether the signature over the message was made with this key.
  package func verifies(_ signature: Signature, of message: [UInt8]) -> Bool {
    Sodium.ready()
    return crypto_sign_verify_detached(signature.bytes, message, UInt64(message.count), bytes) == 0
  }

  /// Whether the signature over a domain name and parts was made with this key.
  package func verifies(_ signature: Signature, domain: String, _ parts: [[UInt8]]) -> Bool {
    verifies(signature, of: Hash.framed(domain: domain, parts))
  }
}

/// An X25519 key pair (RFC 7748).
package final class AgreementKey: CustomStringConvertible, Sendable {
  /// The public half.
  package let publicKey: AgreementPublicKey
  fileprivate let secret: SecretBytes

  /// Derives the pair from a 32-byte seed (`crypto_box_seed_keypair`).
  package init(seed: SecretBytes) {
    Sodium.ready()
    precondition(seed.count == 32, "a key pair's seed has 32 bytes")
    var publicBytes = [UInt8](repeating: 0, count: 32)
    secret = SecretBytes(count: 32) { secret in
      seed.withBytes { seed in
        _ = crypto_box_seed_keypair(
          &publicBytes, secret.baseAddress!.assumingMemoryBound(to: UInt8.self),
          seed.baseAddress!.assumingMemoryBound(to: UInt8.self))
      }
    }
    publicKey = AgreementPublicKey(unchecked: publicBytes)
  }

  /// Draws a new pair.
  package convenience init(using random: inout RandomStream) { self.init(seed: random.secret(32)) }

  /// X25519 with another party's public key. Small-order points, which would give everybody the same
  /// secret, are refused.
  package func sharedSecret(with other: AgreementPublicKey) throws(CryptographyError) -> SecretBytes {
    var status: Int32 = -1
    let shared = SecretBytes(count: 32) { output in
      secret.withBytes { secret in
        status = crypto_scalarmult(
          output.baseAddress!.assumingMemoryBound(to: UInt8.self),
          secret.baseAddress!.assumingMemoryBound(to: UInt8.self), other.bytes)
      }
    }
    guard status == 0 else { throw .unusableKey(what: AgreementPublicKey.label) }
    return shared
  }

  /// Opens a box that was sealed to this key's public half.
  package func open(sealed: [UInt8]) throws(CryptographyError) -> [UInt8] {
    guard sealed.count >= SealedBox.overhead else { throw .authenticationFailed(what: "a sealed box") }
    var output = [UInt8](repeating: 0, count: sealed.count - SealedBox.overhead)
    let status = secret.withBytes { secret in
      crypto_box_seal_open(
        &output, sealed, UInt64(sealed.count), publicKey.bytes,
        secret.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    guard status == 0 else { throw .authenticationFailed(what: "a sealed box") }
    return output
  }

  package var description: String { "<agreement key of \(publicKey.hex.prefix(16))…>" }
}

extension AgreementPublicKey {
  /// Whether the key is the only encoding of its point that protocols accept: a number below 2^255 - 19
  /// (RFC 7748, section 5, ignores the top bit and reduces the rest, so other bytes stand for the same
  /// point and would pass for another key).
  package var isCanonical: Bool {
    guard bytes.count == AgreementPublicKey.byteCount, bytes[31] <= 0x7f else { return false }
    return bytes[31] < 0x7f || bytes[1..<31].contains { $0 != 0xff } || bytes[0] < 0xed
  }
}

/// Anonymous public-key boxes (`crypto_box_seal`: X25519, XSalsa20-Poly1305).
package enum SealedBox {
  /// How many bytes longer a sealed message is.
  package static let overhead = crypto_box_sealbytes()

  /// Seals bytes to a public key.
  package static func seal(_ message: [UInt8], to key: AgreementPublicKey) throws(CryptographyError)
    -> [UInt8]
  {
    Sodium.ready()
    var output = [UInt8](repeating: 0, count: message.count + overhead)
    guard crypto_box_seal(&output, message, UInt64(message.count), key.bytes) == 0 else {
      throw .unusableKey(what: AgreementPublicKey.label)
    }
    return output
  }
}

/// Authenticated encryption with a fresh key per message: XChaCha20-Poly1305 (IETF).
package enum AEAD {
  /// How many bytes longer a ciphertext is: nonce (24) and tag (16).
  package static let overhead = 40

  /// Encrypts; the random nonce stands in front of the ciphertext.
  package static func seal(
    _ message: [UInt8], key: SecretBytes, additionalData: [UInt8], using random: inout RandomStream
  ) -> [UInt8] {
    Sodium.ready()
    precondition(key.count == 32, "an AEAD key has 32 bytes")
    let nonce = random.bytes(24)
    var output = [UInt8](repeating: 0, count: message.count + 16)
    key.withBytes { key in
      _ = crypto_aead_xchacha20poly1305_ietf_encrypt(
        &output, nil, message, UInt64(message.count), additionalData, UInt64(additionalData.count), nil,
        nonce, key.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    return nonce + output
  }

  /// Decrypts what `seal` made.
  package static func open(
    _ sealed: [UInt8], key: SecretBytes, additionalData: [UInt8]
  ) throws(CryptographyError) -> [UInt8] {
    Sodium.ready()
    precondition(key.count == 32, "an AEAD key has 32 bytes")
    guard sealed.count >= overhead else { throw .authenticationFailed(what: "a ciphertext") }
    let nonce = Array(sealed[..<24])
    let body = Array(sealed[24...])
    var output = [UInt8](repeating: 0, count: body.count - 16)
    let status = key.withBytes { key in
      crypto_aead_xchacha20poly1305_ietf_decrypt(
        &output, nil, nil, body, UInt64(body.count), additionalData, UInt64(additionalData.count), nonce,
        key.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    guard status == 0 else { throw .authenticationFailed(what: "a ciphertext") }
    return output
  }
}
