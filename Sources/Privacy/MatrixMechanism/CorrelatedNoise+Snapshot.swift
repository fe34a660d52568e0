package import Cryptography
package import Foundation

/// The state of a `CorrelatedNoise` between two steps, to be written next to the seed, never into a log.
///
/// It carries a checksum under the seed: a torn, mixed-up or edited state is refused.
package struct CorrelatedNoiseSnapshot: Codable, Sendable, CustomStringConvertible, CustomReflectable {
  /// The format that this program writes and reads.
  package static let currentVersion = 1

  /// The format.
  package let version: Int
  /// What is produced.
  package let plan: CorrelatedNoisePlan
  /// The step that comes next.
  package let nextStep: Int
  /// Which seed, task, plan and sampler the state belongs to; tells nothing of the seed.
  package let keyIdentifier: Data
  let state: Data
  let lastNoise: Data
  let binding: Data?
  let checksum: Data

  init(_ noise: CorrelatedNoise) {
    version = Self.currentVersion
    plan = noise.plan
    nextStep = noise.nextStep
    keyIdentifier = Data(noise.keys.identifier)
    state = Data(NoiseKeys.bytes(noise.state))
    lastNoise = Data(NoiseKeys.bytes(noise.lastNoise))
    binding = noise.binding.map { Data($0) }
    checksum = Data(
      Self.checksum(
        noise.keys, nextStep: nextStep, state: state, lastNoise: lastNoise, binding: binding))
  }

  /// Decodes a snapshot; of another version only the version, in the error.
  ///
  /// Throws: `snapshotRefused`, and whatever the decoder throws.
  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    version = try values.decode(Int.self, forKey: .version)
    guard version == Self.currentVersion else {
      throw MatrixMechanismError.snapshotRefused(.version)
    }
    plan = try values.decode(CorrelatedNoisePlan.self, forKey: .plan)
    nextStep = try values.decode(Int.self, forKey: .nextStep)
    keyIdentifier = try values.decode(Data.self, forKey: .keyIdentifier)
    state = try values.decode(Data.self, forKey: .state)
    lastNoise = try values.decode(Data.self, forKey: .lastNoise)
    binding = try values.decodeIfPresent(Data.self, forKey: .binding)
    checksum = try values.decode(Data.self, forKey: .checksum)
  }

  private enum CodingKeys: String, CodingKey {
    case version, plan, nextStep, keyIdentifier, state, lastNoise, binding, checksum
  }

  private static func checksum(
    _ keys: NoiseKeys, nextStep: Int, state: Data, lastNoise: Data, binding: Data?
  ) -> [UInt8] {
    keys.digest(
      "state",
      [
        NoiseKeys.bytes([Int64(nextStep)]), Array(state), Array(lastNoise),
        binding.map { [1] + Array($0) } ?? [],
      ])
  }

  /// The contents, once they are known to be what was written.
  func restored(_ fresh: CorrelatedNoise) throws(MatrixMechanismError) -> CorrelatedNoise.Restored {
    guard keyIdentifier == Data(fresh.keys.identifier) else {
      throw .snapshotRefused(.seed)
    }
    let expected = Self.checksum(
      fresh.keys, nextStep: nextStep, state: state, lastNoise: lastNoise, binding: binding)
    guard checksum == Data(expected) else {
      throw .snapshotRefused(.checksum)
    }
    let shape = plan.shape
    guard (0...shape.steps).contains(nextStep), state.count == 8 * fresh.state.count,
      lastNoise.count == (nextStep == 0 ? 0 : 8 * shape.dimension)
    else { throw .snapshotRefused(.shape) }
    return CorrelatedNoise.Restored(
      nextStep: nextStep, state: Self.numbers(state), lastNoise: Self.numbers(lastNoise),
      binding: binding.map { Array($0) })
  }

  private static func numbers(_ data: Data) -> [Int64] {
    var numbers = [Int64](repeating: 0, count: data.count / 8)
    numbers.withUnsafeMutableBytes { _ = data.copyBytes(to: $0) }
    return numbers.map { Int64(littleEndian: $0) }
  }

  package var description: String {
    "<state of correlated noise, \(nextStep) of \(plan.shape.steps) steps produced>"
  }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

extension CorrelatedNoise {
  /// The state to persist.
  package var snapshot: CorrelatedNoiseSnapshot { CorrelatedNoiseSnapshot(self) }

  /// Continues from a snapshot; the stream goes on bit for bit as if it had never stopped.
  ///
  /// Throws: `snapshotRefused` for another seed, task or sampler, or damaged contents; `samplerMismatch`.
  package init(
    restoring snapshot: CorrelatedNoiseSnapshot, seed: SecretBytes, task: [UInt8],
    source: IntegerNoiseSource
  ) throws(MatrixMechanismError) {
    let fresh = try CorrelatedNoise(plan: snapshot.plan, seed: seed, task: task, source: source)
    self.init(restored: try snapshot.restored(fresh), fresh: fresh)
  }
}
