import Cryptography
import Foundation
import Testing

@testable import Privacy

/// Questions answered from noised sums.
struct StatisticsQueryTests {
  private func sum(
    _ query: StatisticsQuery, _ people: [StatisticsRecords], variance: Double, seed: UInt64
  ) throws -> [Int64] {
    var random = RandomStream(testSeed: seed)
    var sum = [Int64](repeating: 0, count: query.dimension)
    for records in people {
      let vector = try query.encode(records, random: &random)
      for index in sum.indices { sum[index] += vector[index] }
    }
    if variance > 0 { try SkellamSampler(variance: variance).addNoise(to: &sum, random: &random) }
    return sum
  }

  @Test func `every query survives JSON and a bad one does not decode`() throws {
    let queries: [StatisticsQuery] = [
      .count(try CountQuery(recordsPerContributor: 3)), .histogram(try HistogramQuery(categories: 12)),
      .mean(try MeanQuery(lower: -1, upper: 4)),
      .quantiles(try QuantileQuery(lower: 0, upper: 1, bins: 64, probabilities: [0.25, 0.5])),
      .heavyHitters(try HeavyHitterSearch(keyBytes: 3)),
    ]
    for query in queries {
      let data = try JSONEncoder().encode(query)
      #expect(try JSONDecoder().decode(StatisticsQuery.self, from: data) == query)
    }
    let bad = [
      #"{"count":{"_0":{"recordsPerContributor":0}}}"#,
      #"{"histogram":{"_0":{"categories":0,"recordsPerContributor":1}}}"#,
      #"{"mean":{"_0":{"lower":1,"upper":1,"resolution":8,"recordsPerContributor":1}}}"#,
      #"{"quantiles":{"_0":{"lower":0,"upper":1,"bins":8,"probabilities":[1],"recordsPerContributor":1}}}"#,
    ]
    for text in bad {
      #expect(throws: (any Error).self) {
        try JSONDecoder().decode(StatisticsQuery.self, from: Data(text.utf8))
      }
    }
  }

  @Test func `no contributor's vector exceeds the stated sensitivity, and some reach it`() throws {
    let extremes: [Double] = [.infinity, -.infinity, 1e308, -1e308, 0, -0.0, .nan, 3, .leastNonzeroMagnitude]
    let cases: [(StatisticsQuery, [StatisticsRecords])] = [
      (.count(try CountQuery(recordsPerContributor: 3)), [.numbers(extremes), .keys([]), .categories([1])]),
      (
        .histogram(try HistogramQuery(categories: 4, recordsPerContributor: 3)),
        [.categories([2, 2, 2, 2, 2]), .categories([-1, 4, .max, .min]), .categories([0, 1, 2, 3])]
      ),
      (
        .mean(try MeanQuery(lower: -1, upper: 1, resolution: 100, recordsPerContributor: 3)),
        [.numbers(extremes), .numbers([1, 1, 1, 1]), .numbers([-5, -5, -5]), .numbers([0.3])]
      ),
      (
        .quantiles(
          try QuantileQuery(lower: 0, upper: 1, bins: 5, probabilities: [0.5], recordsPerContributor: 3)),
        [.numbers(extremes), .numbers([1, 1, 1, 1, 1]), .numbers([])]
      ),
      (
        .heavyHitters(try HeavyHitterSearch(keyBytes: 2, recordsPerContributor: 3)),
        [.keys([[7], [7], [7], [7]]), .keys([[], [1, 2, 3, 4]])]
      ),
    ]
    for (query, people) in cases {
      var largest = StatisticsSensitivity(l1: 0, l2Squared: 0, lInfinity: 0)
      for (seed, records) in people.enumerated() {
        var random = RandomStream(testSeed: UInt64(seed))
        let vector = try query.encode(records, random: &random)
        #expect(vector.count == query.dimension && query.sensitivity.holds(for: vector))
        largest = StatisticsSensitivity(
          l1: max(largest.l1, vector.reduce(0) { $0 + abs($1) }),
          l2Squared: max(largest.l2Squared, vector.reduce(0) { $0 + $1 * $1 }),
          lInfinity: max(largest.lInfinity, vector.reduce(0) { max($0, abs($1)) }))
      }
      #expect(largest == query.sensitivity, "the bound is tight")
    }
  }

  @Test func `the bound is checked without overflow`() {
    let bound = StatisticsSensitivity(l1: 4, l2Squared: 6, lInfinity: 2)
    for good in [[], [2, -1], [0, 0, 1, -1, 1]] as [[Int64]] { #expect(bound.holds(for: good)) }
    for bad in [[3], [2, -2], [2, 1, 1, 1], [1, 1, 1, 1, 1], [.min], [.max, .max], [1 << 32, 1 << 32]]
      as [[Int64]]
    {
      #expect(!bound.holds(for: bad))
    }
    let event = bound.event(variance: 10, dimension: 5, samplerErrorLog2: -90, relation: .replaceOne)
    #expect(
      event.mechanism
        == .skellam(
          variance: 10, sensitivityL2Squared: 24, sensitivityL1: 8, dimension: 5, samplerErrorLog2: -90))
  }

  @Test func `records of another kind are refused, bad records are not`() throws {
    var random = RandomStream(testSeed: 1)
    let mean = StatisticsQuery.mean(try MeanQuery(lower: 0, upper: 1))
    let vector = try mean.encode(.numbers([.nan]), random: &random)
    #expect(vector == [0, 0, 0])
    #expect(throws: MechanismError.wrongValues(expected: "numbers", actual: "categories")) {
      var random = RandomStream(testSeed: 1)
      _ = try mean.encode(.categories([1]), random: &random)
    }
    #expect(throws: MechanismError.wrongDimension(expected: 3, actual: 1)) {
      try mean.decode(sum: [1], noiseVariance: 0)
    }
    #expect(throws: MechanismError.self) { try mean.decode(sum: [1, 1, 1], noiseVariance: -1) }
    #expect(throws: MechanismError.self) { try mean.decode(sum: [1, 1, 1], noiseVariance: 1, confidence: 1) }
    #expect(throws: MechanismError.self) { try mean.decode(sum: [0, 1, 1], noiseVariance: 1) }
  }

  @Test func `too many records are chosen from at random`() throws {
    let query = StatisticsQuery.histogram(try HistogramQuery(categories: 5, recordsPerContributor: 2))
    let people = [StatisticsRecords](repeating: .categories([0, 1, 2, 3, 4]), count: 5000)
    let counts = try sum(query, people, variance: 0, seed: 3)
    #expect(counts.reduce(0, +) == 10_000)
    #expect(counts.allSatisfy { abs($0 - 2000) < 150 })
  }

  @Test func `counts and histograms come with intervals that hold the truth as often as they say`() throws {
    let query = StatisticsQuery.histogram(try HistogramQuery(categories: 50))
    let people = (0..<2000).map { StatisticsRecords.categories([$0 * $0 % 50]) }
    let truth = try sum(query, people, variance: 0, seed: 1)
    var held = 0
    for seed in 0..<20 {
      var noised = truth
      var random = RandomStream(testSeed: 900 + UInt64(seed))
      try SkellamSampler(variance: 400).addNoise(to: &noised, random: &random)
      guard case .histogram(let bins) = try query.decode(sum: noised, noiseVariance: 400) else { return }
      for (bin, count) in zip(bins, truth) where bin.interval(confidence: 0.9).contains(Double(count)) {
        held += 1
      }
    }
    #expect(abs(Double(held) / 1000 - 0.9) < 0.04, "\(held) of 1000")
    let number = StatisticsQuery.count(try CountQuery(recordsPerContributor: 2))
    let total = try sum(number, people + [.keys([[1], [2], [3]])], variance: 0, seed: 1)
    #expect(
      try number.decode(sum: total, noiseVariance: 0) == .count(CountEstimate(value: 2002, standardError: 0)))
  }

  @Test func `mean and variance are unbiased with the stated errors`() throws {
    let query = try MeanQuery(lower: -10, upper: 30, resolution: 64)
    let values = (0..<3000).map { 12 + 6 * sin(Double($0)) + Double($0 % 7) - 3 }
    let mean = values.reduce(0, +) / 3000
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 3000
    let noise = 250.0 * 250
    var (biases, ratios) = ([0.0, 0], [0.0, 0])
    let repeats = 60
    for seed in 0..<repeats {
      let total = try sum(
        .mean(query), values.map { .numbers([$0]) }, variance: noise, seed: 100 + UInt64(seed))
      guard case .mean(let found) = try StatisticsQuery.mean(query).decode(sum: total, noiseVariance: noise)
      else { return }
      let errors = [
        (found.mean - mean) / found.meanStandardError,
        (found.variance - variance) / found.varianceStandardError,
      ]
      for index in 0..<2 {
        biases[index] += errors[index] / Double(repeats)
        ratios[index] += errors[index] * errors[index] / Double(repeats)
      }
      #expect(found.meanStandardError < 0.2 && found.varianceStandardError < 4)
    }
    for index in 0..<2 {
      #expect(abs(biases[index]) < 4 / Double(repeats).squareRoot())
      #expect(ratios[index] > 0.45 && ratios[index] < 1.9, "\(ratios)")
    }
  }

  @Test func `quantiles lie within a bin without noise and within their intervals with it`() throws {
    let probabilities = [0.01, 0.25, 0.5, 0.9, 0.99]
    let query = StatisticsQuery.quantiles(
      try QuantileQuery(lower: 0, upper: 10, bins: 100, probabilities: probabilities))
    // Exponential records by their quantiles; the few above 10 count in the last bin.
    let values = (0..<20_000).map { -1.5 * log(1 - (Double($0) + 0.5) / 20_000) }
    let clean = try sum(query, values.map { .numbers([$0]) }, variance: 0, seed: 1)
    let truth = probabilities.map { -1.5 * log(1 - $0) }
    guard case .quantiles(let exact) = try query.decode(sum: clean, noiseVariance: 0) else { return }
    for (estimate, value) in zip(exact, truth) {
      #expect(abs(estimate.value - value) < 0.03 && estimate.lower <= value && value <= estimate.upper)
      #expect(estimate.upper - estimate.lower <= 0.31)
    }
    var (held, width) = (0, 0.0)
    for seed in 0..<40 {
      var noised = clean
      var random = RandomStream(testSeed: 300 + UInt64(seed))
      try SkellamSampler(variance: 400).addNoise(to: &noised, random: &random)
      guard case .quantiles(let found) = try query.decode(sum: noised, noiseVariance: 400) else { return }
      for (estimate, value) in zip(found, truth) {
        if estimate.lower <= value && value <= estimate.upper { held += 1 }
      }
      width += (found[2].upper - found[2].lower) / 40
    }
    #expect(held >= 188, "\(held) of 200 intervals of 95 %")
    #expect(width < 0.8)
    #expect(throws: MechanismError.self) {
      try query.decode(sum: [Int64](repeating: 1, count: 100), noiseVariance: 1e6)
    }
  }

  @Test func `normal quantiles are those of tables`() {
    for (p, x) in [(0.5, 0), (0.975, 1.959963984540054), (0.1, -1.2815515655446004)] {
      #expect(abs(NormalDistribution.quantile(p) - x) < 1e-9)
    }
    #expect(isClose(NormalDistribution.upperQuantile(1e-9), 5.997807015, relative: 1e-8))
  }
}

