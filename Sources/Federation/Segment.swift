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
package enum SegmentName: RawRepresentable, Codable, Sendable, Hashable {
  /// Magnitudes and hashed vocabularies (`CoarseStatistics`).
  case coarse
  /// Histograms inside the agreed bounds (`FineStatistics`).
  case fine
  /// Clipped model updates and one coordinate that counts contributors.
  case update
  /// One bit per contributor: whether its update was within the clip norm (`AdaptiveClipping`).
  case clipping
  /// Score histograms and loss (`EvaluationLayout`).
  case evaluation
  /// Integers of one query of a statistics task, by its place in the task.
  case query(Int)

  package init?(rawValue: String) {
    let fixed: [SegmentName] = [.coarse, .fine, .update, .clipping, .evaluation]
    if let name = fixed.first(where: { $0.rawValue == rawValue }) {
      self = name
      return
    }
    guard rawValue.hasPrefix("query-"), let index = Int(rawValue.dropFirst(6)),
      (0..<StatisticsSpecification.maximumQueries).contains(index), rawValue == "query-\(index)"
    else { return nil }
    self = .query(index)
  }

  package var rawValue: String {
    switch self {
    case .coarse: "coarse"
    case .fine: "fine"
    case .update: "update"
    case .clipping: "clipping"
    case .evaluation: "evaluation"
    case .query(let index): "query-\(index)"
    }
  }
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
  /// What one contributor's integers reach at most, grid units, where they are counted rather than clipped
  /// and rounded; nil stands for the bounds of `integerClip`.
  package var sensitivity: StatisticsSensitivity?

  package init(
    name: SegmentName, length: Int, population: Population, clipNorm: Double, scale: Double,
    noiseVariance: Double, sensitivity: StatisticsSensitivity? = nil
  ) {
    self.name = name
    self.length = length
    self.population = population
    self.clipNorm = clipNorm
    self.scale = scale
    self.noiseVariance = noiseVariance
    self.sensitivity = sensitivity
  }

  /// The largest magnitude of a coordinate of one contributor's integers.
  package func maximumAbsoluteCoordinate() throws(FederationError) -> Int64 {
    if let sensitivity { return sensitivity.lInfinity }
    return try integerClip().maximumAbsoluteCoordinate
  }

  /// The integer clip of this segment.
  package func integerClip() throws(FederationError) -> IntegerClip {
    try component("clip of segment \(name.rawValue)") {
      try IntegerClip(clipNorm: clipNorm, scale: scale, dimension: length)
    }
  }

  /// What one release of this segment costs a contributor of its population.
  package func privacyEvent() throws(FederationError) -> PrivacyEvent {
    guard let sensitivity else {
      return try Segment.event(clip: integerClip(), dimension: length, variance: noiseVariance)
    }
    return Segment.event(sensitivity: sensitivity, dimension: length, variance: noiseVariance)
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

  /// The event of a release of counted integers, as that of clipped ones.
  package static func event(
    sensitivity: StatisticsSensitivity, dimension: Int, variance: Double
  ) -> PrivacyEvent {
    guard variance > 0 else { return PrivacyEvent(mechanism: .none, sampling: .none, count: 1) }
    return sensitivity.event(
      variance: variance, dimension: dimension, samplerErrorLog2: samplerErrorLog2)
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
      let largest = try segment.maximumAbsoluteCoordinate()
      let people = Int64(cohort).multipliedReportingOverflow(by: Int64(maximumContributors))
      let (bound, overflow) = largest.multipliedReportingOverflow(
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

  /// Grid units per unit of a query whose integers reach `lInfinity`: a power of two that makes Skellam noise
  /// as good as Gaussian, lowered until the contributions of `people` contributors fill at most a quarter of a
  /// 32-bit ring.
  package static func grid(lInfinity: Int64, people: Int) -> Int64 {
    var scale: Int64 = 1
    while scale * lInfinity < 64 { scale *= 2 }
    while scale > 1, Double(scale * lInfinity) * Double(people) > 0x1p29 { scale /= 2 }
    return scale
  }
}
