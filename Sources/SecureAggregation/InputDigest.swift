import Cryptography
import Dispatch

/// The digest of a packed vector of several megabytes, as the transcript holds it: a tree of two levels,
/// so that it can be computed while the bytes arrive, in a value type, and on all cores.
///
///     chunk c  = bytes 65,536·c ..< 65,536·(c+1), the last one shorter, at least one byte
///     leaf c   = BLAKE2b-256( frame("accord/secagg/1/input-chunk") ‖ chunk c )
///     digest   = BLAKE2b-256( frame("accord/secagg/1/input-digest") ‖ frame(n) ‖ frame(leaf 0 ‖ …) )
///
/// where frame(x) is the length of x as 8 bytes, little endian, then x, and n is the number of bytes as
/// 8 bytes, little endian. The domains keep leaves, digests and every other hash of the protocol apart,
/// and n fixes the shape of the tree, so a collision of digests is a collision of BLAKE2b-256.
struct InputDigest: Sendable {
  /// Bytes of one chunk.
  static let chunkBytes = 65_536
  /// Chunks that are worth waking other cores for (0.5 ms).
  private static let parallelChunks = 8
  private var leaves: [UInt8] = []

  /// The digest of bytes that are all there.
  static func digest(of bytes: [UInt8]) -> Digest {
    bytes.withUnsafeBytes { bytes in
      var hash = InputDigest()
      hash.absorb(completeChunksOf: bytes)
      return hash.digest(of: bytes)
    }
  }

  /// Hashes the complete chunks of `bytes` that were not hashed before.
  ///
  /// - Parameter bytes: all bytes so far; those that were passed before are unchanged.
  mutating func absorb(completeChunksOf bytes: UnsafeRawBufferPointer) {
    let known = leaves.count / 32
    let fresh = bytes.count / InputDigest.chunkBytes - known
    guard fresh > 0 else { return }
    guard fresh >= InputDigest.parallelChunks else {
      for chunk in known..<known + fresh { leaves += InputDigest.leaf(chunk, of: bytes) }
      return
    }
    leaves += [UInt8](unsafeUninitializedCapacity: fresh * 32) { buffer, initialized in
      // Safe to share: every chunk writes its own leaf, and the loop returns before the pointers die.
      nonisolated(unsafe) let target = UnsafeMutableRawBufferPointer(buffer)
      nonisolated(unsafe) let bytes = bytes
      DispatchQueue.concurrentPerform(iterations: fresh) { index in
        UnsafeMutableRawBufferPointer(rebasing: target[(index * 32)..<((index + 1) * 32)])
          .copyBytes(from: InputDigest.leaf(known + index, of: bytes))
      }
      initialized = fresh * 32
    }
  }

  /// The digest of `bytes`, of which every complete chunk was absorbed.
  func digest(of bytes: UnsafeRawBufferPointer) -> Digest {
    let complete = bytes.count / InputDigest.chunkBytes
    precondition(leaves.count == complete * 32, "every complete chunk was absorbed")
    let tail =
      bytes.count % InputDigest.chunkBytes == 0 ? [] : InputDigest.leaf(complete, of: bytes)
    return Hash.blake2b(
      domain: Domain.inputDigest, [Canonical.number(bytes.count), leaves + tail])
  }

  private static func leaf(_ chunk: Int, of bytes: UnsafeRawBufferPointer) -> [UInt8] {
    let start = chunk * chunkBytes
    let hash = StreamingHash(domain: Domain.inputChunk)
    hash.update(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + chunkBytes, bytes.count)]))
    return hash.finalize().bytes
  }
}
