import Foundation

package import Cryptography

/// A contributor that does not exist: the update of one canary in one round.
package struct CanaryUpdate: Sendable {
  /// The coordinates that are not zero.
  package let coordinates: Range<Int>
  /// Their values, too long on purpose: the clip has to shorten them.
  package let values: [Float]

  /// The whole update.
  package func dense(dimension: Int) -> [Float] {
    var update = [Float](repeating: 0, count: dimension)
    update.replaceSubrange(coordinates, with: values)
    return update
  }
}

/// What one round gives away, and what the auditor knows of it anyway.
package struct AuditedSum: Sendable {
  /// The noised sum on the integer grid.
  package var noised: [Int64]
  /// The expected sum of everybody who is no canary, grid units: who audits plays against the strongest
  /// adversary, who knows the data of all the others.
  package var known: [Double]

  package init(noised: [Int64], known: [Double]) {
    self.noised = noised
    self.known = known
  }
}

/// A federation that can be audited: rounds of noised sums into which canaries are slipped.
package protocol AuditedRelease {
  /// The clip that it claims to enforce.
  var clip: IntegerClip { get }
  /// Releases the next round's sum, with these canaries among the contributors.
  mutating func release(canaries: [CanaryUpdate]) throws(AuditError) -> AuditedSum
}

/// A fault planted into the mechanism, to see whether the audit finds it.
package enum AuditFault: String, Codable, Sendable, Hashable, CaseIterable {
  /// The noise has half the standard deviation that is claimed.
  case halfNoise = "half-noise"
  /// Each share is the total over the whole cohort instead of over the fewest honest survivors.
  case wrongShareCount = "wrong-share-count"
  /// Updates are rounded without being clipped.
  case noClip = "no-clip"
  /// Every round draws the same noise again.
  case reusedNoise = "reused-noise"
  /// All nodes draw the same noise. The sum then has more of it, not less: not visible in what is released,
  /// only to a node that subtracts its own.
  case sharedNoise = "shared-noise"
}

