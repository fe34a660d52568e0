/// The sums of one segment in a round, without the units of the vectors.
private struct SegmentSums {
  /// Contributors.
  let size: Double
  /// The mean of f (see `SegmentWorker`) of these contributors, or of those that make a segment worth moving
  /// where there are fewer.
  let first: [Double]
  /// The mean of (x − c)² while growing, of z² − 1 for a mixture; empty for k-means that has settled.
  let second: [Double]

  init(
    _ mean: ArraySlice<Float>, _ round: SegmentRound, contributors: Double, least: Double
  ) {
    let columns = round.columns
    let unit = contributors / Double(round.count)
    size = Double(mean[mean.startIndex]) * unit
    let number = max(size, least)
    first = mean.dropFirst().prefix(columns).map {
      Double($0) * contributors / Double(round.first) / number
    }
    second = mean.dropFirst(1 + columns).map { Double($0) * contributors / Double(round.second) / number }
  }
}

extension Segmentation {
  /// How far from the old centre the two halves of a split segment start, in deviations along the feature:
  /// about where the halves of a normal distribution have their means, √(2/π).
  private static let splitDistance = 0.8
  /// The least such distance in features' units, and about that of an empty segment from the largest.
  private static let smallestDistance: Float = 0.05

  /// One iteration: moves the segments, and splits or merges them while they grow.
  ///
  /// - Parameters:
  ///   - mean: of the vectors, `contributionLength` finite values, with noise or without.
  ///   - contributors: how many; a number below 1 is taken to be 1.
  ///   - optimizer: is not used.
  ///   - parameters: what passes `check`; the result does, too.
  package func step(
    mean: [Float], contributors: Double, optimizer: inout ServerOptimizer, parameters: inout [Float]
  ) throws(LearningError) {
    var state = try state(parameters)
    let round = SegmentRound(settings, columns: shape.columns, state)
    guard mean.count == state.segments.count * round.width else {
      throw .wrongCount(
        what: "the mean of a round of segments", expected: state.segments.count * round.width,
        actual: mean.count)
    }
    guard mean.allSatisfy(\.isFinite), contributors.isFinite else {
      throw .nonFiniteValue(what: "the mean of a round of segments")
    }
    // Beyond every population, and no product below overflows.
    let contributors = min(max(contributors, 1), 1e15)
    let sizes = state.segments.indices.map {
      max(0, Double(mean[$0 * round.width]) * contributors / Double(round.count))
    }
    let total = max(sizes.reduce(0, +), 1)
    // Below half a contributor there is none.
    let least = max(0.5, Double(settings.smallestShare) * total / Double(state.segments.count))
    var squares: [[Double]] = []
    for index in state.segments.indices {
      let sums = SegmentSums(
        mean[index * round.width..<(index + 1) * round.width], round, contributors: contributors, least: least
      )
      let moves = sums.size >= least
      squares.append(move(&state.segments[index], by: moves ? sums : nil, round))
      state.segments[index].share = share(max(sizes[index], 1) / total)
    }
    if state.isSettled {
      revive(&state, sizes: sizes, below: max(0.5, least / 4))
    } else {
      grow(&state, sizes: sizes, squares: squares)
    }
    state.rounds = min(state.rounds + 1, SegmentSettings.maximumRounds)
    for index in state.segments.indices { bound(&state.segments[index]) }
    parameters = state.parameters
  }

  private func share(_ value: Double) -> Float { max(SegmentState.smallestShare, min(1, Float(value))) }

  /// Moves one segment, if it is to be moved.
  ///
  /// - Returns: the mean squares along every feature around the new centre; 0 where it is not known.
  private func move(_ segment: inout CustomerSegment, by sums: SegmentSums?, _ round: SegmentRound)
    -> [Double]
  {
    var squares = [Double](repeating: 0, count: round.columns)
    guard let sums else { return squares }
    for column in 0..<round.columns {
      let old = Double(segment.centre[column])
      switch round.kind {
      case .lloyd: segment.centre[column] = bounded(old + sums.first[column])
      case .growing:
        segment.centre[column] = bounded(old + sums.first[column])
        // Noise can make it negative, which no square is.
        squares[column] = max(0, sums.second[column] - sums.first[column] * sums.first[column])
        if !segment.variance.isEmpty { segment.variance[column] = bounded(variance: squares[column]) }
      case .expectation:
        let variance = Double(segment.variance[column])
        segment.centre[column] = bounded(old + variance.squareRoot() * sums.first[column])
        let change = sums.first[column] * sums.first[column]
        segment.variance[column] = bounded(variance: variance * (1 + sums.second[column] - change))
      }
    }
    return squares
  }

  private func bounded(_ value: Double) -> Float {
    max(-settings.range, min(settings.range, Float(value)))
  }

  private func bounded(variance: Double) -> Float {
    let limits = SegmentState.variances(settings)
    return max(limits.lowerBound, min(limits.upperBound, Float(variance)))
  }

  private func bound(_ segment: inout CustomerSegment) {
    segment.share = share(Double(segment.share))
    for column in segment.centre.indices { segment.centre[column] = bounded(Double(segment.centre[column])) }
    for column in segment.variance.indices {
      segment.variance[column] = bounded(variance: Double(segment.variance[column]))
    }
  }

  /// Splits the segments with the largest sum of squares along one feature; merges once there are enough.
  private func grow(_ state: inout SegmentState, sizes: [Double], squares: [[Double]]) {
    guard state.segments.count < settings.mostWhileGrowing else {
      state.segments = state.merged(to: settings.count)
      state.isSettled = true
      return
    }
    let widest = squares.map { own in own.indices.reduce(0) { own[$1] > own[$0] ? $1 : $0 } }
    let order = squares.indices.sorted {
      let (left, right) = (sizes[$0] * squares[$0][widest[$0]], sizes[$1] * squares[$1][widest[$1]])
      return left == right ? $0 < $1 : left > right
    }
    for index in order.prefix(settings.splits(of: state.segments.count)) {
      let column = widest[index]
      let square = squares[index][column]
      let distance = max(
        Float(Self.splitDistance * square.squareRoot()), Self.smallestDistance * settings.range)
      state.segments[index].share /= 2
      var half = state.segments[index]
      half.centre[column] -= distance
      state.segments[index].centre[column] += distance
      state.segments.append(half)
    }
  }

  /// Makes of every segment that is (nearly) empty a half of the one that is then the largest.
  private func revive(_ state: inout SegmentState, sizes: [Double], below least: Double) {
    guard sizes.contains(where: { $0 < least }), sizes.contains(where: { $0 >= least }) else { return }
    var generator = SplitMix64(seed: state.seed | UInt64(state.rounds) << 24)
    for index in sizes.indices where sizes[index] < least {
      var largest = index
      for other in state.segments.indices where other != index {
        if largest == index || state.segments[other].share > state.segments[largest].share { largest = other }
      }
      state.segments[largest].share /= 2
      state.segments[index] = state.segments[largest]
      for column in 0..<shape.columns {
        let reach =
          state.segments[index].variance.isEmpty
          ? Self.smallestDistance * min(1, settings.range / Float(NumericEncoding.limit))
          : state.segments[index].variance[column].squareRoot() / 2
        state.segments[index].centre[column] += reach * generator.nextSymmetric()
      }
    }
  }
}
