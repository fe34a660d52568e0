import Foundation
import Testing

@testable import Learning

@Suite struct SimulatedGaussianTests {
  private func numbers(
    _ count: Int, seed: UInt64 = 1, deviation: Float = 1, vector: Int = 0, first: Int = 0
  ) -> [Float] {
    var values = [Float](repeating: 0, count: count)
    values.withUnsafeMutableBufferPointer {
      SimulatedGaussian(seed: seed).fill($0, deviation: deviation, vector: vector, first: first)
    }
    return values
  }

  @Test func `the numbers follow the normal distribution`() {
    let count = 1 << 18
    let values = numbers(count).sorted().map(Double.init)
    // Kolmogorov and Smirnov: 1.95 / √n is exceeded once in a thousand seeds.
    let worst = values.enumerated().reduce(0.0) { worst, entry in
      let exact = 0.5 * erfc(-entry.element / 2.0.squareRoot())
      return max(
        worst, abs(exact - Double(entry.offset) / Double(count)),
        abs(exact - Double(entry.offset + 1) / Double(count)))
    }
    #expect(worst < 1.95 / Double(count).squareRoot())
    let outside = values.count { abs($0) > 4 }
    // 16.6 are expected, with a deviation of 4.1.
    #expect((3...33).contains(outside))
  }

  @Test func `the moments are the normal ones`() {
    let values = numbers(1 << 18, deviation: 3).map { Double($0) / 3 }
    let n = Double(values.count)
    func moment(_ power: Int) -> Double {
      values.reduce(0) { sum, value in sum + (0..<power).reduce(1) { product, _ in product * value } } / n
    }
    // Four standard deviations of the moments of a sample.
    #expect(abs(moment(1)) < 4 / n.squareRoot())
    #expect(abs(moment(2) - 1) < 4 * (2 / n).squareRoot())
    #expect(abs(moment(3)) < 4 * (15 / n).squareRoot())
    #expect(abs(moment(4) - 3) < 4 * (96 / n).squareRoot())
  }

  @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 16, 64, 1_024, 4_096])
  func `numbers at a distance are not correlated`(distance: Int) {
    let values = numbers(1 << 16)
    let n = Double(values.count - distance)
    var (sum, squares) = (0.0, 0.0)
    for index in 0..<values.count - distance {
      let (x, y) = (Double(values[index]), Double(values[index + distance]))
      sum += x * y
      squares += (x * x - 1) * (y * y - 1)
    }
    #expect(abs(sum / n) < 4.5 / n.squareRoot())
    #expect(abs(squares / n) < 4.5 * 2 / n.squareRoot())
  }

  @Test func `seeds, vectors and blocks have numbers of their own`() {
    let base = numbers(2_048)
    #expect(numbers(2_048) == base)
    for other in [numbers(2_048, seed: 2), numbers(2_048, vector: 1), numbers(2_048, first: 2_048)] {
      let equal = zip(base, other).count { $0 == $1 }
      #expect(equal < 4)
      let product = zip(base, other).reduce(0.0) { $0 + Double($1.0 * $1.1) } / 2_048
      #expect(abs(product) < 4.5 / 2_048.0.squareRoot())
    }
  }

  @Test func `a vector has the same numbers in one piece and in several`() {
    let whole = numbers(3_000, vector: 9)
    let parts = numbers(1_024, vector: 9) + numbers(1_976, vector: 9, first: 1_024)
    #expect(parts == whole)
    for count in [0, 1, 4, 5, 8, 15, 17, 1_025] {
      #expect(numbers(count, vector: 9) == Array(whole.prefix(count)))
    }
  }

  @Test func `logarithm, root, sine and cosine agree with the library's`() {
    for step in 1...20_000 {
      let x = Float(step) / 20_000
      let logarithm = VectorKernels.logarithm(of: SIMD4(repeating: x))[0]
      #expect(abs(Double(logarithm) - log(Double(x))) <= 3e-7 * max(abs(log(Double(x))), 1e-3))
      let root = VectorKernels.squareRoot(of: SIMD4(repeating: x * 45))[1]
      #expect(abs(root - (x * 45).squareRoot()) <= 4e-7 * root)
      let angle = (x * 2 - 1) * .pi / 4
      let (sine, cosine) = VectorKernels.sineAndCosine(of: SIMD4(repeating: angle))
      #expect(abs(Double(sine[2]) - sin(Double(angle))) < 1.5e-7)
      #expect(abs(Double(cosine[3]) - cos(Double(angle))) < 1.5e-7)
    }
    #expect(VectorKernels.squareRoot(of: .zero) == .zero)
    #expect(VectorKernels.logarithm(of: SIMD4(repeating: 0x1p-32))[0] == -22.180_71)
  }
}
