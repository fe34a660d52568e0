/// Which hidden units are silent in which row of a training step.
///
/// The draws of a row depend on its key alone: on the round's seed, the local step, the row's position within
/// its contributor and its features. So an update does not depend on other contributors, on the worker or on
/// the block that it was computed in, and contributors with one record each still draw differently.
struct Dropout {
  /// The probability that a unit is silent, in units of 2⁻³².
  private let threshold: UInt32
  /// What the others are multiplied by, so that the expectation stays.
  private let factor: Float

  /// - Parameter rate: 0 to `NetworkSettings.maximumDropout`.
  init(rate: Float) {
    threshold = UInt32(Double(rate) * 0x1p32)
    factor = 1 / (1 - rate)
  }

  /// Whether anything is silenced at all.
  var isActive: Bool { threshold > 0 }

  /// A number that stands for a row of a contributor: `position` is that within the contributor.
  static func identity(of input: InputRows, row: Int, position: Int) -> UInt64 {
    var hash = UInt64(truncatingIfNeeded: position) &+ 0xcbf2_9ce4_8422_2325
    func add(_ word: UInt64) { hash = (hash ^ word ^ (hash >> 29)) &* 0x9e37_79b9_7f4a_7c15 }
    let dense = input.dense + row * input.columns
    for column in 0..<input.columns { add(UInt64(dense[column].bitPattern)) }
    if let sparse = input.sparse {
      for entry in sparse.starts[row]..<sparse.ends[row] {
        add(UInt64(UInt32(bitPattern: sparse.indices[entry])) << 32 | UInt64(sparse.values[entry].bitPattern))
      }
    }
    return hash
  }

  /// The key of a row in a step.
  static func key(identity: UInt64, seed: UInt64, step: Int) -> UInt64 {
    var generator = SplitMix64(seed: seed ^ (UInt64(truncatingIfNeeded: step) &* 0xd129_0d3f_87d4_2a4b))
    generator = SplitMix64(seed: generator.next() ^ identity)
    return generator.next()
  }

  /// Sets the factors of a layer's outputs, rows × units.
  func fill(
    _ mask: UnsafeMutablePointer<Float>, layer: Int, units: Int, rows: Int, keys: UnsafePointer<UInt64>
  ) {
    for row in 0..<rows {
      var generator = SplitMix64(seed: keys[row] &+ UInt64(layer) &* 0xa076_1d64_78bd_642f)
      let target = mask + row * units
      var unit = 0
      while unit < units {
        let draw = generator.next()
        target[unit] = UInt32(truncatingIfNeeded: draw) < threshold ? 0 : factor
        if unit + 1 < units { target[unit + 1] = UInt32(draw >> 32) < threshold ? 0 : factor }
        unit += 2
      }
    }
  }
}
