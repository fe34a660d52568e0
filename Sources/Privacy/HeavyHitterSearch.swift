import Foundation

/// A frequent byte string.
package struct HeavyHitter: Codable, Sendable, Hashable {
  /// The string, without the zero bytes that fill it up.
  package let key: [UInt8]
  /// How often it occurs.
  package let count: CountEstimate
}

/// A search for frequent byte strings, one group of bits per round, with sums of noised integer vectors only.
///
/// **Design** (a prefix tree grown breadth first: Zhu, Kairouz, McMahan, Sun and Li 2020, "Federated Heavy
/// Hitters Discovery with Differential Privacy"; with noised sums in place of sampling as Chadha et al. 2023,
/// "Differentially Private Heavy Hitter Detection using Federated Analytics"). The state, which is public,
/// holds the surviving prefixes of one length. In a round a contributor whose string starts with one of
/// them votes for its next `bitsPerRound` bits: one coordinate per prefix and continuation. Continuations whose
/// noised count reaches the threshold θ become the next round's prefixes, at most `maximumPrefixes` of them,
/// the most frequent ones. The last round's survivors are the answer.
///
/// **Sensitivity** per round, m strings per contributor: Σ|x| ≤ m, Σx² ≤ m², |x| ≤ m. A search of L
/// rounds (`totalRounds`) is L such releases.
///
/// **Guarantee**, for noise of variance v that is nearly Gaussian: θ = √v·Φ̄^-1(β/D) over D coordinates keeps
/// at most β (`falsePrefixesPerRound`) prefixes that nobody has, on average and per round. A string that is
/// voted for f times in every round is found with probability 1 − η if f ≥ θ + √v·Φ̄^-1(η/L) in each of
/// them (`certainCount`) and no more than `maximumPrefixes` continuations are as frequent, of which there can
/// be at most n·m/f among n contributors but for noise. Counts of the answer are selected from above θ, so
/// near θ they are biased upward.
package struct HeavyHitterSearch: Codable, Sendable, Hashable {
  /// The length of all strings: shorter ones are filled up with zero bytes, longer ones are cut.
  package let keyBytes: Int
  /// 1, 2, 4 or 8.
  package let bitsPerRound: Int
  /// The most prefixes that survive a round.
  package let maximumPrefixes: Int
  /// m.
  package let recordsPerContributor: Int
  /// β.
  package let falsePrefixesPerRound: Double
  /// The rounds done.
  package private(set) var round: Int
  /// The survivors, as groups of bits, most frequent first; at the start the empty one.
  package private(set) var prefixes: [[UInt8]]
  /// The answer once the search is finished.
  package private(set) var found: [HeavyHitter]

  private enum CodingKeys: String, CodingKey {
    case keyBytes, bitsPerRound, maximumPrefixes, recordsPerContributor, falsePrefixesPerRound, round,
      prefixes, found
  }

  /// A search before its first round.
  ///
  /// Throws: `outOfRange`.
  package init(
    keyBytes: Int, bitsPerRound: Int = 8, maximumPrefixes: Int = 64, recordsPerContributor: Int = 1,
    falsePrefixesPerRound: Double = 0.1
  ) throws(MechanismError) {
    self.keyBytes = keyBytes
    self.bitsPerRound = bitsPerRound
    self.maximumPrefixes = maximumPrefixes
    self.recordsPerContributor = recordsPerContributor
    self.falsePrefixesPerRound = falsePrefixesPerRound
    round = 0
    prefixes = [[]]
    found = []
    try validate()
  }

  /// Reads a state. One that no search reaches does not decode.
  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    keyBytes = try fields.decode(Int.self, forKey: .keyBytes)
    bitsPerRound = try fields.decode(Int.self, forKey: .bitsPerRound)
    maximumPrefixes = try fields.decode(Int.self, forKey: .maximumPrefixes)
    recordsPerContributor = try fields.decode(Int.self, forKey: .recordsPerContributor)
    falsePrefixesPerRound = try fields.decode(Double.self, forKey: .falsePrefixesPerRound)
    round = try fields.decode(Int.self, forKey: .round)
    prefixes = try fields.decode([[UInt8]].self, forKey: .prefixes)
    found = try fields.decode([HeavyHitter].self, forKey: .found)
    do throws(MechanismError) { try validate() } catch {
      throw DecodingError.dataCorrupted(
        .init(codingPath: decoder.codingPath, debugDescription: error.description))
    }
  }

  private func validate() throws(MechanismError) {
    guard (1...256).contains(keyBytes) else { throw .outOfRange(.keyBytes, value: Double(keyBytes)) }
    guard [1, 2, 4, 8].contains(bitsPerRound) else {
      throw .outOfRange(.bitsPerRound, value: Double(bitsPerRound))
    }
    guard maximumPrefixes >= 1, maximumPrefixes <= 1 << 20,
      maximumPrefixes << bitsPerRound <= 1 << 24
    else { throw .outOfRange(.prefixes, value: Double(maximumPrefixes)) }
    try QueryLimits.check(records: recordsPerContributor)
    guard falsePrefixesPerRound > 0, falsePrefixesPerRound < 1 else {
      throw .outOfRange(.confidence, value: falsePrefixesPerRound)
    }
    guard round >= 0, round <= totalRounds, prefixes.count <= maximumPrefixes,
      Set(prefixes).count == prefixes.count, found.count <= maximumPrefixes,
      prefixes.allSatisfy({ $0.count == round && $0.allSatisfy { Int($0) < fanOut } })
    else { throw .outOfRange(.prefixes, value: Double(prefixes.count)) }
  }

  private var fanOut: Int { 1 << bitsPerRound }

  /// The rounds of a whole search: the key's bits over `bitsPerRound`.
  package var totalRounds: Int { 8 * keyBytes / bitsPerRound }

  /// True if no round is left or no prefix survived.
  package var isFinished: Bool { round == totalRounds || prefixes.isEmpty }

  /// The number of coordinates of this round's vectors, at least 1.
  package var dimension: Int { max(1, prefixes.count * (isFinished ? 0 : fanOut)) }

  /// The group of bits at a place of a key.
  private func group(_ key: [UInt8], _ place: Int) -> UInt8 {
    let bit = place * bitsPerRound
    guard bit / 8 < key.count else { return 0 }
    return (key[bit / 8] >> UInt8(8 - bitsPerRound - bit % 8)) & UInt8(fanOut - 1)
  }

  /// The coordinate that a key votes for in this round; nil if its prefix did not survive.
  func coordinate(of key: [UInt8]) -> Int? {
    guard !isFinished else { return nil }
    let prefix = (0..<round).map { group(key, $0) }
    guard let index = prefixes.firstIndex(of: prefix) else { return nil }
    return index * fanOut + Int(group(key, round))
  }

  /// θ for noise of variance `noiseVariance` over `coordinates`, at least 1.
  package func threshold(noiseVariance: Double, coordinates: Int) -> Double {
    let tail = min(falsePrefixesPerRound / Double(coordinates), 0.5)
    return max(1, noiseVariance.squareRoot() * NormalDistribution.upperQuantile(tail))
  }

  /// The number of votes in every round with which a string is found but for a probability of `failure`
  /// (above 0 and below 1), whatever the others do short of crowding it out.
  package func certainCount(noiseVariance: Double, failure: Double) -> Double {
    let most = threshold(noiseVariance: noiseVariance, coordinates: maximumPrefixes * fanOut)
    let perRound = failure / Double(totalRounds)
    return most + noiseVariance.squareRoot() * NormalDistribution.upperQuantile(min(perRound, 0.5))
  }

  /// The search after a round whose noised sum is given.
  ///
  /// Throws: `searchFinished`; `wrongDimension`.
  package func advanced(
    by sum: [Int64], noiseVariance: Double
  ) throws(MechanismError) -> HeavyHitterSearch {
    guard !isFinished else { throw .searchFinished }
    guard sum.count == dimension else {
      throw .wrongDimension(expected: dimension, actual: sum.count)
    }
    let limit = threshold(noiseVariance: noiseVariance, coordinates: dimension)
    // Equal counts keep the order of their coordinates, so that every reader finds the same.
    let survivors = sum.indices.filter { Double(sum[$0]) >= limit }
      .sorted { (sum[$0], $1) > (sum[$1], $0) }.prefix(maximumPrefixes)
    var next = self
    next.round += 1
    next.prefixes = survivors.map { prefixes[$0 / fanOut] + [UInt8($0 % fanOut)] }
    if next.round == totalRounds {
      let error = noiseVariance.squareRoot()
      next.found = zip(next.prefixes, survivors).map { groups, coordinate in
        HeavyHitter(
          key: key(groups), count: CountEstimate(value: Double(sum[coordinate]), standardError: error))
      }
    }
    return next
  }

  /// The bytes of a whole key's groups, without the zero bytes at the end.
  private func key(_ groups: [UInt8]) -> [UInt8] {
    let perByte = 8 / bitsPerRound
    let bytes = stride(from: 0, to: groups.count, by: perByte).map { start in
      groups[start..<(start + perByte)].reduce(UInt8(0)) { ($0 << UInt8(bitsPerRound % 8)) | $1 }
    }
    let end = bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
    return Array(bytes[..<end])
  }
}
