import Foundation
import Testing

@testable import Learning

@Suite struct SegmentStepTests {
  private static let rows: [[Float]] = {
    var noise = TestNoise(seed: 5)
    return (0..<400).map { index in
      noise.floats(3).map { $0 / 2 + [-1, 0, 1.2, 0.3][index % 4] * Float(index % 3 + 1) / 2 }
    }
  }()

  /// Settled segments at the given rows.
  private func training(_ method: SegmentSettings.Method, _ centres: [Int]) throws -> SegmentTraining {
    let settings = SegmentSettings(
      method: method, count: centres.count, smallestShare: 0, range: 10, smallestVariance: 0.000_1)
    var training = try SegmentTraining(settings, columns: 3)
    training.parameters =
      SegmentState(
        seed: 9, rounds: 4, isSettled: true,
        segments: centres.map {
          CustomerSegment(
            share: 1 / Float(centres.count), centre: Self.rows[$0],
            variance: method == .mixture ? [0.5, 0.7, 0.9] : [])
        }
      ).parameters
    try training.model.check(parameters: training.parameters)
    return training
  }

  @Test func `a round is an iteration of Lloyd's, if nothing is clipped or noisy`() throws {
    var training = try training(.kMeans, [0, 11, 22, 33])
    let batch = try segmentBatch(Self.rows, count: 4)
    var noise = TestNoise(seed: 1)
    for _ in 0..<6 {
      let centres = try training.state.segments.map(\.centre)
      let nearest = Self.rows.map { row in
        (0..<4).min { squaredDistance(row, centres[$0]) < squaredDistance(row, centres[$1]) }
      }
      try training.round(batch, noise: &noise)
      let moved = try training.state.segments
      for segment in 0..<4 {
        let own = Self.rows.indices.filter { nearest[$0] == segment }
        let mean = (0..<3).map { column in
          Float(own.reduce(0.0) { $0 + Double(Self.rows[$1][column]) } / Double(own.count))
        }
        #expect(distance(moved[segment].centre, mean) < 1e-5)
        #expect(abs(moved[segment].share - Float(own.count) / 400) < 1e-5)
      }
    }
    #expect(try training.state.rounds == 10)
  }

  @Test func `a round is an iteration of expectation maximisation, and no likelihood falls`() throws {
    var training = try training(.mixture, [0, 11, 22])
    let batch = try segmentBatch(Self.rows, count: 3)
    var noise = TestNoise(seed: 1)
    var before = -Double.infinity
    for _ in 0..<12 {
      let old = try training.state.segments
      let (expected, likelihood) = maximised(old)
      let measured = try #require(try training.metrics(batch).logLikelihood)
      #expect(abs(measured - likelihood) < 1e-5)
      #expect(likelihood > before)
      before = likelihood
      try training.round(batch, noise: &noise)
      for (new, wanted) in zip(try training.state.segments, expected) {
        #expect(abs(new.share - wanted.share) < 1e-5)
        #expect(distance(new.centre, wanted.centre) < 2e-5)
        #expect(distance(new.variance, wanted.variance) < 5e-5)
      }
    }
  }

  /// Shares, means and variances by the definition, and the mean log likelihood before.
  private func maximised(_ old: [CustomerSegment]) -> ([CustomerSegment], Double) {
    var (likelihood, weights) = (0.0, [[Double]](repeating: [], count: old.count))
    for row in Self.rows {
      let densities = old.map { segment in
        zip(row, zip(segment.centre, segment.variance)).reduce(Double(segment.share)) { product, part in
          let (difference, variance) = (Double(part.0 - part.1.0), Double(part.1.1))
          return product * exp(-difference * difference / (2 * variance)) / sqrt(2 * .pi * variance)
        }
      }
      let sum = densities.reduce(0, +)
      likelihood += log(sum)
      for index in old.indices { weights[index].append(densities[index] / sum) }
    }
    let segments = weights.map { own in
      let size = own.reduce(0, +)
      func mean(_ value: (Int) -> Double) -> Double {
        own.indices.reduce(0) { $0 + own[$1] * value($1) } / size
      }
      let centre = (0..<3).map { column in mean { Double(Self.rows[$0][column]) } }
      let variance = (0..<3).map { column in mean { pow(Double(Self.rows[$0][column]) - centre[column], 2) } }
      return CustomerSegment(
        share: Float(size / Double(Self.rows.count)), centre: centre.map { Float($0) },
        variance: variance.map { Float($0) })
    }
    return (segments, likelihood / Double(Self.rows.count))
  }

