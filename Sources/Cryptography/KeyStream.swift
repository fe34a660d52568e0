import CSodium

/// The mask generator: ChaCha20 (IETF, RFC 8439) under a 32-byte seed, cut into chunks of 64 KiB with the
/// chunk number as nonce, so that chunks can be made in parallel, in any order, and stay in cache.
package struct KeyStream: Sendable {
  /// Bytes of one chunk.
  package static let chunkBytes = 65_536
  private let key: SecretBytes

  /// The stream of a 32-byte seed.
  package init(seed: SecretBytes) {
    precondition(seed.count == 32, "a key stream's seed has 32 bytes")
    key = seed
  }

  /// Writes the first `buffer.count` bytes (at most `chunkBytes`) of chunk `index`.
  package func writeChunk(_ index: UInt32, into buffer: UnsafeMutableRawBufferPointer) {
    Sodium.ready()
    precondition(buffer.count <= KeyStream.chunkBytes, "a chunk has at most 64 KiB")
    guard let base = buffer.baseAddress, buffer.count > 0 else { return }
    var nonce: (UInt32, UInt32, UInt32) = (index.littleEndian, 0, 0)
    withUnsafeBytes(of: &nonce) { nonce in
      key.withBytes { key in
        _ = crypto_stream_chacha20_ietf(
          base.assumingMemoryBound(to: UInt8.self), UInt64(buffer.count),
          nonce.baseAddress!.assumingMemoryBound(to: UInt8.self),
          key.baseAddress!.assumingMemoryBound(to: UInt8.self))
      }
    }
  }
}
