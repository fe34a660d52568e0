import Testing

@testable import Learning

@Suite struct SegmentRecoveryTests {
  /// Whether every group has a segment of its own that is near its mean and has its share.
  private func isRecovered(_ segments: [CustomerSegment], _ blobs: Blobs, within radius: Float) -> Bool {
    blobs.centres.indices.allSatisfy { group in
      let size = Float(blobs.groups.count { $0 == group }) / Float(blobs.groups.count)
      return segments.count {
        squaredDistance($0.centre, blobs.centres[group]) < radius * radius && abs($0.share - size) < 0.04
      } == 1
    }
  }

  @Test(arguments: SegmentSettings.Method.allCases, [(2, 2), (4, 3), (7, 3), (12, 6)])
  func `separate groups are found from every seed`(
    method: SegmentSettings.Method, size: (count: Int, columns: Int)
  ) throws {
    for seed in 0..<20 as Range<UInt64> {
      let blobs = Blobs(count: size.count, columns: size.columns, rows: 900, apart: 1.5, seed: seed)
      // The average over one contributor's rows is the mean of contributors with one row each.
      let batch = try segmentBatch(blobs.rows, rowCounts: [900], count: size.count)
      var training = try SegmentTraining(
        SegmentSettings(method: method, count: size.count), columns: size.columns, seed: seed)
      for _ in 0..<(try #require(training.model.settings.usualRounds)) {
        try training.step(mean: training.contributions(batch)[0], contributors: 900)
      }
      let segments = try training.model.segments(parameters: training.parameters)
      #expect(isRecovered(segments, blobs, within: 0.3), "seed \(seed)")
    }
  }

  @Test(arguments: SegmentSettings.Method.allCases)
  func `separate groups are found through noise and clipping`(method: SegmentSettings.Method) throws {
    for seed in 0..<5 as Range<UInt64> {
      let blobs = Blobs(count: 4, columns: 3, rows: 1_500, apart: 1.8, seed: seed)
      let batch = try segmentBatch(blobs.rows, count: 4)
      var training = try SegmentTraining(SegmentSettings(method: method, count: 4), columns: 3, seed: seed)
      try training.train(batch, deviation: 4)
      let segments = try training.model.segments(parameters: training.parameters)
      #expect(isRecovered(segments, blobs, within: 0.4), "seed \(seed)")
    }
  }

  @Test(arguments: SegmentSettings.Method.allCases)
  func `the same inputs give the same bits`(method: SegmentSettings.Method) throws {
    let blobs = Blobs(count: 5, columns: 3, rows: 400, spread: 0.8, apart: 1, seed: 3)
    let batch = try segmentBatch(blobs.rows, count: 6)
    let all = try (0..<2).map { _ in
      var training = try SegmentTraining(SegmentSettings(method: method, count: 6), columns: 3, seed: 11)
      try training.train(batch, deviation: 30)
      return training.parameters
    }
    #expect(all[0] == all[1])
  }

  @Test(arguments: SegmentSettings.Method.allCases)
  func `rows that are all the same are no trouble`(method: SegmentSettings.Method) throws {
    let rows = [[Float]](repeating: [0.5, -0.25], count: 50)
    let batch = try segmentBatch(rows, count: 3)
    var training = try SegmentTraining(SegmentSettings(method: method, count: 3), columns: 2)
    try training.train(batch, rounds: 40)
    let metrics = try training.metrics(batch)
    #expect(try #require(metrics.inertia) < 0.1)
    let few = try segmentBatch([[1, 1], [-1, -1]], count: 3)
    training = try SegmentTraining(SegmentSettings(method: method, count: 3), columns: 2)
    try training.train(few, rounds: 40)
    #expect(try training.state.isSettled)
  }
}
