import Cryptography

/// One mask that is added to or subtracted from a vector.
struct Mask: Sendable {
  let stream: KeyStream
  let isAdded: Bool
}

/// The loop that costs the time: key streams are expanded chunk by chunk and added at once, every mask of
/// a batch on the same chunk of the vector before the next chunk, so that key stream and sum stay in cache.
///
/// Word i of a mask, which other implementations have to match:
/// - ring of 16 bits: the i-th little-endian 16-bit word of the key stream, so that a chunk of 64 KiB holds
///   32,768 words and a mask costs half the key stream;
/// - rings of 20, 24 and 32 bits: the i-th little-endian 32-bit word of the key stream, 16,384 words to a
///   chunk, reduced modulo 2^b.
/// The vector is masked modulo 2^b.
enum MaskKernel {
  /// Bytes of key stream that one word of the ring takes.
  static func laneBytes(ringBits: Int) -> Int { ringBits == 16 ? 2 : 4 }

  /// Adds or subtracts all masks modulo 2^`ringBits`; every word is reduced afterwards, whatever it was.
  ///
  /// - Parameters:
  ///   - masks: any number. A session with more masks than fit in memory calls this batch by batch.
  ///   - words: the vector.
  ///   - ringBits: 16, 20, 24 or 32.
  ///   - workers: how many threads may work; every core if nil. With one, the calling thread does it all.
  static func apply(
    _ masks: [Mask], to words: inout [UInt32], ringBits: Int = 32, workers: Int? = nil
  ) {
    guard !masks.isEmpty, !words.isEmpty else { return RingKernel.reduce(&words, ringBits: ringBits) }
    let lane = laneBytes(ringBits: ringBits)
    let plan = MaskPlan(streamBytes: words.count * lane, masks: masks.count, workers: workers)
    words.withUnsafeMutableBufferPointer { words in
      // Safe to share: only the task that holds the lock of a chunk writes its words, and `run` returns
      // before the pointer dies.
      nonisolated(unsafe) let words = words
      plan.run { task, scratch in
        let first = task.chunk * (KeyStream.chunkBytes / lane)
        let count = task.bytes / lane
        let target = UnsafeMutableBufferPointer(rebasing: words[first..<first + count])
        let masks = masks[task.masks]
        if lane == 2 {
          let sum = scratch.sum(of: UInt16.self, count: count)
          expand(masks, task, scratch.keyStream, into: sum, clearing: true)
          plan.merging(task) { merge(UnsafeBufferPointer(sum), into: target, mask: 0xFFFF) }
        } else if plan.groups == 1 {
          expand(masks, task, scratch.keyStream, into: target, clearing: false)
          reduce(target, ringBits: ringBits)
        } else {
          let sum = scratch.sum(of: UInt32.self, count: count)
          expand(masks, task, scratch.keyStream, into: sum, clearing: true)
          plan.merging(task) {
            merge(UnsafeBufferPointer(sum), into: target, mask: RingWidth.mask(ringBits))
          }
        }
      }
    }
  }

  /// Adds the masks' part of one chunk to `sum`, which is first set to zero if `clearing`.
  @inline(__always)
  private static func expand<Word: FixedWidthInteger>(
    _ masks: ArraySlice<Mask>, _ task: MaskPlan.Task, _ keyStream: UnsafeMutableRawBufferPointer,
    into sum: UnsafeMutableBufferPointer<Word>, clearing: Bool
  ) {
    if clearing { sum.update(repeating: 0) }
    for mask in masks {
      mask.stream.withChunk(UInt32(task.chunk), count: task.bytes, scratch: keyStream) { bytes in
        let source = bytes.assumingMemoryBound(to: Word.self)
        if mask.isAdded { add(source, to: sum) } else { subtract(source, from: sum) }
      }
    }
  }

  @inline(__always)
  private static func add<Word: FixedWidthInteger>(
    _ source: UnsafeBufferPointer<Word>, to sum: UnsafeMutableBufferPointer<Word>
  ) {
    guard let source = source.baseAddress, let target = sum.baseAddress else { return }
    for index in 0..<sum.count { target[index] &+= Word(littleEndian: source[index]) }
  }

  @inline(__always)
  private static func subtract<Word: FixedWidthInteger>(
    _ source: UnsafeBufferPointer<Word>, from sum: UnsafeMutableBufferPointer<Word>
  ) {
    guard let source = source.baseAddress, let target = sum.baseAddress else { return }
    for index in 0..<sum.count { target[index] &-= Word(littleEndian: source[index]) }
  }

  @inline(__always)
  private static func merge<Word: FixedWidthInteger & UnsignedInteger>(
    _ source: UnsafeBufferPointer<Word>, into words: UnsafeMutableBufferPointer<UInt32>, mask: UInt32
  ) {
    guard let source = source.baseAddress, let target = words.baseAddress else { return }
    for index in 0..<words.count {
      target[index] = (target[index] &+ UInt32(truncatingIfNeeded: source[index])) & mask
    }
  }

  private static func reduce(_ words: UnsafeMutableBufferPointer<UInt32>, ringBits: Int) {
    guard ringBits < 32 else { return }
    let mask = RingWidth.mask(ringBits)
    for index in words.indices { words[index] &= mask }
  }
}
