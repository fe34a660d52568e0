import Cryptography
import Testing

@testable import SecureAggregation

struct InputDigestTests {
  private func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 / 251) }
  }

  /// Made with hashlib of Python from the documented definition.
  @Test(arguments: [
    (1, "e8c63692360b6f98b62c3c4713b8451b5fa921499e87ef4dfddabe1ad7b884c0"),
    (65_536, "df2e1487239a196c0ad2f08c3d14e2e10a0cf1e42475f971726c0de5dc61bd3e"),
    (65_537, "4bfd03feac2ace003d31fc0fdebfd067119604410db3dec17192d5ee766f2f91"),
    (600_001, "c712f0a656cc8d8326a3007cbe8e0e47bf583dd2f873940f80df9c03f30ff281"),
  ])
  func `digests are those of the definition`(count: Int, digest: String) {
    #expect(Hex.encode(InputDigest.digest(of: bytes(count)).bytes) == digest)
  }

  @Test(arguments: [1, 65_535, 65_536, 65_537, 131_072, 700_000])
  func `the digest does not depend on how the bytes arrive`(count: Int) {
    let bytes = bytes(count)
    let whole = InputDigest.digest(of: bytes)
    for step in [1_000, 40_000, 65_536, 65_537, 200_000, 600_000] {
      var hash = InputDigest()
      bytes.withUnsafeBytes { buffer in
        for end in stride(from: step, to: count, by: step) {
          hash.absorb(completeChunksOf: UnsafeRawBufferPointer(rebasing: buffer[..<end]))
        }
        hash.absorb(completeChunksOf: buffer)
        #expect(hash.digest(of: buffer) == whole, "steps of \(step)")
      }
    }
  }

  /// The parallel branch does not start at the first chunk then.
  @Test(arguments: [65_536, 131_072, 200_000])
  func `many chunks after some that are known give the digest of the whole`(known: Int) {
    let bytes = bytes(700_000)
    var hash = InputDigest()
    bytes.withUnsafeBytes { buffer in
      hash.absorb(completeChunksOf: UnsafeRawBufferPointer(rebasing: buffer[..<known]))
      hash.absorb(completeChunksOf: buffer)
      #expect(hash.digest(of: buffer) == InputDigest.digest(of: bytes))
    }
    var other = bytes
    other[699_999] ^= 1
    #expect(other.withUnsafeBytes { hash.digest(of: $0) } != InputDigest.digest(of: bytes))
  }

  @Test func `a changed, missing, added or moved byte changes the digest`() {
    let original = bytes(200_000)
    var digests = [InputDigest.digest(of: original)]
    for position in [0, 65_535, 65_536, 199_999] {
      var changed = original
      changed[position] ^= 1
      digests.append(InputDigest.digest(of: changed))
    }
    digests.append(InputDigest.digest(of: original + [0]))
    digests.append(InputDigest.digest(of: original.dropLast()))
    digests.append(InputDigest.digest(of: Array(original[65_536...] + original[..<65_536])))
    digests.append(InputDigest.digest(of: []))
    #expect(Set(digests).count == digests.count)
  }

  @Test func `an upload has the digest of its bytes, and a copy of it stays what it was`() throws {
    let parameters = try Fixture.parameters(dimension: 50_000)
    let bytes = bytes(parameters.packedByteCount)
    var pending = PendingInput(parameters: parameters)
    for start in stride(from: 0, to: bytes.count, by: 50_001) {
      try pending.append(bytes[start..<min(start + 50_001, bytes.count)])
      let copy = pending
      #expect(copy.receivedByteCount == min(start + 50_001, bytes.count))
    }
    let input = try pending.finish()
    #expect(input.digest == InputDigest.digest(of: bytes))
    #expect(try pending.finish().digest == input.digest)
    let areEqual = input.packed == bytes
    #expect(areEqual)
  }
}
