import Cryptography
import Testing

struct RandomAndSecretTests {
  @Test func `a random stream replays for the same seed and differs for another`() {
    func draws(_ seed: UInt64) -> [UInt8] {
      var random = RandomStream(testSeed: seed)
      let first = random.bytes(100)
      return first + random.bytes(3) + [UInt8(random.uniform(below: 200))] + random.secret(8).exportBytes()
    }
    #expect(draws(1) == draws(1))
    #expect(draws(1) != draws(2))
    var random = RandomStream(testSeed: 1)
    #expect(random.bytes(32) != random.bytes(32))
    var copy = random
    #expect(copy.word() == random.word())
    #expect(
      RandomAndSecretTests.word(RandomStream.system()) != RandomAndSecretTests.word(RandomStream.system()))
  }

  private static func word(_ stream: RandomStream) -> UInt64 {
    var stream = stream
    return stream.word()
  }

  @Test func `a fork is independent of what its parent draws later`() {
    var parent = RandomStream(testSeed: 3)
    var twin = RandomStream(testSeed: 3)
    var fork = parent.fork()
    var other = twin.fork()
    _ = parent.bytes(1_000)
    #expect(fork.bytes(16) == other.bytes(16))
    #expect(fork.bytes(16) != parent.bytes(16))
  }

  @Test(arguments: [1, 2, 3, 10, 1 << 32, (1 << 63) + 1, .max] as [UInt64])
  func `uniform draws stay below their bound`(bound: UInt64) {
    var random = RandomStream(testSeed: bound)
    for _ in 0..<500 { #expect(random.uniform(below: bound) < bound) }
  }

  @Test func `uniform draws hit every value about equally often`() {
    var random = RandomStream(testSeed: 5)
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<70_000 { counts[Int(random.uniform(below: 7))] += 1 }
    // Standard deviation 93: six of them.
    #expect(counts.allSatisfy { abs($0 - 10_000) < 560 })
  }

  @Test func `uniform draws have no modulo bias`() {
    // Below 3·2^62 a plain remainder would give the lowest third twice as often as the others.
    var random = RandomStream(testSeed: 6)
    var low = 0
    for _ in 0..<9_000 where random.uniform(below: 3 << 62) < 1 << 62 { low += 1 }
    #expect(abs(low - 3_000) < 270)
  }

  @Test func `secrets are not printed, dumped or compared by accident`() {
    var random = RandomStream(testSeed: 9)
    let secret = SecretBytes(copying: [0xDE, 0xAD, 0xBE, 0xEF])
    let things: [Any] = [
      secret, Scalar(using: &random), SigningKey(using: &random), AgreementKey(using: &random),
    ]
    var texts = [String(describing: secret), String(reflecting: secret), "\(secret)"]
    dump(secret, to: &texts[2])
    for text in texts {
      #expect(text.contains("secret, 4 bytes") || text.contains("SecretBytes"))
      for shown in ["dead", "222", "173", "0xde"] { #expect(!text.lowercased().contains(shown)) }
    }
    #expect("\(things[1])" == "<secret scalar>")
    #expect("\(things[2])".hasPrefix("<signing key of "))
    #expect("\(things[3])".hasPrefix("<agreement key of "))
    for thing in things.dropFirst() {
      var text = ""
      dump(thing, to: &text)
      #expect(!text.contains("0x"))
    }
    #expect(Mirror(reflecting: secret).children.isEmpty)
  }

  @Test func `secrets compare in constant time by content`() {
    let secret = SecretBytes(copying: [1, 2, 3])
    #expect(secret.constantTimeEquals(SecretBytes(copying: [1, 2, 3])))
    #expect(!secret.constantTimeEquals(SecretBytes(copying: [1, 2, 4])))
    #expect(!secret.constantTimeEquals(SecretBytes(copying: [1, 2])))
    #expect(secret.exportBytes() == [1, 2, 3])
    #expect(SecretBytes(count: 3) { _ in }.exportBytes() == [0, 0, 0])
  }

  @Test func `errors are sentences without bytes`() {
    let errors: [CryptographyError] = [
      .wrongLength(what: "scalar", expected: 32, actual: 31), .unusableKey(what: "key"), .nonCanonicalScalar,
      .authenticationFailed(what: "a ciphertext"), .malformedText(what: "digest"),
    ]
    #expect(Set(errors.map(\.description)).count == errors.count)
    #expect(errors.allSatisfy { $0.description.contains(" ") })
  }
}
