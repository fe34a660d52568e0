package import Cryptography
package import SecureAggregation

/// The noised sum of one group of a session.
package struct GroupRelease: Sendable {
  /// The group's number; 0 if there is only one.
  package let group: Int
  /// The sum in the ring and who is part of it.
  package let result: AggregationResult
}

/// The noised sum of a session. It exists only after the session's budget was debited: it takes a
/// `DebitedSession`, which only the coordinator makes, and only when it is told `.debited`.
package struct ReleasedSum: Sendable {
  /// The groups whose sums were unmasked, ascending; one if the cohort is not split.
  package let groups: [GroupRelease]
  /// What the session agreed on.
  package let descriptor: RoundDescriptor
  /// sid.
  package let sessionID: Digest
  /// The cohort whose noise is in the sum, scaled to this one; nil for the cohort itself (`ModelledSession`).
  private let noiseCohort: Int?

  init(
    groups: [GroupRelease], signed: SignedDescriptor, after debited: DebitedSession, noiseCohort: Int? = nil
  ) {
    precondition(!groups.isEmpty, "a released sum has at least one group")
    self.groups = groups
    self.noiseCohort = noiseCohort
    descriptor = signed.descriptor
    sessionID = signed.sessionID
  }

  /// Everybody in the rosters.
  package var cohort: [VerifyingKey] { groups.flatMap(\.result.cohort).sorted() }
  /// Whose inputs are in the sum.
  package var survivors: [VerifyingKey] { groups.flatMap(\.result.survivors).sorted() }

  /// The transcript of the session; of several groups the hash of theirs.
  package var transcript: Digest {
    guard groups.count > 1 else { return groups[0].result.transcript }
    return Hash.blake2b(
      domain: "accord/v1/group-transcripts",
      [sessionID.bytes] + groups.map { $0.result.transcript.bytes })
  }

  /// The sum of all groups' inputs modulo 2^b.
  package var ring: (words: [UInt32], ringBits: Int) {
    let mask = UInt32.max >> UInt32(32 - descriptor.ringBits)
    var words = groups[0].result.sum
    for release in groups.dropFirst() {
      for index in words.indices { words[index] = (words[index] &+ release.result.sum[index]) & mask }
    }
    return (words, descriptor.ringBits)
  }

  /// The centred integer sums of one segment over one group.
  package func integers(of name: SegmentName, in release: GroupRelease) -> [Int64]? {
    var offset = 0
    for segment in descriptor.segments {
      if segment.name == name {
        return Array(release.result.centredSum[offset..<offset + segment.length])
      }
      offset += segment.length
    }
    return nil
  }

  /// The centred integer sums of one segment over all groups.
  package func integers(of name: SegmentName) -> [Int64]? {
    var total: [Int64]?
    for release in groups {
      guard let part = integers(of: name, in: release) else { return nil }
      total = total.map { zip($0, part).map(+) } ?? part
    }
    return total
  }

  /// The sums of one segment in its own units.
  package func values(of name: SegmentName) -> [Double]? {
    guard let segment = descriptor.segments.first(where: { $0.name == name }),
      let integers = integers(of: name)
    else { return nil }
    return integers.map { Double($0) / segment.scale }
  }

  /// The variance of the noise in the sum of one segment over one group, grid units squared, if everybody
  /// added its share.
  func noiseVariance(
    of segment: Segment, in release: GroupRelease
  ) throws(FederationError) -> Double {
    try ReleasedSum.noiseVariance(
      of: segment, in: release.result, descriptor: descriptor, noiseCohort: noiseCohort)
  }

  private static func noiseVariance(
    of segment: Segment, in result: AggregationResult, descriptor: RoundDescriptor, noiseCohort: Int?
  ) throws(FederationError) -> Double {
    try NoiseShare.variance(
      of: segment, descriptor: descriptor, cohort: result.cohort.count, noiseCohort: noiseCohort)
      * Double(result.survivors.count)
  }

  /// A wrong recovery or a garbage input leaves uniform ring elements: the sum of a group must lie within
  /// what its contributions and noise can reach, which is at most half of the ring. A whole vector of d
  /// uniform coordinates passes with probability at most 2^-d. A group that fails is lost alone.
  static func checkRange(
    _ result: AggregationResult, descriptor: RoundDescriptor, noiseCohort: Int? = nil
  ) throws(FederationError) {
    let values = result.centredSum
    var offset = 0
    for segment in descriptor.segments {
      let range = offset..<offset + segment.length
      offset = range.upperBound
      let people = result.survivors.count * descriptor.maximumContributors
      let variance = try noiseVariance(
        of: segment, in: result, descriptor: descriptor, noiseCohort: noiseCohort)
      let (bound, overflow) = try segment.maximumAbsoluteCoordinate().multipliedReportingOverflow(
        by: Int64(people))
      let maximum = try component("range of segment \(segment.name.rawValue)") {
        try RingWidth.maximumAbsoluteSum(
          contributionBound: overflow ? .max : bound, noiseVariance: variance,
          dimension: descriptor.dimension)
      }
      for value in values[range] where value.magnitude > maximum {
        throw .component(
          name: "unmasking",
          reason: "the sum of segment \(segment.name.rawValue) is outside its possible range")
      }
    }
  }
}
