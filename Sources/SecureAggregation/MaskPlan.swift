package import Cryptography
import Dispatch
import Foundation
import Synchronization

/// How the expansion of many masks over one vector is cut into tasks and spread over cores.
///
/// A task is one chunk of the vector and a group of the masks. With at least `tasksPerWorker` chunks for
/// every worker there is one group, and a task adds straight to its own part of the vector. Short vectors
/// have fewer chunks than cores have work for: then the masks are split as well, every task sums its
/// group in its worker's memory, and adds that sum to the vector under the lock of the chunk.
struct MaskPlan: Sendable {
  /// One chunk of the vector and a group of the masks.
  struct Task: Sendable {
    /// The number of the chunk.
    let chunk: Int
    /// Bytes of key stream of each mask: `KeyStream.chunkBytes`, fewer in the last chunk.
    let bytes: Int
    /// Which masks.
    let masks: Range<Int>
  }

  /// Memory of one worker, wiped at the end.
  struct Scratch {
    /// Room for a chunk of key stream.
    let keyStream: UnsafeMutableRawBufferPointer
    /// Room for a chunk of sums.
    fileprivate let sums: UnsafeMutableRawBufferPointer

    /// The first `count` sums.
    func sum<Word: FixedWidthInteger>(of type: Word.Type, count: Int) -> UnsafeMutableBufferPointer<Word> {
      UnsafeMutableBufferPointer(rebasing: sums.assumingMemoryBound(to: type)[..<count])
    }
  }

  /// Tasks are handed out one by one; this many for each worker even out cores of unequal speed.
  static let tasksPerWorker = 4
  /// Key stream below which a task is not worth its overhead (75 µs at 7 GB/s).
  static let minimumTaskBytes = 524_288

  /// Bytes of key stream of each mask.
  let streamBytes: Int
  /// The number of masks.
  let masks: Int
  /// The number of chunks.
  let chunks: Int
  /// How many groups the masks are split into.
  let groups: Int
  /// How many threads work.
  let workers: Int
  private let locks: [ChunkLock]

  private final class ChunkLock: Sendable {
    let mutex = Mutex(())
  }

  /// Plans the expansion of `streamBytes` bytes of each of `masks` masks.
  init(streamBytes: Int, masks: Int, workers: Int?) {
    let allowed = max(workers ?? ProcessInfo.processInfo.activeProcessorCount, 1)
    self.streamBytes = streamBytes
    self.masks = masks
    chunks = (streamBytes + KeyStream.chunkBytes - 1) / KeyStream.chunkBytes
    let chunkBytes = min(streamBytes, KeyStream.chunkBytes)
    let smallestGroup = max((MaskPlan.minimumTaskBytes + chunkBytes - 1) / chunkBytes, 1)
    let wanted = allowed == 1 ? 1 : (allowed * MaskPlan.tasksPerWorker + chunks - 1) / chunks
    groups = max(min(wanted, masks / smallestGroup), 1)
    let worthwhile = max(streamBytes * masks / MaskPlan.minimumTaskBytes, 1)
    self.workers = min(allowed, chunks * groups, worthwhile)
    locks = groups == 1 ? [] : (0..<chunks).map { _ in ChunkLock() }
  }

  /// Runs all tasks and returns when the last is done.
  func run(_ body: @Sendable (Task, Scratch) -> Void) {
    let next = Atomic<Int>(0)
    guard workers > 1 else { return work(next, body) }
    DispatchQueue.concurrentPerform(iterations: workers) { _ in work(next, body) }
  }

  private func work(_ next: borrowing Atomic<Int>, _ body: (Task, Scratch) -> Void) {
    // A `SecretBytes` as scratch: outside the heap's copies, and wiped at the end.
    _ = SecretBytes(count: 2 * KeyStream.chunkBytes) { memory in
      let scratch = Scratch(
        keyStream: UnsafeMutableRawBufferPointer(rebasing: memory[..<KeyStream.chunkBytes]),
        sums: UnsafeMutableRawBufferPointer(rebasing: memory[KeyStream.chunkBytes...]))
      while true {
        let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
        guard number < chunks * groups else { return }
        body(task(number), scratch)
      }
    }
  }

  /// Consecutive tasks touch different chunks, so that their locks are rarely contended.
  private func task(_ number: Int) -> Task {
    let chunk = number % chunks
    let group = number / chunks
    return Task(
      chunk: chunk, bytes: min(KeyStream.chunkBytes, streamBytes - chunk * KeyStream.chunkBytes),
      masks: masks * group / groups..<masks * (group + 1) / groups)
  }

  /// Runs `body` while no other task of the same chunk is in it.
  func merging(_ task: Task, _ body: () -> Void) {
    guard groups > 1 else { return body() }
    locks[task.chunk].mutex.withLock { _ in body() }
  }
}

/// The yardstick of the masking step: the same key stream in the same chunks on the same cores, and
/// nothing else. It reads no clock; the caller times it.
package enum KeyStreamMeasure {
  /// Expands `bytes` bytes of each of `masks` key streams into scratch memory and discards them.
  ///
  /// - Parameter workers: how many threads may work; every core if nil.
  /// - Throws: `suiteUnavailable`.
  package static func expand(
    bytes: Int, masks: Int, suite: KeyStreamSuite, workers: Int? = nil
  ) throws(CryptographyError) {
    guard bytes > 0, masks > 0 else { return }
    var streams: [KeyStream] = []
    for number in 0..<masks {
      // Seeds of no secrecy, all different.
      let seed = SecretBytes(count: 32) { $0.storeBytes(of: UInt64(number), as: UInt64.self) }
      streams.append(try KeyStream(seed: seed, suite: suite))
    }
    let made = streams
    let plan = MaskPlan(streamBytes: bytes, masks: masks, workers: workers)
    plan.run { task, scratch in
      for stream in made[task.masks] {
        stream.withChunk(UInt32(task.chunk), count: task.bytes, scratch: scratch.keyStream) { _ in }
      }
    }
  }
}
