import Cryptography
import Foundation

/// The directions and signs of all canaries of an audit.
struct Flock {
  private let clip: IntegerClip
  private let width: Int
  private let count: Int
  /// ±1 per coordinate.
  private let pattern: [Float]
  /// One sign per canary; its sign changes from round to round (`signs`).
  private let first: [Double]

  /// Gives each of `count` canaries a direction orthogonal to all others'.
  init(clip: IntegerClip, count: Int, shape: PrivacyAudit.Shape, random: inout RandomStream) {
    self.clip = clip
    self.count = count
    width = shape == .single ? 1 : max(1, clip.dimension / count)
    pattern = (0..<count * width).map { _ in random.word() & 1 == 1 ? 1 : -1 }
    first = (0..<count).map { _ in random.word() & 1 == 1 ? 1 : -1 }
  }

  private func range(_ canary: Int) -> Range<Int> { canary * width..<(canary + 1) * width }

  /// The signs of a round: half of all rounds have one sign and half the other, so that noise which comes back
  /// cancels in a canary's score while the canary does not.
  func signs(round: Int, rounds: Int) -> [Double] {
    let turn = 2 * round < rounds ? 1.0 : -1.0
    return first.map { $0 * turn }
  }

  /// A canary's update, `excess` times as long as the clip allows.
  func update(_ canary: Int, sign: Double) -> CanaryUpdate {
    let length = Float(clip.clipNorm) * PrivacyAudit.excess / Float(width).squareRoot()
    return CanaryUpdate(
      coordinates: range(canary), values: pattern[range(canary)].map { $0 * Float(sign) * length })
  }

  /// How much of a canary is in `seen`: about s·C if it is there, else about 0.
  func score(_ canary: Int, _ sign: Double, _ seen: [Double]) -> Double {
    var product = 0.0
    for index in range(canary) { product += Double(pattern[index]) * seen[index] }
    return sign * product / Double(width).squareRoot()
  }

  /// Subtracts from what was seen of this round the noise of the last one, as far as it comes back: a correlation
  /// that chance does not give is one that an adversary uses too.
  func subtract(_ history: [Double], from seen: inout [Double], beyond: Int) {
    let coordinates = beyond * width..<count * width
    var (product, square, other) = (0.0, 0.0, 0.0)
    for index in coordinates {
      product += history[index] * seen[index]
      square += history[index] * history[index]
      other += seen[index] * seen[index]
    }
    let correlation = product / (square * other).squareRoot()
    // Four standard deviations and something that is worth the trouble. NaN, without noise, is neither.
    guard abs(correlation) > max(0.2, 4 / Double(coordinates.count).squareRoot()) else { return }
    for index in coordinates { seen[index] -= product / square * history[index] }
  }

  /// `seen` without these canaries: what is left is noise.
  func removing(_ canaries: [Int], _ signs: [Double], from seen: [Double]) -> [Double] {
    var rest = seen
    let length = clip.scale * clip.clipNorm / Double(width).squareRoot()
    for canary in canaries {
      for index in range(canary) { rest[index] -= Double(pattern[index]) * signs[canary] * length }
    }
    return rest
  }
}
