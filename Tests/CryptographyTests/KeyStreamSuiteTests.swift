import CSodium
import Foundation
import Testing

@testable import Cryptography

struct KeyStreamSuiteTests {
  private static let seed = SecretBytes(copying: Array(0..<32))
  static let available = KeyStreamSuite.allCases.filter(\.isAvailable)
  static let hasAES = KeyStreamSuite.aes256CTR.isAvailable

  private func chunk(_ stream: KeyStream, _ index: UInt32, count: Int = KeyStream.chunkBytes) -> [UInt8] {
    var bytes = [UInt8](repeating: 0xAA, count: count)
    bytes.withUnsafeMutableBytes { stream.writeChunk(index, into: $0) }
    return bytes
  }

  @Test func `suites have the names of the protocol`() {
    #expect(KeyStreamSuite.allCases.map(\.rawValue) == ["chacha20", "aes256-ctr"])
    #expect(KeyStreamSuite(rawValue: "aes-256-ctr") == nil)
  }

  @Test func `ChaCha20 is there on every processor and is the default`() {
    #expect(KeyStreamSuite.chacha20.isAvailable)
    #expect(KeyStream(seed: Self.seed).suite == .chacha20)
  }

  @Test func `the fastest common suite is one that the processor has`() {
    #expect(KeyStreamSuite.fastest(among: []) == nil)
    #expect(KeyStreamSuite.fastest(among: [.chacha20]) == .chacha20)
    #expect(KeyStreamSuite.fastest(among: [.aes256CTR]) == (Self.hasAES ? .aes256CTR : nil))
    #expect(KeyStreamSuite.fastest(among: KeyStreamSuite.allCases) == (Self.hasAES ? .aes256CTR : .chacha20))
  }

  @Test func `a suite without processor instructions is refused with a reason`() {
    let refusal = CryptographyError.suiteUnavailable(.aes256CTR)
    #expect(throws: refusal) {
      try KeyStream(seed: Self.seed, suite: .aes256CTR, isAvailable: false)
    }
    #expect(refusal.description.contains("aes256-ctr"))
    #expect(refusal.description.contains("use chacha20"))
  }

  @Test(.enabled(if: hasAES, "this processor has no AES instructions"))
  func `AES-256-CTR gives the vector of SP 800-38A, F.5.5`() throws {
    let key = try #require(Hex.decode("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"))
    let counter = try #require(Hex.decode("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
    let plain = try #require(
      Hex.decode(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
          + "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"))
    let cipher = try #require(
      Hex.decode(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
          + "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"))
    let stream = KeyStream.aes256CTR(
      initialCounter: counter, count: plain.count, key: KeyStream.symmetricKey(SecretBytes(copying: key)))
    #expect(Array(stream) == zip(plain, cipher).map { $0 ^ $1 })
  }

  @Test(.enabled(if: hasAES, "this processor has no AES instructions"))
  func `a chunk of AES-256-CTR has the bytes that OpenSSL makes`() throws {
    // openssl enc -aes-256-ctr -K 000102…1f -iv 04030201000000000000000000000000, of 65,536 zero bytes
    let bytes = chunk(try KeyStream(seed: Self.seed, suite: .aes256CTR), 0x0102_0304)
    #expect(
      Hex.encode(Array(bytes.prefix(32)))
        == "edc35a0b464236d88ef0b2f46476cb998e617e54c7b3199c9369d8332eb9b97c")
    #expect(Hex.encode(Array(bytes.suffix(16))) == "8dbe472cb694420862088ac641e0bd6e")
    #expect(
      Hex.encode(Hash.sha256(bytes).bytes)
        == "2d507afa075564d59eb49714e5751aa4ad31d1fc76c1523b04ba2c72322e0e35")
  }

  @Test(
    .enabled(if: hasAES, "this processor has no AES instructions"),
    arguments: [0, 1, 255, 256, 0x0102_0304, UInt32.max])
  func `libsodium's AES-256 agrees with swift-crypto's`(index: UInt32) throws {
    // In GCM with a nonce of 12 bytes, counter 1 is for the tag and the text starts at counter 2.
    let expected = chunk(try KeyStream(seed: Self.seed, suite: .aes256CTR), index).dropFirst(32)
    let nonce = withUnsafeBytes(of: index.littleEndian) { Array($0) } + [UInt8](repeating: 0, count: 8)
    var cipher = [UInt8](repeating: 0, count: expected.count)
    var tag = [UInt8](repeating: 0, count: 16)
    let zeros = cipher
    let status = Self.seed.withBytes { key in
      crypto_aead_aes256gcm_encrypt_detached(
        &cipher, &tag, nil, zeros, UInt64(zeros.count), nil, 0, nil, nonce,
        key.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    #expect(status == 0)
    let areEqual = cipher[...] == expected[...]
    #expect(areEqual)
  }

  @Test(arguments: available)
  func `chunks differ, and their beginnings do not depend on the length`(suite: KeyStreamSuite) throws {
    let stream = try KeyStream(seed: Self.seed, suite: suite)
    let whole = chunk(stream, 3)
    for count in [0, 1, 13, 14, 15, 16, 17, 63, 64, 65, 4_096, 65_535] {
      let areEqual = chunk(stream, 3, count: count) == Array(whole.prefix(count))
      #expect(areEqual, "\(count) bytes")
    }
    #expect(Set([0, 1, 2, 3, 256, 65_536, 1 << 24].map { chunk(stream, $0, count: 32) }).count == 7)
    // A counter that ran on from chunk to chunk would repeat the stream.
    #expect(chunk(stream, 4, count: 32) != Array(whole.suffix(32)))
    let other = try KeyStream(seed: SecretBytes(copying: [1] + Array(1..<32)), suite: suite)
    #expect(chunk(other, 3, count: 32) != Array(whole.prefix(32)))
  }

  @Test(arguments: available)
  func `lent chunks are those that are written`(suite: KeyStreamSuite) throws {
    let stream = try KeyStream(seed: Self.seed, suite: suite)
    var scratch = [UInt8](repeating: 0, count: KeyStream.chunkBytes)
    for count in [1, 16, 1_000, KeyStream.chunkBytes] {
      var lent: [UInt8] = []
      scratch.withUnsafeMutableBytes { scratch in
        stream.withChunk(9, count: count, scratch: scratch) { lent = Array($0) }
      }
      let areEqual = lent == chunk(stream, 9, count: count)
      #expect(areEqual, "\(count) bytes")
    }
  }

  @Test func `the suites are different streams`() throws {
    let streams = try Self.available.map { chunk(try KeyStream(seed: Self.seed, suite: $0), 0, count: 32) }
    #expect(Set(streams).count == Self.available.count)
  }

  @Test func `a streaming hash takes a buffer like an array`() {
    let bytes = (0..<1_000).map { UInt8(truncatingIfNeeded: $0) }
    let (array, buffer) = (StreamingHash(domain: "d"), StreamingHash(domain: "d"))
    array.update(bytes)
    bytes[..<300].withUnsafeBytes { buffer.update($0) }
    buffer.update(UnsafeRawBufferPointer(start: nil, count: 0))
    bytes[300...].withUnsafeBytes { buffer.update($0) }
    #expect(array.finalize() == buffer.finalize())
  }
}