/// Frequent strings from noised sums.
struct HeavyHitterSearchTests {
  private let frequent: [(String, Int)] = [("milk", 900), ("bread", 700), ("mint", 500), ("milkshake", 400)]

  private func search(
    _ start: HeavyHitterSearch, people: [(key: String, count: Int)], variance: Double, seed: UInt64
  ) throws -> (end: HeavyHitterSearch, rounds: Int) {
    var state = start
    var rounds = 0
    var random = RandomStream(testSeed: seed)
    while !state.isFinished {
      let query = StatisticsQuery.heavyHitters(state)
      var sum = [Int64](repeating: 0, count: query.dimension)
      // People with the same string send the same vector: no choice among records is drawn.
      for (key, count) in people {
        let vector = try query.encode(.keys([Array(key.utf8)]), random: &random)
        for (index, vote) in vector.enumerated() where vote != 0 { sum[index] += vote * Int64(count) }
      }
      if variance > 0 { try SkellamSampler(variance: variance).addNoise(to: &sum, random: &random) }
      // The state travels to the nodes and back.
      let data = try JSONEncoder().encode(query.decode(sum: sum, noiseVariance: variance))
      guard case .heavyHitters(let next) = try JSONDecoder().decode(StatisticsAnswer.self, from: data)
      else { break }
      state = next
      rounds += 1
    }
    return (state, rounds)
  }

