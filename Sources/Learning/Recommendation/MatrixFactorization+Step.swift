#if canImport(Glibc)
  import Glibc
#endif

extension MatrixFactorization {
  /// One step of the server: see the model's description. Values beyond `limit` stay there, so that the
  /// result passes `check`.
  ///
  /// - Parameters:
  ///   - mean: of the contributions, `contributionLength` finite values, with noise or without.
  ///   - contributors: how many; a number below 1 is taken to be 1.
  ///   - optimizer: made for as many values as there are parameters. It moves biases and factors alone.
  ///   - parameters: have passed `check`.
  package func step(
    mean: [Float], contributors: Double, optimizer: inout ServerOptimizer, parameters: inout [Float]
  ) throws(LearningError) {
    try check(parameters: parameters)
    let length = contributionLength(parameters: parameters)
    guard mean.count == length else {
      throw .wrongCount(what: "the mean of the contributions", expected: length, actual: mean.count)
    }
    guard mean.allSatisfy(\.isFinite), contributors.isFinite else {
      throw .nonFiniteValue(what: "the mean of the contributions")
    }
    let isStart = isStart(parameters: parameters)
    // Without any user's constant it is all noise, which must not be blown up.
    guard mean[isStart ? layout.startShareOffset : layout.gramOffset] > 0 else { return }
    if isStart {
      addStart(mean: mean, to: &parameters)
    } else {
      let update = try itemUpdate(mean: mean, contributors: contributors, parameters: parameters)
      // Decay and momentum are for the items: the rest is not trained by steps.
      let fixed = Array(parameters[..<layout.itemOffset])
      optimizer.apply(update: update, to: &parameters)
      parameters.replaceSubrange(..<layout.itemOffset, with: fixed)
    }
    for index in parameters.indices where !(abs(parameters[index]) <= Self.limit) {
      parameters[index] = parameters[index].isNaN ? 0 : parameters[index] < 0 ? -Self.limit : Self.limit
    }
  }

  /// Averages over the start rounds; the last one makes mean and biases of what was collected.
  private func addStart(mean: [Float], to parameters: inout [Float]) {
    let done = parameters[layout.stageOffset]
    // Users' constants are `startScale`: dividing by their mean undoes that and the mean clipping.
    let share = max(mean[layout.startShareOffset], Self.startScale * Self.smallestShare)
    func average(_ old: Float, _ new: Float) -> Float { old + (new / share - old) / (done + 1) }
    for item in 0..<items {
      let popularity = layout.popularityOffset + item
      // Below zero is noise.
      parameters[popularity] = max(0, average(parameters[popularity], mean[item]))
      guard isExplicit else { continue }
      let sum = layout.itemOffset + item * layout.width
      parameters[sum] = average(parameters[sum], mean[items + item])
    }
    parameters[layout.stageOffset] = done + 1
    guard isExplicit, !isStart(parameters: parameters) else { return }
    var (count, sum) = (0.0, 0.0)
    for item in 0..<items {
      count += Double(parameters[layout.popularityOffset + item])
      sum += Double(parameters[layout.itemOffset + item * layout.width])
    }
    let center = count > 0 ? Float(min(max(sum / count, -1), 1)) : 0
    parameters[layout.meanOffset] = center
    for item in 0..<items {
      let weight = parameters[layout.popularityOffset + item]
      let index = layout.itemOffset + item * layout.width
      let ridge = settings.itemBiasRegularization * regularizationFactor(popularity: weight)
      let bias = (parameters[index] - weight * center) / (weight + ridge)
      parameters[index] = min(max(bias, -2), 2)
    }
  }

  /// What an item's regularisation is multiplied by.
  private func regularizationFactor(popularity: Float) -> Float {
    guard settings.regularizationExponent > 0 else { return 1 }
    return pow(max(popularity + settings.unobservedWeight, 1e-6), settings.regularizationExponent)
  }

  /// The items' update: minus the gradient of the mean loss, through the inverse of nearly its curvature.
  ///
  /// In units of the square root of their regularisation all of an item's values have the same one, and then
  /// the eigenvectors of a single matrix, the users' Gram matrix, diagonalise the curvature of every item.
  private func itemUpdate(
    mean: [Float], contributors: Double, parameters: [Float]
  ) throws(LearningError) -> [Float] {
    let width = layout.width
    let roots = (0..<width).map {
      ($0 == 0 ? settings.itemBiasRegularization : settings.itemRegularization).squareRoot()
    }
    // Users have 1 in front of their factor: the mean's first entry is what clipping left of them.
    let share = max(mean[layout.gramOffset], Self.smallestShare)
    let gram = gram(mean: mean, units: roots.map { $0 * share.squareRoot() })
    guard let (values, vectors) = LinearSolvers.eigen(gram, count: width) else {
      throw .nonFiniteValue(what: "the Gram matrix of the users")
    }
    // Noise can make eigenvalues negative, which no Gram matrix has.
    let spectrum = values.map { Float(max($0, 0)) }
    let basis = vectors.map { Float($0) }
    // Of popularity 0 is also what no user of the start rounds had: it moves no faster than by one user's
    // curvature.
    let smallest = Float(1 / max(contributors, 1))
    var slopes = [Float](repeating: 0, count: items * width)
    var places = slopes
    for item in 0..<items {
      for column in 0..<width {
        slopes[item * width + column] = mean[item * width + column] / (share * roots[column])
        places[item * width + column] =
          parameters[layout.itemOffset + item * width + column] * roots[column]
      }
    }
    (slopes, places) = (rotated(slopes, by: basis), rotated(places, by: basis))
    for item in 0..<items {
      let popularity = parameters[layout.popularityOffset + item]
      let ridge = regularizationFactor(popularity: popularity)
      let weight = settings.unobservedWeight + popularity + smallest
      for column in 0..<width {
        let place = item * width + column
        let hold = settings.unobservedWeight * spectrum[column] + ridge
        slopes[place] = (slopes[place] - hold * places[place]) / (weight * spectrum[column] + ridge)
      }
    }
    BLAS.multiply(slopes, basis, into: &places, m: items, n: width, k: width)
    var update = [Float](repeating: 0, count: layout.parameterCount)
    for index in places.indices {
      // A mean of absurd size must not spoil the optimiser's moments.
      let value = places[index] / roots[index % width]
      let bounded = min(max(value, -2 * Self.limit), 2 * Self.limit)
      update[layout.itemOffset + index] = bounded.isNaN ? 0 : bounded
    }
    return update
  }

  /// The Gram matrix in a mean contribution, both sides divided by `units`.
  private func gram(mean: [Float], units: [Float]) -> [Double] {
    let width = layout.width
    var gram = [Double](repeating: 0, count: width * width)
    var index = layout.gramOffset
    for row in 0..<width {
      for column in row..<width {
        let value = Double(mean[index]) / (Double(units[row]) * Double(units[column]))
        gram[row * width + column] = row == column ? value : value / 2.0.squareRoot()
        gram[column * width + row] = gram[row * width + column]
        index += 1
      }
    }
    return gram
  }

  /// Every item's values times the rows of `basis`.
  private func rotated(_ values: [Float], by basis: [Float]) -> [Float] {
    var result = [Float](repeating: 0, count: values.count)
    BLAS.multiply(
      values, transposed: basis, into: &result, m: items, n: layout.width, k: layout.width)
    return result
  }
}
