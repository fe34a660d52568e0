import Cryptography
import Privacy

/// A node's share of every segment's noise, ready to be drawn.
struct NoiseShare: Sendable {
  private struct Part {
    let range: Range<Int>
    let sampler: SkellamSampler
    /// Independent draws that are added up: more than one only where a single one cannot be drawn.
    let draws: Int
  }

  private let dimension: Int
  private let parts: [Part]

  /// The variance that each node of a cohort adds to a segment, grid units squared. With a noise cohort the share
  /// of one of its nodes, times cohort / noise cohort: what is added to the sum of the smaller cohort then is, on
  /// its mean, the noise that the larger one's mean has.
  static func variance(
    of segment: Segment, descriptor: RoundDescriptor, cohort: Int, noiseCohort: Int? = nil
  ) throws(FederationError) -> Double {
    let size = noiseCohort ?? cohort
    let share = try segment.noiseShare(
      cohort: size, minimumSurvivors: try descriptor.assuredSurvivors(cohort: size),
      corruptPermille: descriptor.corruptPermille)
    return noiseCohort == nil ? share : share * Double(cohort) / Double(size)
  }

  /// Prepares the samplers.
  /// - Parameter nodes: how many nodes' shares one call of `add` draws at once. Skellam noise is closed under
  ///   sums: this is the distribution of so many single draws.
  init(
    _ descriptor: RoundDescriptor, cohort: Int, noiseCohort: Int? = nil, nodes: Int = 1
  ) throws(FederationError) {
    dimension = descriptor.dimension
    var parts: [Part] = []
    var offset = 0
    for segment in descriptor.segments {
      let range = offset..<offset + segment.length
      offset = range.upperBound
      let share = try Self.variance(
        of: segment, descriptor: descriptor, cohort: cohort, noiseCohort: noiseCohort)
      guard share > 0 else { continue }
      let total = share * Double(nodes)
      // One node's share is one draw or refused: that it can be drawn was asked when the session was planned.
      let largest = SkellamSampler.varianceRange.upperBound
      let draws = nodes == 1 ? 1 : max(1, Int((total / largest).rounded(.up)))
      let sampler = try component("noise") { try SkellamSampler(variance: total / Double(draws)) }
      parts.append(Part(range: range, sampler: sampler, draws: draws))
    }
    self.parts = parts
  }

  /// Adds the noise to a whole vector.
  func add(to values: inout [Int64], random: inout RandomStream) throws(FederationError) {
    guard values.count == dimension else {
      throw .mismatch(
        what: "the contribution's length", expected: "\(dimension)", actual: "\(values.count)")
    }
    for part in parts {
      var segment = Array(values[part.range])
      for _ in 0..<part.draws { part.sampler.addNoise(to: &segment, random: &random) }
      values.replaceSubrange(part.range, with: segment)
    }
  }
}
