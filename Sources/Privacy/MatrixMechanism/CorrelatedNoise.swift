package import Cryptography

/// Where the draws come from.
package struct IntegerNoiseSource: Sendable {
  /// The algorithm with its version. Restored noise continues only under the same name, since another
  /// algorithm would make other draws of the same random bytes.
  package let name: String
  /// σ² of N_Z(0, σ²), as the plan has it.
  package let variance: Double
  /// The draws of one step.
  package let draw: Draw

  /// Overwrites every element of a buffer of zeros with an independent draw.
  package typealias Draw = @Sendable (inout RandomStream, UnsafeMutableBufferPointer<Int64>) -> Void

  /// Wraps a sampler.
  package init(
    name: String, variance: Double, draw: @escaping Draw
  ) {
    self.name = name
    self.variance = variance
    self.draw = draw
  }
}

/// The noise of a training in central mode, step by step: e_t = (C⁻¹Z)_t in grid units, to be added by the
/// server to its exact sum of step t (`CorrelatedNoiseShape` has the proof).
///
/// The draws of a step are a function of seed, task, plan and step alone, so a step has one noise, even when
/// an old state is restored. The server must persist a `snapshot` together with the sum before it
/// publishes anything of a step, and never use a seed for two tasks of the same name.
///
/// The state is as secret as the seed: who knows the noise knows the sums. It is kept out of descriptions.
package struct CorrelatedNoise: Sendable, CustomStringConvertible, CustomReflectable {
  /// What is produced.
  package let plan: CorrelatedNoisePlan
  /// The step that comes next: 0 at first, `plan.shape.steps` at the end.
  package private(set) var nextStep = 0
  let source: IntegerNoiseSource
  let keys: NoiseKeys
  var state: [Int64]
  var lastNoise: [Int64] = []
  /// A keyed hash of the sum that the last noise protects.
  var binding: [UInt8]?

  /// Starts with step 0.
  ///
  /// `seed`: 32 bytes, kept for restarts. `task`: a name that is never used again under this seed.
  /// Throws: `samplerMismatch`.
  package init(
    plan: CorrelatedNoisePlan, seed: SecretBytes, task: [UInt8], source: IntegerNoiseSource
  ) throws(MatrixMechanismError) {
    guard source.variance == plan.variance else {
      throw .samplerMismatch(planned: plan.variance, actual: source.variance)
    }
    self.plan = plan
    self.source = source
    keys = NoiseKeys(seed: seed, task: task, plan: plan, sampler: source.name)
    state = [Int64](repeating: 0, count: plan.layout.rows * plan.shape.dimension)
  }

  /// Continues where a snapshot was taken.
  init(restored snapshot: Restored, fresh: CorrelatedNoise) {
    self = fresh
    nextStep = snapshot.nextStep
    state = snapshot.state
    lastNoise = snapshot.lastNoise
    binding = snapshot.binding
  }

  /// The contents of a snapshot that passed all checks.
  struct Restored {
    let nextStep: Int
    let state: [Int64]
    let lastNoise: [Int64]
    let binding: [UInt8]?
  }

  /// The noise of step `step`, in grid units: the next step's, or the last one's again.
  ///
  /// The caller adds it to one sum and no other; `release` sees to that itself.
  /// Throws: `stepOutOfOrder`, `stepsExhausted`, `drawOutOfRange`. After an error nothing has changed.
  package mutating func noise(step: Int) throws(MatrixMechanismError) -> [Int64] {
    if step >= 0, step == nextStep - 1 { return lastNoise }
    guard step == nextStep else {
      throw .stepOutOfOrder(asked: step, next: nextStep)
    }
    guard step < plan.shape.steps else {
      throw .stepsExhausted(steps: plan.shape.steps)
    }
    var random = keys.stream(step: step)
    var noise = [Int64](repeating: 0, count: plan.shape.dimension)
    noise.withUnsafeMutableBufferPointer { source.draw(&random, $0) }
    let largest = plan.layout.largestDraw
    guard noise.allSatisfy({ -largest <= $0 && $0 <= largest }) else {
      throw .drawOutOfRange(step: step)
    }
    noise.withUnsafeMutableBufferPointer { noise in
      state.withUnsafeMutableBufferPointer { state in
        switch plan.layout.kernel {
        case .toeplitz(let kernel): kernel.advance(noise, state: state, step: step)
        case .buffered(let kernel): kernel.advance(noise, state: state)
        }
      }
    }
    lastNoise = noise
    binding = nil
    nextStep += 1
    return noise
  }

  /// What may be published of step `step`: `sum` plus its noise, wrapping around at 64 bits.
  ///
  /// Asked again with the same sum it answers the same; with another sum it refuses, since two sums under
  /// the same noise show their difference.
  /// Throws: as `noise(step:)`; `wrongDimension`, `stepProtectsAnotherSum`.
  package mutating func release(_ sum: [Int64], step: Int) throws(MatrixMechanismError) -> [Int64] {
    guard sum.count == plan.shape.dimension else {
      throw .wrongDimension(expected: plan.shape.dimension, actual: sum.count)
    }
    let noise = try noise(step: step)
    let binding = keys.binding(sum: sum, step: step)
    guard self.binding == nil || self.binding == binding else {
      throw .stepProtectsAnotherSum(step: step)
    }
    self.binding = binding
    return zip(sum, noise).map { $0 &+ $1 }
  }

  package var description: String {
    "<correlated noise, \(nextStep) of \(plan.shape.steps) steps produced>"
  }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// The keys that one seed gives for one task, plan and sampler.
struct NoiseKeys: Sendable {
  private let draws: SecretBytes
  private let check: SecretBytes

  init(seed: SecretBytes, task: [UInt8], plan: CorrelatedNoisePlan, sampler: String) {
    let parts = [task, plan.canonicalBytes, Array(sampler.utf8)]
    draws = Hash.derive(domain: "accord correlated noise v1 draws", parts, key: seed)
    check = Hash.derive(domain: "accord correlated noise v1 check", parts, key: seed)
  }

  /// The randomness of one step.
  func stream(step: Int) -> RandomStream {
    RandomStream(
      seed: Hash.derive(
        domain: "accord correlated noise v1 step", [Self.bytes([Int64(step)])], key: draws))
  }

  /// What identifies the keys without telling anything of them.
  var identifier: [UInt8] { digest("identifier", []) }

  /// A keyed hash of a sum.
  func binding(sum: [Int64], step: Int) -> [UInt8] {
    digest("sum", [Self.bytes([Int64(step)]), Self.bytes(sum)])
  }

  /// A keyed hash over parts.
  func digest(_ purpose: String, _ parts: [[UInt8]]) -> [UInt8] {
    Hash.blake2b(domain: "accord correlated noise v1 " + purpose, parts, key: check).bytes
  }

  /// Little-endian bytes.
  static func bytes(_ numbers: [Int64]) -> [UInt8] {
    numbers.map(\.littleEndian).withUnsafeBytes { Array($0) }
  }
}
