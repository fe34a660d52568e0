import Foundation

/// Composes releases: the distribution of the sum of their losses, in both directions.
enum LossComposition {
  /// The step of the grid unless the range of losses asks for a finer or a coarser one.
  static let step = 1e-4
  /// log2 of the fewest and of the most grid points. A small range gets a finer grid for nothing; one of
  /// more than 2^18 steps gets a coarser one, which only adds to the result.
  private static let logPoints = 16...18

  /// Beyond this loss nobody asks, and numbers of grid points stay far from the limits of integers.
  private static let largestLoss = 1e6

  /// The composed losses of `releases` (at least one, a precondition), with the unit present and, where
  /// that differs, absent; nil if the losses are too large for any grid, where nothing useful is proved.
  static func compose(_ releases: [LossRelease]) -> [ComposedLoss]? {
    precondition(!releases.isEmpty)
    let outlines = releases.map { $0.outline() }
    var window = LossWindow(releases, outlines: outlines, step: 0)
    var logCount = logPoints.lowerBound
    while logCount < logPoints.upperBound, window.width / step > Double(1 << logCount) - 64 {
      logCount += 1
    }
    let points = Double(1 << logCount) - 64
    let ranges = releases.map(\.range)
    let longest = ranges.map { $0.upperBound - $0.lowerBound }.max() ?? 0
    guard window.width.isFinite, longest < largestLoss else { return nil }
    // One release may have rare losses far outside the window of the sum.
    var grid = max(window.width * 1.001, 1e-9, longest / 16) / points
    if releases.reduce(0.0, { $0 + Double($1.count) }) == 1 { return single(releases[0], step: grid) }
    // The grid widens the window a little, which widens the grid; a few rounds settle it.
    for _ in 0..<40 {
      window = LossWindow(releases, outlines: outlines, step: grid)
      guard window.width.isFinite, window.largestMagnitude < largestLoss else { return nil }
      if window.width <= points * grid {
        return convolve(releases, window: window, step: grid, logCount: logCount)
      }
      grid = max(grid * 1.02, window.width / points * 1.001)
    }
    return nil
  }

  /// One release needs no transform.
  private static func single(_ release: LossRelease, step: Double) -> [ComposedLoss] {
    let grids = release.grid(step: step)
    return [grids.present, grids.absent].compactMap { grid in
      grid.map {
        ComposedLoss(
          step: step, first: $0.first, masses: $0.masses, infinity: $0.infinity,
          allowance: Double.ulpOfOne * 16)
      }
    }
  }

  private static func convolve(
    _ releases: [LossRelease], window: LossWindow, step: Double, logCount: Int
  ) -> [ComposedLoss] {
    let transform = FourierTransform(logCount: logCount)
    let count = transform.count
    let isSymmetric = releases.allSatisfy(\.isSymmetric)
    // One complex sequence holds both directions: present in the real part, absent in the imaginary one.
    // The transform of the neutral element, a unit mass at 0 in each.
    var product = SpectrumPair(
      real: [Double](repeating: 1, count: count),
      imaginary: [Double](repeating: isSymmetric ? 0 : 1, count: count))
    var infinity = (present: 0.0, absent: 0.0)
    var total = 0.0
    for release in releases {
      let grids = release.grid(step: step)
      var factor = SpectrumPair(count: count)
      factor.real.scatter(grids.present)
      let times = Double(release.count)
      infinity.present += times * grids.present.infinity
      if let absent = grids.absent {
        factor.imaginary.scatter(absent)
        infinity.absent += times * absent.infinity
      } else if !isSymmetric {
        factor.imaginary.scatter(grids.present)
        infinity.absent += times * grids.present.infinity
      }
      transform.forward(real: &factor.real, imaginary: &factor.imaginary)
      product.multiply(byPower: release.count, of: factor)
      total += times
    }
    transform.backward(real: &product.real, imaginary: &product.imaginary)
    let tail = exp(LossWindow.logTail)
    let allowance = Self.allowance(releases: total, logCount: logCount)
    func composed(_ cyclic: [Double], from lowest: Double, infinity: Double) -> ComposedLoss {
      let first = Int((lowest / step).rounded(.down)) - 16
      let scale = 1 / Double(count)
      // A sum beyond the upper end comes round at the lower one, where it counts for less: hence the tail.
      // One below the lower end comes round at the upper one, where it counts for more.
      let masses = (0..<count).map { max(0, cyclic[(first + $0) & (count - 1)] * scale) }
      return ComposedLoss(
        step: step, first: first, masses: masses, infinity: infinity + tail, allowance: allowance)
    }
    let present = composed(product.real, from: window.present.lowerBound, infinity: infinity.present)
    guard !isSymmetric else { return [present] }
    return [
      present, composed(product.imaginary, from: window.absent.lowerBound, infinity: infinity.absent),
    ]
  }

