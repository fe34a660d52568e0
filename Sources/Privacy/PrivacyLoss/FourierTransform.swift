import Foundation

/// The discrete Fourier transform of complex sequences whose length is a power of two, in place, with the
/// spectrum in bit-reversed order: exactly what a convolution needs and no more.
///
/// Radix 4, decimation in frequency forward and in time backward, recursive, so that a block that fits the
/// cache is finished before the next one is touched. Real and imaginary parts lie apart: every inner loop
/// then runs over consecutive numbers, four at a time. This file is a kernel: pointers, no checks inside.
struct FourierTransform {
  /// The length, a power of two, at least 16.
  let count: Int
  /// e^(−2πik/m) for k < m/4, one table for each block length m = count, count/4, … ≥ 16, end to end.
  private let cosines: [Double]
  private let sines: [Double]

  /// `logCount`: log2 of the length, from 4 to 30 (a precondition).
  init(logCount: Int) {
    precondition((4...30).contains(logCount), "lengths from 16 to 2^30")
    count = 1 << logCount
    // e^(−2πik/N) from two tables of about √N: two roundings and no call per entry.
    let fineBits = logCount / 2
    func table(_ length: Int, _ step: Int) -> [(Double, Double)] {
      (0..<length).map {
        let angle = -2 * Double.pi * Double($0 * step) / Double(1 << logCount)
        return (cos(angle), sin(angle))
      }
    }
    let fine = table(1 << fineBits, 1)
    let coarse = table(1 << (logCount - fineBits), 1 << fineBits)
    var cosines: [Double] = []
    var sines: [Double] = []
    var length = count
    var stride = 1
    while length >= 16 {
      for k in 0..<(length / 4) {
        let index = k * stride
        let (a, b) = coarse[index >> fineBits]
        let (c, d) = fine[index & ((1 << fineBits) - 1)]
        cosines.append(a * c - b * d)
        sines.append(a * d + b * c)
      }
      length /= 4
      stride *= 4
    }
    self.cosines = cosines
    self.sines = sines
  }

  private typealias Pointer = UnsafeMutablePointer<Double>
  private typealias Vector = SIMD4<Double>

  /// Replaces a sequence by its spectrum X_f = Σ x_k e^(−2πikf/N), at position p the frequency whose bits
  /// are those of p reversed. Both arrays have `count` elements (a precondition).
  func forward(real: inout [Double], imaginary: inout [Double]) {
    precondition(real.count == count && imaginary.count == count)
    real.withUnsafeMutableBufferPointer { re in
      imaginary.withUnsafeMutableBufferPointer { im in
        cosines.withUnsafeBufferPointer { c in
          sines.withUnsafeBufferPointer { s in
            guard let re = re.baseAddress, let im = im.baseAddress, let c = c.baseAddress,
              let s = s.baseAddress
            else { return }
            Self.forward(re, im, count, c, s)
          }
        }
      }
    }
  }

  /// Replaces a spectrum in bit-reversed order by `count` times its sequence.
  func backward(real: inout [Double], imaginary: inout [Double]) {
    precondition(real.count == count && imaginary.count == count)
    real.withUnsafeMutableBufferPointer { re in
      imaginary.withUnsafeMutableBufferPointer { im in
        cosines.withUnsafeBufferPointer { c in
          sines.withUnsafeBufferPointer { s in
            guard let re = re.baseAddress, let im = im.baseAddress, let c = c.baseAddress,
              let s = s.baseAddress
            else { return }
            Self.backward(re, im, count, c, s)
          }
        }
      }
    }
  }

  @inline(__always)
  private static func load(_ pointer: UnsafePointer<Double>) -> Vector {
    UnsafeRawPointer(pointer).loadUnaligned(as: Vector.self)
  }

  @inline(__always)
  private static func store(_ vector: Vector, _ pointer: Pointer) {
    UnsafeMutableRawPointer(pointer).storeBytes(of: vector, as: Vector.self)
  }

