/// Why correlated noise was refused. Every case means: do not release.
package enum MatrixMechanismError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Which check a stored state failed.
  package enum SnapshotFault: String, Hashable, Sendable {
    case version = "its format version is unknown to this program"
    case seed = "it was made under another seed, task or noise sampler"
    case checksum = "its checksum is wrong"
    case shape = "its contents do not fit its plan"
  }

  /// The number of steps is out of range.
  case stepsOutOfRange(Int)
  /// The largest number of participations or their separation is below 1.
  case participationOutOfRange(maximum: Int, minimumSeparation: Int)
  /// The coefficient with this index is not finite, or the first one is not 1, or there are none or too many.
  case coefficientOutOfRange(index: Int)
  /// The buffer with this index has a decay or a weight out of range, or there are none or too many.
  case bufferOutOfRange(index: Int)
  /// With several participations the sensitivity is known only for coefficients that are non-negative and
  /// never increase, and the one with this index breaks that.
  case sensitivityNotProven(index: Int)
  /// The number of fraction bits of the coefficients is out of range.
  case fractionBitsOutOfRange(Int)
  /// The number of coordinates is out of range.
  case dimensionOutOfRange(Int)
  /// The squared L2 norm of one unit's contribution is below 1.
  case contributionOutOfRange(Int64)
  /// The noise variance is out of range.
  case varianceOutOfRange(Double)
  /// The noise multiplier is not positive and finite.
  case noiseMultiplierOutOfRange(Double)
  /// Some intermediate value would need more than 64 bits.
  case noiseTooLarge(bits: Double)
  /// The state would not fit in memory.
  case stateTooLarge(bytes: Int)
  /// The sampler draws with another variance than the plan asks for.
  case samplerMismatch(planned: Double, actual: Double)
  /// The sampler returned a draw beyond 40 standard deviations: it is broken.
  case drawOutOfRange(step: Int)
  /// Only the next step and the last one can be asked for.
  case stepOutOfOrder(asked: Int, next: Int)
  /// All planned steps were produced.
  case stepsExhausted(steps: Int)
  /// The noise of this step already protects another sum; using it twice would reveal the difference.
  case stepProtectsAnotherSum(step: Int)
  /// A sum has the wrong number of coordinates.
  case wrongDimension(expected: Int, actual: Int)
  /// A stored state was refused.
  case snapshotRefused(SnapshotFault)

  /// One sentence for people.
  package var description: String {
    switch self {
    case .stepsOutOfRange(let steps):
      "\(steps) steps cannot be planned, only 1 to \(MatrixFactor.maximumSteps)"
    case .participationOutOfRange(let maximum, let separation):
      """
      at most \(maximum) participations at least \(separation) steps apart make no sense; \
      both numbers must be at least 1
      """
    case .coefficientOutOfRange(let index):
      """
      coefficient \(index) of the noise factor is out of range; there are 1 to \
      \(MatrixFactor.maximumSteps), finite, and the first is 1
      """
    case .bufferOutOfRange(let index):
      """
      buffer \(index) of the noise factor is out of range; there are 1 to \
      \(BufferedFactor.maximumBuffers), with decays from 0 to below 1 and weights from 0 to 1
      """
    case .sensitivityNotProven(let index):
      """
      no proven sensitivity for several participations: coefficient \(index) of the noise factor is \
      negative or above the one before it; use decreasing coefficients or a single participation
      """
    case .fractionBitsOutOfRange(let bits):
      """
      \(bits) fraction bits are out of range; it must be \
      \(CorrelatedNoiseShape.fractionBitsRange.lowerBound) to \
      \(CorrelatedNoiseShape.fractionBitsRange.upperBound)
      """
    case .dimensionOutOfRange(let dimension):
      "a dimension of \(dimension) is out of range; it must be 1 to \(IntegerClip.maximumDimension)"
    case .contributionOutOfRange(let squared):
      "a squared contribution of \(squared) is out of range; it must be at least 1 grid unit squared"
    case .varianceOutOfRange(let variance):
      "a noise variance of \(variance) is out of range; it must be positive, and not too large for the sampler"
    case .noiseMultiplierOutOfRange(let multiplier):
      "a noise multiplier of \(multiplier) is out of range; it must be positive and finite"
    case .noiseTooLarge(let bits):
      """
      the correlated noise needs numbers of \(bits.rounded(.up)) bits, more than 62; \
      lower the scale or the number of fraction bits
      """
    case .stateTooLarge(let bytes):
      "the correlated noise would keep \(bytes) bytes of state; use a banded or a buffered factor"
    case .samplerMismatch(let planned, let actual):
      "the sampler draws with variance \(actual), but \(planned) is planned; make it from the plan"
    case .drawOutOfRange(let step):
      "the sampler returned an impossible draw in step \(step); stop and replace it"
    case .stepOutOfOrder(let asked, let next):
      "the noise of step \(asked) is not available: the next step is \(next), and only the last can be repeated"
    case .stepsExhausted(let steps):
      "all \(steps) planned steps were produced; plan a new task under its own budget and seed"
    case .stepProtectsAnotherSum(let step):
      "the noise of step \(step) already protects another sum; it is never used for two"
    case .wrongDimension(let expected, let actual):
      "a sum has \(actual) coordinates where the plan has \(expected)"
    case .snapshotRefused(let fault):
      "the stored noise state is refused: \(fault.rawValue); restore the right file or start a new task"
    }
  }
}
