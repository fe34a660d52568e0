package import Cryptography

extension AggregationResult {
  /// What an aggregation of these inputs would have yielded, without having run it: for simulations that add
  /// the inputs up themselves. Nobody shared, masked or signed anything, so the transcript names the sum alone
  /// and equals no real one.
  ///
  /// - Parameters:
  ///   - values: the survivors' integers, summed; taken modulo 2^ringBits.
  ///   - cohort: who would have been in the roster.
  ///   - survivors: whose inputs are in the sum.
  /// - Throws: `invalidParameter` for a ring width that is none.
  package init(
    modelled values: [Int64], ringBits: Int, sessionID: Digest, cohort: [ParticipantID],
    survivors: [ParticipantID]
  ) throws(AggregationError) {
    try RingWidth.check(ringBits)
    let mask = RingWidth.mask(ringBits)
    let words = values.map { UInt32(truncatingIfNeeded: $0) & mask }
    let members = cohort.sorted()
    let uploaded = Set(survivors)
    let digest = InputDigest.digest(of: RingKernel.pack(words, ringBits: ringBits))
    self.init(
      sum: words, ringBits: ringBits, cohort: members, shared: members, survivors: survivors.sorted(),
      droppedBeforeUpload: members.filter { !uploaded.contains($0) }, faults: [],
      transcript: Hash.blake2b(domain: "accord/modelled/1", [sessionID.bytes, digest.bytes]))
  }
}

extension AggregationParameters {
  /// How many of `claimed` signatures a participant of a sparse graph asks to see: what a model of the traffic
  /// needs to know.
  package func challengeSize(claimed: Int, cohort: Int) -> Int {
    QuorumSample.size(claimed: claimed, quorum: quorum(cohort), cohort: cohort)
  }
}
