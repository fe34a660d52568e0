import Testing

@testable import Learning

@Suite struct ExactSumTests {
  private func add(_ vector: [Float], to sum: ExactSum) { vector.withUnsafeBufferPointer { sum.add($0) } }

  private func addClipped(_ vector: [Float], to sum: ExactSum, limit: Float) -> Float {
    vector.withUnsafeBufferPointer { sum.addClipped($0, to: limit) }
  }

  private func values(_ sum: ExactSum) -> [Double] { sum.integers.map(sum.value) }

  @Test(arguments: [1, 3, 4, 31, 130])
  func `the order and the grouping of additions change nothing`(count: Int) {
    var noise = TestNoise(seed: 3)
    let vectors = (0..<60).map { _ in noise.floats(count) }
    let forward = ExactSum(count: count, bound: 8)
    for vector in vectors { add(vector, to: forward) }
    let parts = (0..<3).map { _ in ExactSum(count: count, bound: 8) }
    for (index, vector) in vectors.enumerated().reversed() { add(vector, to: parts[index * 7 % 3]) }
    parts[2].add(parts[0])
    parts[2].add(parts[1])
    #expect(parts[2].integers == forward.integers)
    #expect(parts[2].added == 60 && parts[2].zeroed == 0)
    for index in 0..<count {
      let exact = vectors.reduce(0.0) { $0 + Double($1[index]) }
      #expect(abs(values(forward)[index] - exact) <= 60 * 1.9e-12 * 8)
    }
    forward.reset()
    #expect(forward.integers.allSatisfy { $0 == 0 } && forward.added == 0)
  }

  @Test func `values beyond the bound are cut off, broken vectors count as zeros`() {
    let sum = ExactSum(count: 6, bound: 2)
    add([1, 0.5, -0.5, 0.25, 0, 1], to: sum)
    let before = sum.integers
    for broken in [Float.nan, .infinity, -.infinity, -Float.nan] {
      for position in [0, 5] {
        var vector: [Float] = [1, 1, 1, 1, 1, 1]
        vector[position] = broken
        add(vector, to: sum)
        #expect(addClipped(vector, to: sum, limit: 1) == .infinity)
        #expect(sum.integers == before)
      }
    }
    #expect(sum.zeroed == 16 && sum.added == 17)
    add([7, -1e30, 2, 1, 0, -3e38], to: sum)
    #expect(values(sum) == [3, -1.5, 1.5, 1.25, 0, -1])
    #expect(sum.zeroed == 16)
  }

  @Test func `clipping while adding is clipping and then adding`() {
    var noise = TestNoise(seed: 4)
    for count in [1, 2, 5, 31, 64] {
      let fused = ExactSum(count: count, bound: 0.5)
      let plain = ExactSum(count: count, bound: 0.5)
      for length in [0.001, 0.1, 3, 1e20] as [Float] {
        var vector = noise.floats(count).map { $0 * length }
        let norm = addClipped(vector, to: fused, limit: 0.5)
        let other = vector.withUnsafeMutableBufferPointer { clipL2($0, to: 0.5) }
        #expect(norm == other)
        add(vector.map { min(max($0, -0.5), 0.5) }, to: plain)
      }
      let worst = zip(values(fused), values(plain)).reduce(0) { max($0, abs($1.0 - $1.1)) }
      #expect(worst < 1e-7)
    }
  }

  @Test(arguments: [1e-18, 1e-13, 1e-9, 1, 1e12, 1e18] as [Float])
  func `norms of long vectors are right at every size`(size: Float) {
    var noise = TestNoise(seed: 6)
    for count in [15, 16, 17, 255, 256, 257, 1003] {
      let vector = noise.floats(count).map { $0 * size }
      let sum = ExactSum(count: count, bound: 1)
      let norm = Double(addClipped(vector, to: sum, limit: 1))
      #expect(abs(norm / l2(vector) - 1) < 1e-6)
    }
  }

  @Test func `a clipped vector has the norm it was clipped to`() {
    let sum = ExactSum(count: 5, bound: 0.3)
    #expect(addClipped([3, 4, 0, 0, 0], to: sum, limit: 0.3) == 5)
    let norm = values(sum).reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(abs(norm - Double(Float(0.3))) < 1e-9)
  }

  @Test func `the largest sum of the largest values does not overflow`() {
    let sum = ExactSum(count: 2, bound: 1.5)
    add([1.5, -1.5], to: sum)
    let most = sum.integers.map { $0.multipliedReportingOverflow(by: Int64(ExactSum.maximumCount)) }
    #expect(most.allSatisfy { !$0.overflow })
  }
}