  /// What rounding may have taken from a divergence: each of the coefficients that count errs by a few units
  /// in the last place per level of the transform, raising it to a power multiplies that by the number of
  /// releases, and a divergence is a sum with weights of at most 1. An allowance, not a proof: tests hold
  /// composed Gaussians and randomized response above their closed forms.
  private static func allowance(releases: Double, logCount: Int) -> Double {
    0x1p-52 * Double(logCount) * (releases + 16)
  }
}

extension [Double] {
  /// Adds the masses of a grid at their places modulo the length, a power of two.
  fileprivate mutating func scatter(_ grid: LossGrid) {
    for (index, mass) in grid.masses.enumerated() { self[(grid.first + index) & (count - 1)] += mass }
  }
}

/// The transforms of two real sequences, as that of the complex one that they make up, in bit-reversed
/// order.
///
/// With X the transform, that of the real part at f is (X_f + X̄_−f)/2 and that of the imaginary part
/// (X_f − X̄_−f)/2i. In bit-reversed order −f stands, within a block from 2^m to 2^(m+1), where f would stand
/// counted from the other end.
struct SpectrumPair {
  var real: [Double]
  var imaginary: [Double]

  init(real: [Double], imaginary: [Double]) {
    self.real = real
    self.imaginary = imaginary
  }

  init(count: Int) {
    self.init(real: [Double](repeating: 0, count: count), imaginary: [Double](repeating: 0, count: count))
  }

  /// Multiplies both transforms with the `power`th powers of those of `factor`.
  mutating func multiply(byPower power: Int, of factor: SpectrumPair) {
    let count = real.count
    real.withUnsafeMutableBufferPointer { re in
      imaginary.withUnsafeMutableBufferPointer { im in
        factor.real.withUnsafeBufferPointer { factorRe in
          factor.imaginary.withUnsafeBufferPointer { factorIm in
            for position in 0..<2 where position < count {
              Self.combine(re, im, factorRe, factorIm, power, position, position)
            }
            var block = 2
            while block < count {
              for offset in 0..<(block / 2) {
                Self.combine(
                  re, im, factorRe, factorIm, power, block + offset, 2 * block - 1 - offset)
              }
              block *= 2
            }
          }
        }
      }
    }
  }

  /// One frequency and its negative.
  @inline(__always)
  private static func combine(
    _ re: UnsafeMutableBufferPointer<Double>, _ im: UnsafeMutableBufferPointer<Double>,
    _ factorRe: UnsafeBufferPointer<Double>, _ factorIm: UnsafeBufferPointer<Double>, _ power: Int,
    _ f: Int, _ negative: Int
  ) {
    let total = unpack((re[f], im[f]), (re[negative], im[negative]))
    var base = unpack((factorRe[f], factorIm[f]), (factorRe[negative], factorIm[negative]))
    var result = total
    var rest = power
    while true {
      if rest & 1 == 1 { result = multiply(result, base) }
      rest >>= 1
      if rest == 0 { break }
      base = multiply(base, base)
    }
    // R + iA at f, R̄ + iĀ at −f.
    re[f] = result.re[0] - result.im[1]
    im[f] = result.im[0] + result.re[1]
    re[negative] = result.re[0] + result.im[1]
    im[negative] = result.re[1] - result.im[0]
  }

  /// Two complex numbers, those of the real and of the imaginary part.
  private typealias Two = (re: SIMD2<Double>, im: SIMD2<Double>)

  @inline(__always)
  private static func unpack(_ x: (Double, Double), _ y: (Double, Double)) -> Two {
    (
      SIMD2((x.0 + y.0) / 2, (x.1 + y.1) / 2),
      SIMD2((x.1 - y.1) / 2, (y.0 - x.0) / 2)
    )
  }

  @inline(__always)
  private static func multiply(_ a: Two, _ b: Two) -> Two {
    (a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
  }
}
