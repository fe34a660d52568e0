import Cryptography
import Testing

struct KeyTests {
  private func bytes(_ hex: String) throws -> [UInt8] { try #require(Hex.decode(hex)) }

  /// RFC 8032, section 7.1, tests 1 to 3: seed, public key, message, signature.
  static let ed25519 = [
    (
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
        + "d25bf5f0595bbe24655141438e7a100b"
    ),
    (
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
        + "387b2eaeb4302aeeb00d291612bb0c00"
    ),
    (
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
        + "4a7c15e9716ed28dc027beceea1ec40a"
    ),
  ]

  @Test(arguments: ed25519)
  func `Ed25519 gives the signatures of RFC 8032 and refuses any change`(
    seed: String, publicKey: String, message: String, signature: String
  ) throws {
    let key = try SigningKey(seed: SecretBytes(copying: bytes(seed)))
    let message = try bytes(message)
    #expect(key.verifyingKey.hex == publicKey)
    #expect(key.sign(message).hex == signature)
    #expect(key.verifyingKey.verifies(try Signature(hex: signature), of: message))
    #expect(!key.verifyingKey.verifies(try Signature(hex: signature), of: message + [0]))
    for position in [0, 31, 32, 63] {
      var changed = try bytes(signature)
      changed[position] ^= 1
      #expect(!key.verifyingKey.verifies(try Signature(changed), of: message))
    }
    let other = try SigningKey(seed: SecretBytes(count: 32) { _ in })
    #expect(!other.verifyingKey.verifies(try Signature(hex: signature), of: message))
    #expect(key.exportSeed() == (try bytes(seed)))
  }

  @Test func `Ed25519 refuses signatures whose scalar is not reduced`() throws {
    // RFC 8032, 5.1.7: S must be below l. S + l verifies under a careless implementation.
    let (seed, _, _, signature) = KeyTests.ed25519[0]
    let key = try SigningKey(seed: SecretBytes(copying: bytes(seed)))
    var changed = try bytes(signature)
    let order = try bytes("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010")
    var carry = 0
    for index in 0..<32 {
      let sum = Int(changed[32 + index]) + Int(order[index]) + carry
      changed[32 + index] = UInt8(sum & 255)
      carry = sum >> 8
    }
    #expect(!key.verifyingKey.verifies(try Signature(changed), of: []))
  }

  @Test func `signatures are bound to their domain and parts`() {
    var random = RandomStream(testSeed: 1)
    let key = SigningKey(using: &random)
    let signature = key.sign(domain: "a", [[1], [2]])
    #expect(key.verifyingKey.verifies(signature, domain: "a", [[1], [2]]))
    #expect(!key.verifyingKey.verifies(signature, domain: "b", [[1], [2]]))
    #expect(!key.verifyingKey.verifies(signature, domain: "a", [[1, 2]]))
  }

  @Test func `a signing key's seed has 32 bytes`() {
    #expect(throws: CryptographyError.wrongLength(what: "Ed25519 seed", expected: 32, actual: 16)) {
      try SigningKey(seed: SecretBytes(count: 16) { _ in })
    }
  }

  @Test func `X25519 gives the known keys and both ends the same secret`() throws {
    // crypto_box_seed_keypair: the secret is the first half of SHA-512(seed); values computed from
    // RFC 7748, section 5, independently.
    let one = AgreementKey(seed: SecretBytes(copying: [UInt8](repeating: 1, count: 32)))
    let two = AgreementKey(seed: SecretBytes(copying: [UInt8](repeating: 2, count: 32)))
    #expect(one.publicKey.hex == "1b1b58dd50ea14b60da17b790cd02754d970c9bab864ebb3c0f3016fe51d3f57")
    #expect(two.publicKey.hex == "60346e7c911a5f6ba154129174cafe75b294ac3bbd5549632f48cec6266f8410")
    let shared = try one.sharedSecret(with: two.publicKey)
    #expect(
      Hex.encode(shared.exportBytes()) == "4181d7302557342bdb6d061c4b1eebea828ecb625c3368b7111680793307220b")
    #expect(try two.sharedSecret(with: one.publicKey).constantTimeEquals(shared))
  }

  /// All points of small order, canonical or not (https://cr.yp.to/ecdh.html).
  static let smallOrder = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  ]

  @Test(arguments: smallOrder)
  func `X25519 refuses points of small order`(point: String) throws {
    let key = AgreementKey(seed: SecretBytes(count: 32) { _ in })
    #expect(throws: CryptographyError.unusableKey(what: "X25519 public key")) {
      try key.sharedSecret(with: AgreementPublicKey(hex: point))
    }
  }

  @Test func `public keys have one encoding, the reduced one`() throws {
    func key(_ first: UInt8, _ middle: UInt8, _ last: UInt8) throws -> AgreementPublicKey {
      try AgreementPublicKey([first] + [UInt8](repeating: middle, count: 30) + [last])
    }
    for (first, middle, last) in [
      (0x00, 0x00, 0x00), (0x09, 0x00, 0x00), (0xec, 0xff, 0x7f), (0xff, 0xfe, 0x7f), (0xff, 0xff, 0x7e),
    ] as [(UInt8, UInt8, UInt8)] {
      #expect(try key(first, middle, last).isCanonical)
      #expect(try !key(first, middle, last | 0x80).isCanonical)
    }
    for first in UInt8(0xed)...0xff {
      #expect(try !key(first, 0xff, 0x7f).isCanonical)
      #expect(try !key(first, 0xff, 0xff).isCanonical)
    }
    // One byte in the middle that is not full.
    for position in 1..<31 {
      var bytes = [0xff] + [UInt8](repeating: 0xff, count: 30) + [0x7f]
      bytes[position] = 0xfe
      #expect(try AgreementPublicKey(bytes).isCanonical)
    }
    #expect(!AgreementPublicKey(unchecked: [UInt8](repeating: 0, count: 31)).isCanonical)
    #expect(!AgreementPublicKey(unchecked: []).isCanonical)
  }

  @Test func `the encodings that are refused stand for points that have another one`() throws {
    var random = RandomStream(testSeed: 3)
    for _ in 0..<20 {
      let own = AgreementKey(using: &random)
      let other = AgreementKey(using: &random).publicKey
      #expect(other.isCanonical)
      var bytes = other.bytes
      bytes[31] |= 0x80
      let twin = try AgreementPublicKey(bytes)
      #expect(!twin.isCanonical && twin != other)
      #expect(try own.sharedSecret(with: twin).exportBytes() == own.sharedSecret(with: other).exportBytes())
    }
    // 2^255 - 19 + 9 is the base point.
    let unreduced = try AgreementPublicKey([0xf6] + [UInt8](repeating: 0xff, count: 30) + [0x7f])
    let base = try AgreementPublicKey([9] + [UInt8](repeating: 0, count: 31))
    let own = AgreementKey(using: &random)
    #expect(
      try own.sharedSecret(with: unreduced).exportBytes() == own.sharedSecret(with: base).exportBytes())
    #expect(!unreduced.isCanonical && base.isCanonical)
  }
}
