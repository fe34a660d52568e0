import Cryptography

/// The shares that survivors revealed, kept flat: 32 bytes for each.
struct RevealBook: Sendable {
  /// t, the number of shares that recover a secret.
  let threshold: Int
  /// By holder: whose shares it holds, ascending.
  private var held: [Int: [Int]] = [:]
  /// By sharer: who holds its shares, ascending.
  private var holders: [Int: [Int]] = [:]
  /// By holder: its shares in the order of `held`.
  private var shares: [Int: [UInt8]] = [:]
  /// By sharer: how many of its shares were revealed.
  private var counts: [Int: Int] = [:]
  /// How many sharers lack shares for recovery.
  private var incomplete = 0

  /// A book for a session in which nobody shared.
  init() { threshold = 0 }

  /// A book for sharers, given to whom each dealt.
  init(dealt: [Int: [Int]], keepsOwn: Bool, threshold: Int) {
    self.threshold = threshold
    for (dealer, recipients) in dealt {
      let all = keepsOwn ? (recipients + [dealer]).sorted() : recipients
      holders[dealer] = all
      for holder in all { held[holder, default: []].append(dealer) }
    }
    held = held.mapValues { $0.sorted() }
    incomplete = dealt.count
  }

  /// How many holders revealed.
  var count: Int { shares.count }
  /// Whether every sharer's secret has enough shares.
  var isSufficient: Bool { incomplete == 0 }
  /// The fewest revealed shares of any sharer.
  var fewest: Int { holders.keys.map { counts[$0] ?? 0 }.min() ?? 0 }

  /// Whether the holder revealed.
  func contains(_ holder: Int) -> Bool { shares[holder] != nil }

  /// Whose shares a holder has, ascending.
  func dealers(of holder: Int) -> [Int] { held[holder] ?? [] }

  /// The bytes that a holder revealed.
  func bytes(of holder: Int) -> [UInt8]? { shares[holder] }

  /// Records shares in the order of `dealers(of:)`.
  mutating func record(_ bytes: [UInt8], of holder: Int) {
    let dealers = dealers(of: holder)
    precondition(bytes.count == dealers.count * 32 && shares[holder] == nil, "checked by the caller")
    shares[holder] = bytes
    for dealer in dealers {
      counts[dealer, default: 0] += 1
      if counts[dealer] == threshold { incomplete -= 1 }
    }
  }

  /// Who revealed a share of the dealer's secret, ascending.
  func revealers(of dealer: Int) -> [Int] { (holders[dealer] ?? []).filter { shares[$0] != nil } }

  /// The share of a dealer's secret that a holder revealed.
  func share(of dealer: Int, from holder: Int) -> Scalar? {
    guard let dealers = held[holder], let bytes = shares[holder] else { return nil }
    var low = 0
    var high = dealers.count
    while low < high {
      let middle = (low + high) / 2
      if dealers[middle] < dealer { low = middle + 1 } else { high = middle }
    }
    guard low < dealers.count, dealers[low] == dealer else { return nil }
    return try? Scalar(canonical: Array(bytes[low * 32..<(low + 1) * 32]))
  }
}
