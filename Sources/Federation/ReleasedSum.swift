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

  init(groups: [GroupRelease], signed: SignedDescriptor, after debited: DebitedSession) {
    precondition(!groups.isEmpty, "a released sum has at least one group")
    self.groups = groups
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
    try ReleasedSum.noiseVariance(of: segment, in: release.result, descriptor: descriptor)
  }

  static func noiseVariance(
    of segment: Segment, in result: AggregationResult, descriptor: RoundDescriptor
  ) throws(FederationError) -> Double {
    let share = try segment.noiseShare(
      cohort: result.cohort.count,
      minimumSurvivors: try descriptor.assuredSurvivors(cohort: result.cohort.count),
      corruptPermille: descriptor.corruptPermille)
    return share * Double(result.survivors.count)
  }
}
