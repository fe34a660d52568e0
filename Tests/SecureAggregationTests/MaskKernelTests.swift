import Cryptography
import Synchronization
import Testing

@testable import SecureAggregation

struct MaskKernelTests {
  static let suites = KeyStreamSuite.allCases.filter(\.isAvailable)

  private func masks(_ count: Int, suite: KeyStreamSuite) throws -> [Mask] {
    var random = RandomStream(testSeed: UInt64(count))
    return try (0..<count).map {
      Mask(stream: try KeyStream(seed: random.secret(32), suite: suite), isAdded: $0 % 3 != 1)
    }
  }

  private func vector(_ dimension: Int) -> [UInt32] {
    var random = RandomStream(testSeed: UInt64(dimension))
    return (0..<dimension).map { _ in UInt32(truncatingIfNeeded: random.word()) }
  }

  /// The documented words, byte by byte.
  private func reference(_ masks: [Mask], _ words: [UInt32], ringBits: Int) -> [UInt32] {
    let lane = ringBits == 16 ? 2 : 4
    let perChunk = 65_536 / lane
    let modulus = UInt64(1) << UInt64(ringBits)
    var result = words.map { UInt64($0) % modulus }
    var bytes = [UInt8](repeating: 0, count: 65_536)
    for mask in masks {
      for chunk in 0...(words.count - 1) / perChunk {
        bytes.withUnsafeMutableBytes { mask.stream.writeChunk(UInt32(chunk), into: $0) }
        for index in chunk * perChunk..<min((chunk + 1) * perChunk, words.count) {
          let offset = (index - chunk * perChunk) * lane
          var word: UInt64 = 0
          for byte in 0..<lane { word |= UInt64(bytes[offset + byte]) << UInt64(8 * byte) }
          word %= modulus
          result[index] = (result[index] + (mask.isAdded ? word : modulus - word)) % modulus
        }
      }
    }
    return result.map { UInt32($0) }
  }

  @Test(arguments: suites, RingWidth.all)
  func `the kernel adds the documented words at every dimension`(
    suite: KeyStreamSuite, ringBits: Int
  ) throws {
    let masks = try masks(4, suite: suite)
    for dimension in [1, 2, 3, 31, 1_001, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 70_001] {
      let before = vector(dimension)
      let expected = reference(masks, before, ringBits: ringBits)
      for workers in [nil, 1, 2, 64] {
        var words = before
        MaskKernel.apply(masks, to: &words, ringBits: ringBits, workers: workers)
        let areEqual = words == expected
        #expect(areEqual, "dimension \(dimension), workers \(workers ?? 0)")
      }
    }
  }

  @Test(arguments: suites, RingWidth.all)
  func `many masks on a short vector give the same sum on any number of workers`(
    suite: KeyStreamSuite, ringBits: Int
  ) throws {
    let masks = try masks(150, suite: suite)
    let before = vector(9_999)
    let expected = reference(masks, before, ringBits: ringBits)
    for workers in [nil, 1, 2, 3, 5, 8, 64] {
      var words = before
      MaskKernel.apply(masks, to: &words, ringBits: ringBits, workers: workers)
      let areEqual = words == expected
      #expect(areEqual, "workers \(workers ?? 0)")
    }
  }

  @Test(arguments: suites, [16, 32])
  func `masks split over two chunks and many workers give the same sum`(
    suite: KeyStreamSuite, ringBits: Int
  ) throws {
    let masks = try masks(40, suite: suite)
    let before = vector(33_001)
    let expected = reference(masks, before, ringBits: ringBits)
    for workers in [1, 2, 16] {
      var words = before
      MaskKernel.apply(masks, to: &words, ringBits: ringBits, workers: workers)
      let areEqual = words == expected
      #expect(areEqual, "workers \(workers)")
    }
  }

