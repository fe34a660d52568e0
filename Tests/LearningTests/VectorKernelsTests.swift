import Foundation
import Testing

@testable import Learning

@Suite struct VectorKernelsTests {
  private func sigmoid(_ x: Float) -> Float { VectorKernels.sigmoid(SIMD4(x, 0, -x, 1))[0] }

  @Test func `the logistic function is within four units in the last place`() {
    var worst = 0.0
    for step in -86_000...100_000 {
      let x = Float(step) / 1000
      let exact = 1 / (1 + exp(-Double(x)))
      worst = max(worst, abs(Double(sigmoid(x)) - exact) / exact)
    }
    #expect(worst < 0x1p-22)
  }

  @Test func `the logistic function has its limits and keeps NaN`() {
    #expect(sigmoid(0) == 0.5)
    #expect(sigmoid(.infinity) == 1 && sigmoid(1000) == 1)
    #expect(sigmoid(-.infinity) < 2e-38 && sigmoid(-1000) < 2e-38)
    #expect(sigmoid(.nan).isNaN)
  }

  @Test(arguments: [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 30, 31, 33])
  func `products with rows agree with plain loops and touch nothing else`(length: Int) {
    var noise = TestNoise(seed: UInt64(length))
    for count in [1, 2, 3, 4, 5, 10, 11] {
      let values = noise.floats(count * length)
      let weights = noise.floats(length)
      let factors = noise.floats(count)
      var results = [Float](repeating: 9, count: count + 1)
      // One value behind the end of the weights must stay.
      var sums = weights + [9]
      values.withUnsafeBufferPointer { values in
        let rows = (0..<count).map { values.baseAddress! + $0 * length }
        VectorKernels.products(
          rows: rows, count: count, length: length, weights: weights, bias: 0.5, into: &results)
        VectorKernels.addProducts(rows: rows, factors: factors, count: count, length: length, to: &sums)
      }
      for row in 0..<count {
        let exact = (0..<length).reduce(0.5) {
          $0 + Double(values[row * length + $1]) * Double(weights[$1])
        }
        #expect(abs(Double(results[row]) - exact) < 1e-5)
      }
      for index in 0..<length {
        let exact = (0..<count).reduce(Double(weights[index])) {
          $0 + Double(values[$1 * length + index]) * Double(factors[$1])
        }
        #expect(abs(Double(sums[index]) - exact) < 1e-5)
      }
      #expect(results[count] == 9 && sums[length] == 9)
    }
  }

  @Test(arguments: [1, 3, 4, 6, 9])
  func `the layer kernels agree with plain loops`(columns: Int) {
    var noise = TestNoise(seed: 5)
    let rows = 3
    let values = noise.floats(rows * columns)
    let bias = noise.floats(columns)
    let factors = noise.floats(rows)
    var rectified = values
    VectorKernels.addBias(bias, to: &rectified, rows: rows, columns: columns, rectify: true)
    var plain = values
    VectorKernels.addBias(bias, to: &plain, rows: rows, columns: columns, rectify: false)
    var gradient = values
    VectorKernels.rectifyGradient(&gradient, activations: rectified, count: rows * columns)
    var outer = values
    VectorKernels.rectifiedOuterProduct(
      factors: factors, vector: bias, activations: rectified, rows: rows, columns: columns, into: &outer)
    var sums = bias
    VectorKernels.addColumnSums(of: values, rows: rows, columns: columns, scale: -0.5, to: &sums)
    for index in values.indices {
      let sum = values[index] + bias[index % columns]
      #expect(plain[index] == sum && rectified[index] == max(sum, 0))
      #expect(gradient[index] == (sum > 0 ? values[index] : 0))
      #expect(outer[index] == (sum > 0 ? bias[index % columns] * factors[index / columns] : 0))
    }
    for column in 0..<columns {
      let sum = (0..<rows).reduce(Float(0)) { $0 + values[$1 * columns + column] }
      #expect(abs(sums[column] - (bias[column] - 0.5 * sum)) < 1e-6)
    }
  }

  @Test func `products in pieces agree with whole ones`() {
    var noise = TestNoise(seed: 8)
    let (m, n, k) = (10, 203, 530)
    let left = noise.floats(m * k)
    let right = noise.floats(k * n)
    var product = [Float](repeating: .nan, count: m * n)
    BLAS.multiply(left, right, into: &product, m: m, n: n, k: k)
    let transposed = (0..<n * k).map { right[$0 % k * n + $0 / k] }
    var second = [Float](repeating: .nan, count: m * n)
    BLAS.multiply(left, transposed: transposed, into: &second, m: m, n: n, k: k)
    var sum = right
    BLAS.add(transposed: left, product, to: &sum, m: k, n: n, k: m, scale: 0.01)
    var worst = 0.0
    for row in 0..<m {
      for column in 0..<n {
        let exact = (0..<k).reduce(0.0) { $0 + Double(left[row * k + $1]) * Double(right[$1 * n + column]) }
        worst = max(worst, abs(Double(product[row * n + column]) - exact))
        worst = max(worst, abs(Double(second[row * n + column]) - exact))
      }
    }
    #expect(worst < 2e-4)
    worst = 0
    for row in 0..<k {
      for column in 0..<n {
        let exact = (0..<m).reduce(Double(right[row * n + column])) {
          $0 + 0.01 * Double(left[$1 * k + row]) * Double(product[$1 * n + column])
        }
        worst = max(worst, abs(Double(sum[row * n + column]) - exact))
      }
    }
    #expect(worst < 1e-5)
  }
}