  @Test func `growing splits the widest segment along its widest feature, around its mean`() throws {
    var training = try SegmentTraining(SegmentSettings(count: 4), columns: 2)
    var noise = TestNoise(seed: 4)
    let rows = (0..<500).map { _ in [0.5 + 0.2 * Float(noise.next()), -0.4 + Float(noise.next()) / 2] }
    try training.train(segmentBatch(rows, count: 4), rounds: 1)
    let mean = (0..<2).map { column in rows.reduce(Float(0)) { $0 + $1[column] } / 500 }
    let deviation = (rows.reduce(Float(0)) { $0 + ($1[1] - mean[1]) * ($1[1] - mean[1]) } / 500).squareRoot()
    let segments = try training.state.segments
    #expect(segments.count == 2 && segments.allSatisfy { $0.share == 0.5 })
    #expect(distance(segments[0].centre, [mean[0], mean[1] + 0.8 * deviation]) < 1e-4)
    #expect(distance(segments[1].centre, [mean[0], mean[1] - 0.8 * deviation]) < 1e-4)
    #expect(try !training.state.isSettled)
  }

  @Test(arguments: SegmentSettings.Method.allCases, [2, 3, 4, 7, 16, 256])
  func `growing ends after the rounds that settings say`(method: SegmentSettings.Method, count: Int) throws {
    let settings = SegmentSettings(method: method, count: count)
    var training = try SegmentTraining(settings, columns: 2)
    for round in 1...settings.growingRounds {
      let length = training.model.contributionLength(parameters: training.parameters)
      #expect(try !training.state.isSettled && length == training.state.segments.count * 5)
      try training.step(mean: [Float](repeating: 0.01, count: length), contributors: 1_000)
      #expect(try training.state.rounds == round)
      #expect(try training.model.segments(parameters: training.parameters).count <= count)
    }
    #expect(try training.state.isSettled && training.state.segments.count == count)
    let width = method == .kMeans ? 3 : 5
    #expect(training.model.contributionLength(parameters: training.parameters) == count * width)
  }

  @Test(arguments: SegmentSettings.Method.allCases)
  func `an empty segment becomes a part of the largest and lives on`(method: SegmentSettings.Method) throws {
    var training = try training(method, [0, 11, 22])
    var state = try training.state
    state.segments[1].centre = [10, -10, 10]
    training.parameters = state.parameters
    let batch = try segmentBatch(Self.rows, count: 3)
    var noise = TestNoise(seed: 1)
    try training.round(batch, noise: &noise)
    let moved = try training.state.segments
    let other = moved[0].share == moved[1].share ? 0 : 2
    #expect(moved[1].share == moved[other].share && moved[1].centre != moved[other].centre)
    #expect(squaredDistance(moved[1].centre, moved[other].centre) < (method == .kMeans ? 0.01 : 1))
    for _ in 0..<25 { try training.round(batch, noise: &noise) }
    #expect(try training.state.segments.allSatisfy { $0.share > 0.05 })
  }

  @Test func `a segment of few contributors stays where it is`() throws {
    var training = try training(.kMeans, [0, 11, 22, 33])
    let model = try Segmentation(
      settings: SegmentSettings(count: 4, smallestShare: 0.2, range: 10), shape: FeatureShape(columns: 3))
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: 1)
    let before = try training.state.segments
    // Of 1000 contributors a fifth of an equal share is 50, a quarter of which 12.5.
    for (size, moves, revived) in [(55, true, false), (45, false, false), (5, false, true)]
      as [(Float, Bool, Bool)]
    {
      var mean = [Float](repeating: 0, count: 16)
      for (index, number) in [size, 300, 400, 300 - size].enumerated() {
        mean[4 * index] = number / 1_000 / 2
        mean[4 * index + 1] = 0.001
      }
      var parameters = training.parameters
      try model.step(mean: mean, contributors: 1_000, optimizer: &optimizer, parameters: &parameters)
      let after = try model.segments(parameters: parameters)
      #expect((after[0].centre != before[0].centre) == (moves || revived))
      #expect((squaredDistance(after[0].centre, after[2].centre) < 0.1) == revived)
      #expect(after[1].centre[0] > before[1].centre[0] && after[1].centre[1] == before[1].centre[1])
    }
    // Noise below zero counts as none.
    try training.step(mean: [Float](repeating: -1, count: 16), contributors: 1_000)
    #expect(try training.state.segments.map(\.centre) == before.map(\.centre))
  }
}
