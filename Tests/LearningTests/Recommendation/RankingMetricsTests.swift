import Testing

@testable import Learning

struct RankingMetricsTests {
  @Test func `measures a list computed by hand`() throws {
    // Relevant at ranks 2 and 4 of four; three are relevant.
    let metrics = try #require(RankingMetrics(ranked: [7, 1, 8, 3, 2], relevant: [1, 2, 3], k: 4))
    #expect(abs(metrics.recall - 2.0 / 3) < 1e-12)
    // 1 / log₂ 3 + 1 / log₂ 5 over 1 + 1 / log₂ 3 + 1 / log₂ 4.
    #expect(abs(metrics.ndcg - (0.630929753571 + 0.430676558073) / (1 + 0.630929753571 + 0.5)) < 1e-9)
    #expect(metrics.hit == 1)
  }

  @Test func `a full list of relevant items is perfect`() throws {
    let metrics = try #require(RankingMetrics(ranked: [4, 5, 6], relevant: [1, 4, 5, 6, 9], k: 3))
    #expect(metrics.recall == 1 && metrics.ndcg == 1 && metrics.hit == 1)
  }

  @Test func `a list without relevant items is worth nothing`() throws {
    let metrics = try #require(RankingMetrics(ranked: [4, 5, 1], relevant: [1], k: 2))
    #expect(metrics.recall == 0 && metrics.ndcg == 0 && metrics.hit == 0)
    let empty = try #require(RankingMetrics(ranked: [], relevant: [1], k: 2))
    #expect(empty == metrics)
  }

  @Test func `a list that is too short misses the rest`() throws {
    let metrics = try #require(RankingMetrics(ranked: [2], relevant: [1, 2], k: 10))
    #expect(metrics.recall == 0.5)
    #expect(abs(metrics.ndcg - 1 / (1 + 0.630929753571)) < 1e-9)
  }

  @Test func `a user without relevant items has no metrics`() {
    #expect(RankingMetrics(ranked: [1, 2], relevant: [], k: 2) == nil)
    #expect(RankingMetrics.mean(of: []) == nil)
  }

  @Test func `users count the same in the mean`() throws {
    let best = try #require(RankingMetrics(ranked: [1], relevant: [1], k: 1))
    let worst = try #require(RankingMetrics(ranked: [2], relevant: [1, 3, 4], k: 1))
    let mean = try #require(RankingMetrics.mean(of: [best, worst, worst, best]))
    #expect(mean.recall == 0.5 && mean.ndcg == 0.5 && mean.hit == 0.5)
  }

  @Test func `the error of ratings is the root of the mean square`() throws {
    let rmse = try #require(RankingMetrics.rmse(predictions: [1, 2, 5], ratings: [1, 4, 4]))
    #expect(abs(rmse - (5.0 / 3).squareRoot()) < 1e-12)
    #expect(RankingMetrics.rmse(predictions: [], ratings: []) == nil)
  }
}
