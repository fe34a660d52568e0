import CSodium

/// Secret bytes: held outside the Swift heap's copies, wiped when the last reference goes, never
/// printed, never comparable with `==`.
package final class SecretBytes: CustomStringConvertible, CustomReflectable, Sendable {
  /// The number of bytes.
  package let count: Int
  // Written only during initialisation, so sharing between threads is sound.
  nonisolated(unsafe) private let storage: UnsafeMutableRawPointer

  /// Makes a secret of `count` bytes that `body` fills in.
  package init(count: Int, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
    Sodium.ready()
    precondition(count > 0, "a secret has at least one byte")
    self.count = count
    storage = .allocate(byteCount: count, alignment: 16)
    storage.initializeMemory(as: UInt8.self, repeating: 0, count: count)
    body(UnsafeMutableRawBufferPointer(start: storage, count: count))
  }

  /// Copies the bytes into a secret. The caller's array is not wiped: use it for bytes from a file.
  package convenience init(copying bytes: [UInt8]) {
    self.init(count: bytes.count) { $0.copyBytes(from: bytes) }
  }

  deinit {
    sodium_memzero(storage, count)
    storage.deallocate()
  }

  /// Lends the bytes for the duration of `body`.
  package func withBytes<Result, Failure: Error>(
    _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(start: storage, count: count))
  }

  /// A copy of the bytes in an ordinary array, for writing to a file of mode 0600 or into a sealed
  /// message. The copy is not wiped.
  package func exportBytes() -> [UInt8] { withBytes { Array($0) } }

  /// Compares in constant time.
  package func constantTimeEquals(_ other: SecretBytes) -> Bool {
    guard count == other.count else { return false }
    return sodium_memcmp(storage, other.storage, count) == 0
  }

  package var description: String { "<secret, \(count) bytes>" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// A deterministic source of random bytes: the ChaCha20 key stream of a 32-byte seed. Hosts make one
/// with `system()`; tests and simulations make one from a seed and can replay it.
package struct RandomStream: Sendable {
  private let key: SecretBytes
  private var counter: UInt64 = 0

  /// A stream that replays for the same seed.
  package init(seed: SecretBytes) {
    precondition(seed.count == 32, "a random stream's seed has 32 bytes")
    key = seed
  }

  /// A stream that replays for the same number: tests and simulations only.
  package init(testSeed: UInt64) {
    var bytes: [UInt8] = Array("accord test seed".utf8)
    withUnsafeBytes(of: testSeed.littleEndian) { bytes.append(contentsOf: $0) }
    key = SecretBytes(copying: Hash.blake2b(bytes).bytes)
  }

  /// A stream under a fresh key of the operating system's generator.
  package static func system() -> RandomStream {
    RandomStream(seed: SecretBytes(count: 32) { randombytes_buf($0.baseAddress!, $0.count) })
  }

  /// Fills the buffer with the next bytes of the stream.
  package mutating func fill(_ buffer: UnsafeMutableRawBufferPointer) {
    guard let base = buffer.baseAddress, buffer.count > 0 else { return }
    Sodium.ready()
    // One 96-bit nonce per call (and per 2^32 blocks of 64 bytes): no key stream is ever reused.
    var offset = 0
    while offset < buffer.count {
      let piece = min(buffer.count - offset, 1 << 30)
      var nonce: (UInt64, UInt32) = (counter.littleEndian, 0)
      counter += 1
      withUnsafeBytes(of: &nonce) { nonce in
        key.withBytes { key in
          _ = crypto_stream_chacha20_ietf(
            (base + offset).assumingMemoryBound(to: UInt8.self), UInt64(piece),
            nonce.baseAddress!.assumingMemoryBound(to: UInt8.self),
            key.baseAddress!.assumingMemoryBound(to: UInt8.self))
        }
      }
      offset += piece
    }
  }

  /// The next `count` bytes.
  package mutating func bytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      fill(UnsafeMutableRawBufferPointer(buffer))
      initialized = count
    }
  }

  /// The next `count` bytes as a secret.
  package mutating func secret(_ count: Int) -> SecretBytes {
    SecretBytes(count: count) { fill($0) }
  }

  /// The next 64-bit word.
  package mutating func word() -> UInt64 {
    var value: UInt64 = 0
    withUnsafeMutableBytes(of: &value) { fill($0) }
    return UInt64(littleEndian: value)
  }

  /// A uniform integer below `bound` (rejection sampling, no modulo bias).
  package mutating func uniform(below bound: UInt64) -> UInt64 {
    precondition(bound > 0, "the bound of a uniform draw is positive")
    let limit = UInt64.max - UInt64.max % bound
    while true {
      let draw = word()
      if draw < limit { return draw % bound }
    }
  }

  /// An independent stream, keyed by the next 32 bytes of this one.
  package mutating func fork() -> RandomStream { RandomStream(seed: secret(32)) }
}
