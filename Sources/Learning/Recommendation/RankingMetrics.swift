#if canImport(Glibc)
  import Glibc
#endif

/// How good a ranked list is for one user, by which of its items were relevant.
package struct RankingMetrics: Equatable, Sendable {
  /// Relevant items among the first k, divided by the most that there can be: min(k, relevant items).
  package let recall: Double
  /// The discounted gain Σ 1 / log₂(1 + rank) of relevant items among the first k, divided by that of the
  /// best list (binary relevance; Järvelin and Kekäläinen, TOIS 2002).
  package let ndcg: Double
  /// 1 if a relevant item is among the first k, else 0.
  package let hit: Double

  /// The metrics of one user, exactly; nil without relevant items, which no list can serve.
  ///
  /// - Parameters:
  ///   - ranked: different items, best first; those after the first k do not count. A shorter list misses the
  /// rest.
  ///   - relevant: the items that should be at the top.
  ///   - k: at least 1.
  package init?(ranked: [Int], relevant: Set<Int>, k: Int) {
    precondition(k >= 1, "a list has at least one place")
    guard !relevant.isEmpty else { return nil }
    let most = min(k, relevant.count)
    var (hits, gain) = (0, 0.0)
    for (position, item) in ranked.prefix(k).enumerated() where relevant.contains(item) {
      hits += 1
      gain += Self.discount(position)
    }
    recall = Double(hits) / Double(most)
    ndcg = gain / (0..<most).reduce(0) { $0 + Self.discount($1) }
    hit = hits > 0 ? 1 : 0
  }

  private init(recall: Double, ndcg: Double, hit: Double) {
    self.recall = recall
    self.ndcg = ndcg
    self.hit = hit
  }

  /// The mean over users, each counting the same; nil without users.
  package static func mean(of users: [RankingMetrics]) -> RankingMetrics? {
    guard !users.isEmpty else { return nil }
    let count = Double(users.count)
    return RankingMetrics(
      recall: users.reduce(0) { $0 + $1.recall } / count, ndcg: users.reduce(0) { $0 + $1.ndcg } / count,
      hit: users.reduce(0) { $0 + $1.hit } / count)
  }

  /// The root of the mean squared error of predicted ratings; nil without any.
  package static func rmse(predictions: [Float], ratings: [Float]) -> Double? {
    precondition(predictions.count == ratings.count, "every prediction has a rating")
    guard !predictions.isEmpty else { return nil }
    let sum = zip(predictions, ratings).reduce(0.0) {
      $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1))
    }
    return (sum / Double(predictions.count)).squareRoot()
  }

  private static func discount(_ position: Int) -> Double { 1 / log2(Double(position + 2)) }
}
