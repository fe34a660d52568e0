/// Fits a user's bias and vector to that user's rows, all parameters held fixed: see `NeuralRecommender`.
///
/// One thread's memory; what it computes depends on the parameters and the rows alone. The normal equations
/// are in double precision, so that parameters as large as `NeuralRecommender.check` admits do no harm.
final class UserReconstruction {
  /// A user's rows: numbers of items and what their scores should be, a rating in half widths or 0 and 1.
  struct Rows {
    let items: UnsafePointer<Int32>
    let targets: UnsafePointer<Float>
    let count: Int
  }

  private let settings: NeuralRecommenderSettings
  private let width: Int
  private let isExplicit: Bool
  /// A step that does not lower the loss is halved so often.
  private static let halvings = 4
  /// A floor of the regularisation relative to the matrix, above rounding and below all that matters.
  private static let smallestRidge = 1e-10

  private let normal: UnsafeMutablePointer<Double>
  private let slope: UnsafeMutablePointer<Double>
  private let rootedRows: UnsafeMutablePointer<Double>
  private let rootedErrors: UnsafeMutablePointer<Double>
  private let trial: UnsafeMutablePointer<Float>
  private let labels: UnsafeMutablePointer<Float>
  /// Which rows the block holds, so that users of a single block are loaded once.
  private var loaded: (items: UnsafePointer<Int32>, count: Int)?

  /// Where the scores are computed.
  let block: InteractionBlock
  /// The user: bias, then vector.
  let user: UnsafeMutablePointer<Float>
  /// Of the block: targets less scores, or less probabilities.
  let errors: UnsafeMutablePointer<Float>

  init(model: NeuralRecommender) {
    settings = model.settings
    width = model.layout.width
    isExplicit = model.ratings != nil
    func zeros(_ count: Int) -> UnsafeMutablePointer<Double> {
      let buffer = UnsafeMutablePointer<Double>.allocate(capacity: count)
      buffer.initialize(repeating: 0, count: count)
      return buffer
    }
    normal = zeros(width * width)
    slope = zeros(width)
    rootedRows = zeros(InteractionBlock.capacity * width)
    rootedErrors = zeros(InteractionBlock.capacity)
    trial = VectorKernels.allocate(width)
    labels = VectorKernels.allocate(InteractionBlock.capacity)
    block = InteractionBlock(layout: model.layout)
    user = VectorKernels.allocate(width)
    errors = VectorKernels.allocate(InteractionBlock.capacity)
  }

  deinit {
    for buffer in [normal, slope, rootedRows, rootedErrors] { buffer.deallocate() }
    for buffer in [trial, labels, user, errors] { buffer.deallocate() }
  }

  /// Fits `user`; the initial one without rows. It is finite whatever the parameters are.
  func solve(parameters: UnsafePointer<Float>, rows: Rows) {
    user.update(from: parameters, count: width)
    loaded = nil
    guard rows.count > 0 else { return }
    var loss = linearise(parameters, rows)
    for step in 1...settings.reconstructionSteps {
      guard loss.isFinite, solveNormal(parameters), descend(parameters, rows, from: &loss) else { return }
      if step < settings.reconstructionSteps { loss = linearise(parameters, rows) }
    }
  }

  /// Tries the step that `slope` holds, then half of it, and so on; false if none lowers the loss.
  private func descend(_ parameters: UnsafePointer<Float>, _ rows: Rows, from loss: inout Double) -> Bool {
    var share = 1.0
    for _ in 0...Self.halvings {
      for index in 0..<width { trial[index] = user[index] + Float(share * slope[index]) }
      let reached = self.loss(parameters, rows, at: trial)
      if reached < loss {
        user.update(from: trial, count: width)
        loss = reached
        return true
      }
      share /= 2
    }
    return false
  }

  /// Loads the rows from `first` on, scores them for a user, fills `errors` and gives their loss.
  @discardableResult
  func evaluate(
    _ parameters: UnsafePointer<Float>, _ rows: Rows, first: Int, at user: UnsafePointer<Float>
  ) -> Double {
    let count = min(InteractionBlock.capacity, rows.count - first)
    let items = rows.items + first
    if loaded.map({ $0.items != items || $0.count != count }) ?? true {
      block.load(parameters: parameters, items: items, rows: count)
      labels.update(from: rows.targets + first, count: count)
      loaded = (items, count)
    }
    block.score(parameters: parameters, user: user)
    var loss = 0.0
    if isExplicit {
      for row in 0..<count {
        let error = labels[row] - block.scores[row]
        errors[row] = error
        loss += 0.5 * Double(error) * Double(error)
      }
    } else {
      VectorKernels.logisticDeltas(
        logits: block.scores, labels: labels, count: count, scale: -1, into: errors)
      for row in 0..<count {
        loss += Double(ExactMetrics.logLoss(score: block.scores[row], label: labels[row]))
      }
    }
    return loss
  }

  /// What reconstruction minimises.
  func loss(_ parameters: UnsafePointer<Float>, _ rows: Rows, at user: UnsafePointer<Float>) -> Double {
    var loss = penalty(parameters, at: user)
    for first in stride(from: 0, to: rows.count, by: InteractionBlock.capacity) {
      loss += evaluate(parameters, rows, first: first, at: user)
    }
    return loss
  }

  private func penalty(_ parameters: UnsafePointer<Float>, at user: UnsafePointer<Float>) -> Double {
    var loss = 0.0
    for index in 0..<width {
      let distance = Double(user[index]) - Double(parameters[index])
      loss += 0.5 * ridge(index) * distance * distance
    }
    return loss
  }

  private func ridge(_ index: Int) -> Double {
    Double(index == 0 ? settings.userBiasRegularization : settings.userRegularization)
  }

  /// The loss at `user`, with minus its gradient in `slope` and its curvature in `normal`.
  private func linearise(_ parameters: UnsafePointer<Float>, _ rows: Rows) -> Double {
    normal.update(repeating: 0, count: width * width)
    var loss = penalty(parameters, at: user)
    for index in 0..<width { slope[index] = ridge(index) * (Double(parameters[index]) - Double(user[index])) }
    for first in stride(from: 0, to: rows.count, by: InteractionBlock.capacity) {
      let count = min(InteractionBlock.capacity, rows.count - first)
      loss += evaluate(parameters, rows, first: first, at: user)
      block.differentiate(parameters: parameters)
      for row in 0..<count {
        let (target, slopes) = (rootedRows + row * width, block.userSlopes + row * (width - 1))
        let error = Double(errors[row])
        // The curvature of the log loss is p (1 − p), and |error| is one of the two.
        let root = isExplicit ? 1 : max(abs(error) * (1 - abs(error)), 1e-12).squareRoot()
        target[0] = root
        for index in 1..<width { target[index] = root * Double(slopes[index - 1]) }
        rootedErrors[row] = error / root
      }
      LinearSolvers.addGram(of: rootedRows, count: count, columns: width, to: normal)
      LinearSolvers.addProduct(
        transposed: rootedRows, rootedErrors, count: count, columns: width, to: slope)
    }
    return loss
  }

  /// Newton's step into `slope`.
  private func solveNormal(_ parameters: UnsafePointer<Float>) -> Bool {
    var trace = 0.0
    for index in 0..<width { trace += normal[index * width + index] }
    for index in 0..<width {
      normal[index * width + index] += max(ridge(index), Self.smallestRidge * trace)
    }
    return LinearSolvers.solve(normal, count: width, vector: slope)
  }
}
