import Cryptography
import Testing

struct HashTests {
  private let key = SecretBytes(copying: Array(0..<32))

  @Test func `BLAKE2b-256 gives the known answers`() {
    // RFC 7693's function at 32 bytes; values from Python's hashlib.
    #expect(Hash.blake2b([]).hex == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8")
    #expect(
      Hash.blake2b(Array("abc".utf8)).hex
        == "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319")
    #expect(
      Hash.blake2b(Array("abc".utf8), key: key).hex
        == "d63a32d3e44738d7907f964316c241adaba0abfeabc32349677578a15a203f7f")
    #expect(
      Hash.blake2b((0..<1_000_000).map { UInt8($0 % 251) }).hex
        == "9e5e2f2d303e7db6db30a3355a9a7def57785f58e04a95b22254b60ab9e9a51b")
  }

  @Test func `framing is the documented one and tells lists of parts apart`() {
    #expect(
      Hash.framed(domain: "d", [[97], [98, 99]])
        == [1, 0, 0, 0, 0, 0, 0, 0, 100, 1, 0, 0, 0, 0, 0, 0, 0, 97, 2, 0, 0, 0, 0, 0, 0, 0, 98, 99])
    #expect(
      Hash.blake2b(domain: "d", [[97], [98, 99]]).hex
        == "5fdc6bce53aae4659ae2b1701141910a93961bb875d5f99a433def8c3f827711")
    #expect(
      Hex.encode(Hash.derive(domain: "d", [[97], [98, 99]], key: key).exportBytes())
        == "7d2f628b161a7278a25dad5181b6d1630963877490ed293e8e28a1e9e8fd6834")
    let different: [Digest] = [
      Hash.blake2b(domain: "d", [[1, 2], [3]]), Hash.blake2b(domain: "d", [[1], [2, 3]]),
      Hash.blake2b(domain: "d", [[1, 2, 3]]), Hash.blake2b(domain: "d", [[1, 2, 3], []]),
      Hash.blake2b(domain: "e", [[1, 2], [3]]), Hash.blake2b(domain: "d", [[1, 2], [3]], key: key),
    ]
    #expect(Set(different).count == different.count)
  }

  @Test func `SHA-256 gives the known answers`() {
    let abc = Array("abc".utf8)
    #expect(
      Hash.sha256(abc).hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(Hash.sha256([]).hex == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    let prefixed = "1e18834c426d00e57788444cb3ccd62c771b420c095bb0c4e040a8c122c4570d"
    #expect(Hash.sha256(prefix: 1, abc).hex == prefixed)
    #expect(Hash.sha256(prefix: 1, [97], [98, 99]).hex == prefixed)
    #expect(Hash.sha256(prefix: 0, abc).hex != prefixed)
  }

  @Test func `streaming gives the same digest however the bytes are cut`() {
    let bytes = (0..<10_000).map { UInt8($0 % 253) }
    var digests: Set<Digest> = []
    for size in [1, 7, 64, 128, 129, 10_000] {
      let hash = StreamingHash(domain: "stream")
      for start in stride(from: 0, to: bytes.count, by: size) {
        hash.update(Array(bytes[start..<min(start + size, bytes.count)]))
      }
      digests.insert(hash.finalize())
    }
    #expect(digests == [Hash.blake2b(Hash.framed(domain: "stream", []) + bytes)])
  }

  @Test func `fixed-size values check their length and their text`() throws {
    #expect(throws: CryptographyError.wrongLength(what: "digest", expected: 32, actual: 31)) {
      try Digest([UInt8](repeating: 0, count: 31))
    }
    #expect(throws: CryptographyError.wrongLength(what: "Ed25519 signature", expected: 64, actual: 32)) {
      try Signature([UInt8](repeating: 0, count: 32))
    }
    #expect(throws: CryptographyError.malformedText(what: "digest")) { try Digest(hex: "zz") }
    #expect(throws: CryptographyError.malformedText(what: "digest")) { try Digest(hex: "abc") }
    let digest = Hash.blake2b([1])
    #expect(try Digest(hex: digest.hex.uppercased()) == digest)
    #expect(Hex.decode("00ffA5") == [0, 255, 165])
    #expect(Hex.encode([0, 255, 165]) == "00ffa5")
  }
}