  private var people: [(key: String, count: Int)] {
    // Nobody else shares a string.
    frequent.map { (key: $0.0, count: $0.1) } + (0..<60).map { (key: "rare\($0)", count: 1) }
  }

  @Test(arguments: [2, 4, 8])
  func `the frequent strings are found in their order with their counts`(_ bits: Int) throws {
    let start = try HeavyHitterSearch(keyBytes: 9, bitsPerRound: bits, maximumPrefixes: 32)
    let variance = 400.0
    #expect(start.certainCount(noiseVariance: variance, failure: 0.01) < 200)
    let (end, rounds) = try search(start, people: people, variance: variance, seed: 60)
    #expect(rounds == 72 / bits && end.isFinished)
    let names = end.found.map { String(decoding: $0.key, as: UTF8.self) }
    #expect(names == frequent.map(\.0))
    for (hit, expected) in zip(end.found, frequent) {
      #expect(abs(hit.count.value - Double(expected.1)) < 4 * hit.count.standardError)
    }
  }

  @Test func `noise alone finds next to nothing`() throws {
    var survivors = 0
    for seed in 0..<50 {
      let start = try HeavyHitterSearch(keyBytes: 1, maximumPrefixes: 32)
      let (end, _) = try search(start, people: [], variance: 100, seed: 500 + UInt64(seed))
      survivors += end.prefixes.count
    }
    // 0.1 a round on average.
    #expect(survivors <= 14, "\(survivors) in 50 rounds")
  }

