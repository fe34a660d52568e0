import Cryptography
import Dispatch

/// One mask that is added to or subtracted from a vector.
struct Mask: Sendable {
  let stream: KeyStream
  let isAdded: Bool
}

/// The loop that costs the time: key streams are expanded chunk by chunk into 64 KiB of scratch memory
/// and added at once, every mask on the same chunk of the vector before the next chunk, so that scratch
/// and vector stay in cache. Chunks are independent and run on all cores.
enum MaskKernel {
  /// Words of one chunk.
  static let chunkWords = KeyStream.chunkBytes / 4
  /// Chunks that one piece of parallel work covers: enough to pay for its scratch memory.
  static let chunksPerPiece = 4

  /// Adds or subtracts all masks, modulo 2^32. Word i of a mask is the i-th little-endian 32-bit word of
  /// its key stream; a ring of b bits is obtained by reducing the result modulo 2^b.
  static func apply(_ masks: [Mask], to words: inout [UInt32]) {
    guard !masks.isEmpty else { return }
    words.withUnsafeMutableBufferPointer { words in
      // Safe to share: every piece writes its own range, and the loop returns before the pointer dies.
      nonisolated(unsafe) let words = words
      let pieceWords = chunkWords * chunksPerPiece
      let pieces = (words.count + pieceWords - 1) / pieceWords
      guard pieces > 1 else { return run(masks, piece: 0, of: words) }
      DispatchQueue.concurrentPerform(iterations: pieces) { run(masks, piece: $0, of: words) }
    }
  }

  private static func run(_ masks: [Mask], piece: Int, of words: UnsafeMutableBufferPointer<UInt32>) {
    // A `SecretBytes` as scratch: aligned, and wiped at the end.
    _ = SecretBytes(count: KeyStream.chunkBytes) { scratch in
      for chunk in piece * chunksPerPiece..<(piece + 1) * chunksPerPiece {
        let start = chunk * chunkWords
        guard start < words.count else { return }
        let count = min(chunkWords, words.count - start)
        let target = UnsafeMutableBufferPointer(rebasing: words[start..<start + count])
        let bytes = UnsafeMutableRawBufferPointer(rebasing: scratch[..<(count * 4)])
        for mask in masks {
          mask.stream.writeChunk(UInt32(chunk), into: bytes)
          combine(UnsafeRawBufferPointer(bytes), isAdded: mask.isAdded, into: target)
        }
      }
    }
  }

  @inline(__always)
  private static func combine(
    _ bytes: UnsafeRawBufferPointer, isAdded: Bool, into target: UnsafeMutableBufferPointer<UInt32>
  ) {
    guard let source = bytes.baseAddress?.assumingMemoryBound(to: UInt32.self),
      let target = target.baseAddress
    else { return }
    let count = bytes.count / 4
    if isAdded {
      for index in 0..<count { target[index] &+= UInt32(littleEndian: source[index]) }
    } else {
      for index in 0..<count { target[index] &-= UInt32(littleEndian: source[index]) }
    }
  }
}