  /// One block of `n` and, below it, its four quarters. `c`, `s`: the twiddles of this length and smaller.
  private static func forward(
    _ re: Pointer, _ im: Pointer, _ n: Int, _ c: UnsafePointer<Double>, _ s: UnsafePointer<Double>
  ) {
    guard n >= 16 else { return smallForward(re, im, n) }
    let m = n / 4
    var k = 0
    while k < m {
      let (p0, p1, p2, p3) = (re + k, re + k + m, re + k + 2 * m, re + k + 3 * m)
      let (q0, q1, q2, q3) = (im + k, im + k + m, im + k + 2 * m, im + k + 3 * m)
      let (a0, a1, a2, a3) = (load(p0), load(p1), load(p2), load(p3))
      let (b0, b1, b2, b3) = (load(q0), load(q1), load(q2), load(q3))
      let (c1, s1) = (load(c + k), load(s + k))
      let (c2, s2) = (c1 * c1 - s1 * s1, 2 * c1 * s1)
      let (c3, s3) = (c1 * c2 - s1 * s2, c1 * s2 + s1 * c2)
      let (t0, u0, t1, u1) = (a0 + a2, b0 + b2, a0 - a2, b0 - b2)
      // −i·(x₁ − x₃).
      let (t2, u2, t3, u3) = (a1 + a3, b1 + b3, b1 - b3, a3 - a1)
      let (x1, y1, x2, y2) = (t1 + t3, u1 + u3, t0 - t2, u0 - u2)
      let (x3, y3) = (t1 - t3, u1 - u3)
      store(t0 + t2, p0)
      store(u0 + u2, q0)
      // Frequencies 2 modulo 4 come before 1 modulo 4: the order of two radix-2 steps.
      store(x2 * c2 - y2 * s2, p1)
      store(x2 * s2 + y2 * c2, q1)
      store(x1 * c1 - y1 * s1, p2)
      store(x1 * s1 + y1 * c1, q2)
      store(x3 * c3 - y3 * s3, p3)
      store(x3 * s3 + y3 * c3, q3)
      k += 4
    }
    for quarter in 0..<4 { forward(re + quarter * m, im + quarter * m, m, c + m, s + m) }
  }

  /// The inverse of `forward` times `n`, block by block.
  private static func backward(
    _ re: Pointer, _ im: Pointer, _ n: Int, _ c: UnsafePointer<Double>, _ s: UnsafePointer<Double>
  ) {
    guard n >= 16 else { return smallBackward(re, im, n) }
    let m = n / 4
    for quarter in 0..<4 { backward(re + quarter * m, im + quarter * m, m, c + m, s + m) }
    var k = 0
    while k < m {
      let (p0, p1, p2, p3) = (re + k, re + k + m, re + k + 2 * m, re + k + 3 * m)
      let (q0, q1, q2, q3) = (im + k, im + k + m, im + k + 2 * m, im + k + 3 * m)
      let (c1, s1) = (load(c + k), load(s + k))
      let (c2, s2) = (c1 * c1 - s1 * s1, 2 * c1 * s1)
      let (c3, s3) = (c1 * c2 - s1 * s2, c1 * s2 + s1 * c2)
      let (f1, g1, f2, g2, f3, g3) = (load(p1), load(q1), load(p2), load(q2), load(p3), load(q3))
      let (a0, b0) = (load(p0), load(q0))
      // Times the conjugate twiddles.
      let (a2, b2) = (f1 * c2 + g1 * s2, g1 * c2 - f1 * s2)
      let (a1, b1) = (f2 * c1 + g2 * s1, g2 * c1 - f2 * s1)
      let (a3, b3) = (f3 * c3 + g3 * s3, g3 * c3 - f3 * s3)
      let (t0, u0, t1, u1) = (a0 + a2, b0 + b2, a0 - a2, b0 - b2)
      // i·(y₁ − y₃).
      let (t2, u2, t3, u3) = (a1 + a3, b1 + b3, b3 - b1, a1 - a3)
      store(t0 + t2, p0)
      store(u0 + u2, q0)
      store(t1 + t3, p1)
      store(u1 + u3, q1)
      store(t0 - t2, p2)
      store(u0 - u2, q2)
      store(t1 - t3, p3)
      store(u1 - u3, q3)
      k += 4
    }
  }

  /// Radix 2 for blocks of 4 and 8, where the twiddles are eighth roots of unity.
  private static func smallForward(_ re: Pointer, _ im: Pointer, _ n: Int) {
    guard n >= 2 else { return }
    let m = n / 2
    for k in 0..<m {
      let (x, y) = (re[k] - re[k + m], im[k] - im[k + m])
      re[k] += re[k + m]
      im[k] += im[k + m]
      let (c, s) = eighth(k * 8 / n)
      re[k + m] = x * c - y * s
      im[k + m] = x * s + y * c
    }
    smallForward(re, im, m)
    smallForward(re + m, im + m, m)
  }

  private static func smallBackward(_ re: Pointer, _ im: Pointer, _ n: Int) {
    guard n >= 2 else { return }
    let m = n / 2
    smallBackward(re, im, m)
    smallBackward(re + m, im + m, m)
    for k in 0..<m {
      let (c, s) = eighth(k * 8 / n)
      let (x, y) = (re[k + m] * c + im[k + m] * s, im[k + m] * c - re[k + m] * s)
      re[k + m] = re[k] - x
      im[k + m] = im[k] - y
      re[k] += x
      im[k] += y
    }
  }

  /// e^(−2πik/8) for k = 0 … 3.
  @inline(__always)
  private static func eighth(_ k: Int) -> (Double, Double) {
    let root = 0.5.squareRoot()
    switch k {
    case 0: return (1, 0)
    case 1: return (root, -root)
    case 2: return (0, -1)
    default: return (-root, -root)
    }
  }
}
