import CSodium
import Crypto
import CryptoExtras
import Foundation

/// The mask generator: a stream cipher under a 32-byte seed, cut into chunks of 64 KiB with the chunk
/// number in the nonce, so that chunks can be made in parallel, in any order, and stay in cache.
///
/// The nonce of chunk c has 12 bytes: c as 4 bytes, little endian, then 8 zero bytes. The chunk is the key
/// stream from block counter 0 on:
/// - `chacha20`: ChaCha20 as in RFC 8439, section 2.4, key = seed, 32-bit block counter 0;
/// - `aes256-ctr`: AES-256 in counter mode (NIST SP 800-38A, section 6.5), key = seed, initial counter
///   block = the nonce followed by a 32-bit big-endian block counter of 0.
package struct KeyStream: Sendable {
  /// Bytes of one chunk.
  package static let chunkBytes = 65_536
  /// How the stream is made.
  package let suite: KeyStreamSuite
  private let generator: Generator

  private enum Generator {
    case chacha20(SecretBytes)
    // Holds a copy of the seed; swift-crypto wipes it with the last reference.
    case aes256CTR(SymmetricKey)
  }

  /// The ChaCha20 stream of a 32-byte seed.
  package init(seed: SecretBytes) {
    KeyStream.check(seed)
    suite = .chacha20
    generator = .chacha20(seed)
  }

  /// The stream of a 32-byte seed.
  ///
  /// - Throws: `suiteUnavailable` where the processor has no instructions for the suite.
  package init(seed: SecretBytes, suite: KeyStreamSuite) throws(CryptographyError) {
    try self.init(seed: seed, suite: suite, isAvailable: suite.isAvailable)
  }

  /// The stream on a processor that has the suite or does not.
  init(seed: SecretBytes, suite: KeyStreamSuite, isAvailable: Bool) throws(CryptographyError) {
    KeyStream.check(seed)
    guard isAvailable else { throw .suiteUnavailable(suite) }
    self.suite = suite
    generator =
      switch suite {
      case .chacha20: .chacha20(seed)
      case .aes256CTR: .aes256CTR(KeyStream.symmetricKey(seed))
      }
  }

  private static func check(_ seed: SecretBytes) {
    precondition(seed.count == 32, "a key stream's seed has 32 bytes")
  }

  /// Writes the first `buffer.count` bytes (at most `chunkBytes`) of chunk `index`.
  package func writeChunk(_ index: UInt32, into buffer: UnsafeMutableRawBufferPointer) {
    withChunk(index, count: buffer.count, scratch: buffer) { bytes in
      // ChaCha20 has written in place.
      if bytes.baseAddress != UnsafeRawPointer(buffer.baseAddress) { buffer.copyMemory(from: bytes) }
    }
  }

  /// Lends the first `count` bytes (at most `chunkBytes`) of chunk `index` for the duration of `body`.
  ///
  /// ChaCha20 writes them into `scratch`, which the caller wipes after its last use. swift-crypto's AES
  /// returns memory of its own; it is lent without a copy and wiped here.
  @inline(__always)
  package func withChunk(
    _ index: UInt32, count: Int, scratch: UnsafeMutableRawBufferPointer,
    _ body: (UnsafeRawBufferPointer) -> Void
  ) {
    precondition(count <= KeyStream.chunkBytes, "a chunk has at most 64 KiB")
    precondition(count <= scratch.count, "scratch memory holds what is asked for")
    guard count > 0, let base = scratch.baseAddress else { return }
    switch generator {
    case .chacha20(let key):
      KeyStream.writeChaCha20(index, count: count, key: key, to: base)
      body(UnsafeRawBufferPointer(start: base, count: count))
    case .aes256CTR(let key):
      var bytes = KeyStream.aes256CTR(index, count: count, key: key)
      bytes.withUnsafeMutableBytes { bytes in
        body(UnsafeRawBufferPointer(bytes))
        if let base = bytes.baseAddress { sodium_memzero(base, bytes.count) }
      }
    }
  }

  private static func writeChaCha20(
    _ index: UInt32, count: Int, key: SecretBytes, to base: UnsafeMutableRawPointer
  ) {
    withUnsafeBytes(of: (index.littleEndian, UInt32(0), UInt32(0))) { nonce in
      key.withBytes { key in
        _ = crypto_stream_chacha20_ietf(
          base.assumingMemoryBound(to: UInt8.self), UInt64(count),
          nonce.baseAddress!.assumingMemoryBound(to: UInt8.self),
          key.baseAddress!.assumingMemoryBound(to: UInt8.self))
      }
    }
  }

  /// What is encrypted to see the key stream alone.
  private static let zeros = [UInt8](repeating: 0, count: chunkBytes)

  private static func aes256CTR(_ index: UInt32, count: Int, key: SymmetricKey) -> Data {
    withUnsafeBytes(of: (index.littleEndian, UInt32(0), UInt64(0))) {
      aes256CTR(initialCounter: $0, count: count, key: key)
    }
  }

  /// The first `count` bytes (at most `chunkBytes`) of the key stream from a counter block of 16 bytes on.
  static func aes256CTR(
    initialCounter: some Collection<UInt8>, count: Int, key: SymmetricKey
  ) -> Data {
    do {
      let nonce = try AES._CTR.Nonce(nonceBytes: initialCounter)
      return try zeros.withUnsafeBytes {
        try AES._CTR.encrypt(UnsafeRawBufferPointer(rebasing: $0[..<count]), using: key, nonce: nonce)
      }
    } catch {
      // Only for wrong lengths of key and counter block, which are constants here.
      preconditionFailure("AES-256-CTR takes a key of 32 bytes and a counter block of 16")
    }
  }

  /// A seed in the form that swift-crypto takes.
  static func symmetricKey(_ seed: SecretBytes) -> SymmetricKey {
    seed.withBytes { SymmetricKey(data: $0) }
  }
}