  @Test(arguments: RingWidth.all)
  func `batches give the sum of all masks`(ringBits: Int) throws {
    let masks = try masks(50, suite: .chacha20)
    var (whole, batched) = (vector(20_003), vector(20_003))
    MaskKernel.apply(masks, to: &whole, ringBits: ringBits)
    for start in stride(from: 0, to: masks.count, by: 7) {
      MaskKernel.apply(
        Array(masks[start..<min(start + 7, masks.count)]), to: &batched, ringBits: ringBits)
    }
    let areEqual = whole == batched
    #expect(areEqual)
  }

  @Test(arguments: RingWidth.all)
  func `masks that are added and subtracted cancel in the ring`(ringBits: Int) throws {
    let added = try masks(3, suite: .chacha20)
    let removed = added.map { Mask(stream: $0.stream, isAdded: !$0.isAdded) }
    let before = vector(40_000).map { $0 & RingWidth.mask(ringBits) }
    var words = before
    MaskKernel.apply(added, to: &words, ringBits: ringBits)
    let changed = zip(words, before).filter { $0 != $1 }.count
    #expect(changed > 39_900)
    MaskKernel.apply(removed, to: &words, ringBits: ringBits)
    let areEqual = words == before
    #expect(areEqual)
  }

  @Test func `no masks, or no words, leave the reduced vector`() throws {
    var words: [UInt32] = [0x12345, 0xFFFF_FFFF]
    MaskKernel.apply([], to: &words, ringBits: 16)
    #expect(words == [0x2345, 0xFFFF])
    var none: [UInt32] = []
    MaskKernel.apply(try masks(2, suite: .chacha20), to: &none, ringBits: 32)
    #expect(none.isEmpty)
  }

  @Test func `a plan hands out every byte of every mask once, and never more workers than work`() {
    for streamBytes in [1, 40_000, 65_536, 65_537, 400_000, 4_000_000] {
      for masks in [1, 7, 120, 1_000] {
        for workers in [nil, 1, 2, 3, 48, 64] {
          let plan = MaskPlan(streamBytes: streamBytes, masks: masks, workers: workers)
          let seen = Mutex([Int](repeating: 0, count: masks))
          plan.run { task, _ in
            seen.withLock { seen in
              for mask in task.masks { seen[mask] += task.chunk * KeyStream.chunkBytes + task.bytes }
            }
          }
          // The ends of all chunks, added up: 65,536 · (1 + 2 + …) and the end of the last.
          let full = plan.chunks - 1
          let ends = KeyStream.chunkBytes * full * (full + 1) / 2 + streamBytes
          let isComplete = seen.withLock { $0.allSatisfy { $0 == ends } }
          #expect(isComplete, "\(streamBytes) bytes, \(masks) masks, \(workers ?? 0) workers")
          #expect(plan.workers <= max(plan.chunks * plan.groups, 1))
          if let workers { #expect(plan.workers <= workers) }
          if workers == 1 { #expect(plan.groups == 1) }
        }
      }
    }
  }

  @Test func `short vectors are split by masks so that every core has work`() {
    #expect(MaskPlan(streamBytes: 40_000, masks: 200, workers: 2).groups == 8)
    #expect(MaskPlan(streamBytes: 40_000, masks: 200, workers: 16).workers == 14)
    #expect(MaskPlan(streamBytes: 400_000, masks: 1_000, workers: 64).workers == 64)
    #expect(MaskPlan(streamBytes: 4_000_000, masks: 120, workers: 2).groups == 1)
    #expect(MaskPlan(streamBytes: 4_000_000, masks: 120, workers: 64).workers == 64)
    #expect(MaskPlan(streamBytes: 4_000, masks: 3, workers: 64).workers == 1)
  }

  @Test func `the yardstick runs for every suite, and for nothing`() throws {
    for suite in Self.suites {
      try KeyStreamMeasure.expand(bytes: 100_001, masks: 3, suite: suite, workers: 2)
      try KeyStreamMeasure.expand(bytes: 0, masks: 0, suite: suite)
    }
  }
}