/// The distributed mechanism as it is deployed: per contributor integer clip, per node a share of noise, summed
/// over the fewest survivors, of whom the corrupt ones add none.
package struct DistributedRelease: AuditedRelease {
  /// How many nodes there are and what may go wrong.
  package struct Cohort: Codable, Sendable, Hashable {
    /// Nodes that were chosen (n).
    package var nodes: Int
    /// Nodes that deliver, at least (T_min).
    package var minimumSurvivors: Int
    /// Share of the cohort that adds no noise (γ).
    package var corruptFraction: Double
    /// Contributors of each node besides the canaries.
    package var contributors: Int

    package init(nodes: Int, minimumSurvivors: Int, corruptFraction: Double = 0, contributors: Int = 2) {
      self.nodes = nodes
      self.minimumSurvivors = minimumSurvivors
      self.corruptFraction = corruptFraction
      self.contributors = contributors
    }
  }

  package let clip: IntegerClip
  private let fault: AuditFault?
  private let contributors: Int
  private let mechanism: DistributedMechanism
  private var scratch: IntegerClip.Scratch
  private var data: RandomStream
  private var noise: [RandomStream]

  /// Divides the noise of `totalVariance` (grid units squared) over the cohort.
  ///
  /// Throws: as `DistributedMechanism`.
  package init(
    noise distribution: DistributedNoise, totalVariance: Double, clip: IntegerClip, cohort: Cohort,
    fault: AuditFault? = nil, random: inout RandomStream
  ) throws(PrivacyError) {
    self.clip = clip
    self.fault = fault
    contributors = cohort.contributors
    let honest = try NoiseDivision.honestSurvivors(
      cohort: cohort.nodes, minimumSurvivors: cohort.minimumSurvivors,
      corruptFraction: cohort.corruptFraction)
    var variance = totalVariance
    if fault == .halfNoise { variance /= 4 }
    if fault == .wrongShareCount { variance *= Double(honest) / Double(cohort.nodes) }
    mechanism = try DistributedMechanism(
      noise: distribution, totalVariance: variance, cohort: cohort.nodes,
      minimumSurvivors: cohort.minimumSurvivors, corruptFraction: cohort.corruptFraction)
    scratch = IntegerClip.Scratch(dimension: clip.dimension)
    data = random.fork()
    // Corrupt nodes deliver too, but the server knows their vectors: the honest ones are what it learns from.
    noise = []
    for _ in 0..<honest {
      noise.append(fault == .sharedNoise && !noise.isEmpty ? noise[0] : random.fork())
    }
  }

  package mutating func release(canaries: [CanaryUpdate]) throws(AuditError) -> AuditedSum {
    release(canaries: canaries, others: [])
  }

  /// The same with the updates of contributors who are no canaries, each of the clip's dimension.
  package mutating func release(canaries: [CanaryUpdate], others: [[Float]]) -> AuditedSum {
    var sum = AuditedSum(
      noised: [Int64](repeating: 0, count: clip.dimension),
      known: [Double](repeating: 0, count: clip.dimension))
    var update = [Float](repeating: 0, count: clip.dimension)
    for node in noise.indices {
      for _ in 0..<contributors { addContributor(&update, to: &sum) }
      var stream = noise[node]
      mechanism.addShare(to: &sum.noised, random: &stream)
      if fault != .reusedNoise { noise[node] = stream }
    }
    for other in others { addKnown(other, to: &sum) }
    update = [Float](repeating: 0, count: clip.dimension)
    for canary in canaries {
      update.replaceSubrange(canary.coordinates, with: canary.values)
      add(update, to: &sum.noised)
      for index in canary.coordinates { update[index] = 0 }
    }
    return sum
  }

  /// A random direction of the full norm C.
  private mutating func addContributor(_ update: inout [Float], to sum: inout AuditedSum) {
    let words = data.bytes(clip.dimension)
    var squares = 0.0
    for index in update.indices {
      let value = Double(words[index]) - 127.5
      update[index] = Float(value)
      squares += value * value
    }
    let factor = Float(clip.clipNorm / squares.squareRoot())
    for index in update.indices { update[index] *= factor }
    addKnown(update, to: &sum)
  }

  /// Adds an update that the auditor knows, as the clip shortens it.
  private mutating func addKnown(_ update: [Float], to sum: inout AuditedSum) {
    let norm = update.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    // Not finite: such a contributor is left out by the clip.
    guard norm.isFinite else { return }
    let factor = norm > clip.clipNorm ? clip.scale * clip.clipNorm / norm : clip.scale
    for index in update.indices { sum.known[index] += Double(update[index]) * factor }
    add(update, to: &sum.noised)
  }

  private mutating func add(_ update: [Float], to sum: inout [Int64]) {
    guard fault == .noClip else {
      clip.quantise(update, scratch: &scratch, random: &data, addingInto: &sum)
      return
    }
    for index in update.indices where update[index] != 0 {
      sum[index] += Int64((Double(update[index]) * clip.scale).rounded())
    }
  }
}

extension DistributedNoise {
  /// The event of one release of a sum quantised by `clip` under noise of total `variance` (grid units squared)
  /// that `shares` draws make up. `shares` is at least 1 (a precondition).
  package func event(clip: IntegerClip, variance: Double, shares: Int) -> PrivacyEvent {
    precondition(shares >= 1, "a sum has at least one share of noise")
    switch self {
    case .skellam: return SkellamCalibration.event(clip: clip, variance: variance, shares: shares)
    case .discreteGaussian:
      return PrivacyEvent(
        mechanism: .discreteGaussian(
          varianceParameter: variance / Double(shares), shares: shares,
          sensitivityL2Squared: clip.sensitivityL2Squared, sensitivityL1: clip.sensitivityL1,
          dimension: clip.dimension,
          samplerErrorLog2: DiscreteGaussianSampler.largestErrorLog2 + log2(Double(shares))))
    }
  }
}