  @Test func `only the most frequent prefixes survive, in a fixed order`() throws {
    let start = try HeavyHitterSearch(keyBytes: 1, bitsPerRound: 2, maximumPrefixes: 2)
    let next = try start.advanced(by: [5, 9, 9, 7], noiseVariance: 0)
    #expect(next.prefixes == [[1], [2]] && next.round == 1 && next.dimension == 8)
    let none = try start.advanced(by: [0, 0, 0, -4], noiseVariance: 0)
    #expect(none.isFinished && none.found.isEmpty)
    #expect(throws: MechanismError.searchFinished) { try none.advanced(by: [0], noiseVariance: 0) }
    #expect(throws: MechanismError.wrongDimension(expected: 4, actual: 1)) {
      try start.advanced(by: [0], noiseVariance: 0)
    }
  }

  @Test func `a search or a state out of range is refused`() throws {
    #expect(throws: MechanismError.self) { try HeavyHitterSearch(keyBytes: 0) }
    #expect(throws: MechanismError.self) { try HeavyHitterSearch(keyBytes: 4, bitsPerRound: 3) }
    #expect(throws: MechanismError.self) { try HeavyHitterSearch(keyBytes: 4, maximumPrefixes: 1 << 20) }
    let text = String(decoding: try JSONEncoder().encode(HeavyHitterSearch(keyBytes: 4)), as: UTF8.self)
    let bad = text.replacing("\"round\":0", with: "\"round\":1")
    #expect(bad != text)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(HeavyHitterSearch.self, from: Data(bad.utf8))
    }
  }
}
