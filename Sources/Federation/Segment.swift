package import Privacy
import SecureAggregation

/// Whose records a segment of the vector sums over. A contributor belongs to one population for good,
/// so each population has a budget of its own and a person's guarantee is the larger of the two.
package enum Population: String, Codable, Sendable, CaseIterable, Hashable {
  /// Contributors whose records train the model and agree on features.
  case training
  /// Contributors whose records only measure it.
  case heldOut

  /// The name of the population's budget, which spans all tasks and purposes: it protects people, and they
  /// are the same ones.
  package var accountName: String { rawValue }
}

/// What a segment carries.
package enum SegmentName: String, Codable, Sendable, CaseIterable, Hashable {
  /// Magnitudes and hashed vocabularies (`CoarseStatistics`).
  case coarse
  /// Histograms inside the agreed bounds (`FineStatistics`).
  case fine
  /// Clipped model updates and one coordinate that counts contributors.
  case update
  /// Score histograms and loss (`EvaluationLayout`).
  case evaluation
}

/// One stretch of the aggregated vector with its own clip, scale and noise.
package struct Segment: Codable, Sendable, Equatable {
  /// What it carries.
  package var name: SegmentName
  /// Number of coordinates.
  package var length: Int
  /// Whose records it sums.
  package var population: Population
  /// L2 bound of one contributor's vector, before scaling.
  package var clipNorm: Double
  /// Grid units per unit.
  package var scale: Double
  /// Total Skellam variance guaranteed in the sum, grid units squared; 0 when noise is off.
  package var noiseVariance: Double

  package init(
    name: SegmentName, length: Int, population: Population, clipNorm: Double, scale: Double,
    noiseVariance: Double
  ) {
    self.name = name
    self.length = length
    self.population = population
    self.clipNorm = clipNorm
    self.scale = scale
    self.noiseVariance = noiseVariance
  }

  /// The integer clip of this segment.
  package func integerClip() throws(FederationError) -> IntegerClip {
    try component("clip of segment \(name.rawValue)") {
      try IntegerClip(clipNorm: clipNorm, scale: scale, dimension: length)
    }
  }

  /// What one release of this segment costs a contributor of its population.
  package func privacyEvent() throws(FederationError) -> PrivacyEvent {
    try Segment.event(clip: integerClip(), dimension: length, variance: noiseVariance)
  }

  /// The event of a release with integer clip `clip` and total variance `variance`; without noise it is
  /// the event that spends an infinite epsilon.
  package static func event(clip: IntegerClip, dimension: Int, variance: Double) -> PrivacyEvent {
    guard variance > 0 else { return PrivacyEvent(mechanism: .none, sampling: .none, count: 1) }
    return PrivacyEvent(
      mechanism: .skellam(
        variance: variance, sensitivityL2Squared: clip.sensitivityL2Squared,
        sensitivityL1: clip.sensitivityL1, dimension: dimension, samplerErrorLog2: samplerErrorLog2),
      sampling: .none, count: 1)
  }

  /// log2 of the distance of the summed noise from Skellam's: that of one draw, times the most nodes that
  /// a cohort can have (2^14).
  private static let samplerErrorLog2 = SkellamSampler.largestErrorLog2 + 14

  /// The variance that each node adds: closed under sums, so the total reaches `noiseVariance` with
  /// the fewest honest survivors.
  package func noiseShare(
    cohort: Int, minimumSurvivors: Int, corruptPermille: Int
  ) throws(FederationError) -> Double {
    guard noiseVariance > 0 else { return 0 }
    return try component("noise share") {
      try SkellamCalibration.noiseShare(
        totalVariance: noiseVariance, cohort: cohort, minimumSurvivors: minimumSurvivors,
        corruptFraction: Double(corruptPermille) / 1000)
    }
  }
}

/// Sizes of a whole vector, worked out the same way by server and nodes.
package struct VectorPlan: Sendable, Equatable {
  /// The segments in order.
  package let segments: [Segment]

  package init(_ segments: [Segment]) { self.segments = segments }

  /// Coordinates of the whole vector.
  package var dimension: Int { segments.reduce(0) { $0 + $1.length } }

  /// The ring's width in bits: the smallest in which neither the contributions of `cohort` nodes with
  /// `maximumContributors` each nor the noise can wrap, except with probability 2^-40.
  package func ringBits(
    cohort: Int, maximumContributors: Int, minimumSurvivors: Int, corruptPermille: Int
  ) throws(FederationError) -> Int {
    var bits = 16
    for segment in segments {
      let clip = try segment.integerClip()
      let people = Int64(cohort).multipliedReportingOverflow(by: Int64(maximumContributors))
      let (bound, overflow) = clip.maximumAbsoluteCoordinate.multipliedReportingOverflow(
        by: people.partialValue)
      guard !people.overflow, !overflow else {
        throw .invalidTask(
          field: "maximumContributors", reason: "is too large for a 32-bit ring; lower it")
      }
      let share = try segment.noiseShare(
        cohort: cohort, minimumSurvivors: minimumSurvivors, corruptPermille: corruptPermille)
      bits = max(
        bits,
        try component("ring width of segment \(segment.name.rawValue)") {
          try RingWidth.choose(
            contributionBound: bound, noiseVariance: share * Double(cohort),
            dimension: max(dimension, 1))
        })
    }
    return bits
  }

  /// Grid units of the clip norm: a power of two, far above √d/2 so that rounding hardly widens the
  /// sensitivity, small enough for table samplers, and small enough that the contributions of `people`
  /// contributors fill at most a quarter of a 32-bit ring, if that leaves 16 units; what does not fit is
  /// refused by `ringBits`.
  package static func scale(clipNorm: Double, dimension: Int, people: Int) -> Double {
    let root = Double(dimension).squareRoot()
    var units = 2048.0
    while units < 8 * root, units < 16_384 { units *= 2 }
    while units > 16, (units + root) * Double(people) > 0x1p29 { units /= 2 }
    return units / clipNorm
  }
}
