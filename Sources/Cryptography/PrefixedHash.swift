import Crypto

/// SHA-256 of messages with the same beginning, from and into flat buffers: the beginning is hashed once, and no
/// message costs an allocation. For loops over millions of entries.
package struct PrefixedHash: Sendable {
  private let state: SHA256

  /// Hashes the common beginning.
  package init(_ prefix: [UInt8]) {
    var state = SHA256()
    state.update(data: prefix)
    self.state = state
  }

  /// SHA-256(beginning ‖ `bytes[range]`), written into `output` from byte `start` on; with `countFirst` the
  /// number of bytes as u64 LE stands before them (a frame of `Hash.framed`).
  package func hash(
    _ bytes: [UInt8], in range: Range<Int>, countFirst: Bool = false, to output: inout [UInt8], at start: Int
  ) {
    precondition(
      range.upperBound <= bytes.count && start >= 0 && start + 32 <= output.count, "outside the buffer")
    var hasher = state
    if countFirst {
      withUnsafeBytes(of: UInt64(range.count).littleEndian) { hasher.update(bufferPointer: $0) }
    }
    bytes.withUnsafeBytes { hasher.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[range])) }
    output.withUnsafeMutableBytes { output in
      let target = UnsafeMutableRawBufferPointer(rebasing: output[start...])
      hasher.finalize().withUnsafeBytes { target.copyMemory(from: $0) }
    }
  }
}
