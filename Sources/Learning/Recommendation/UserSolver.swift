#if canImport(Glibc)
  import Glibc
#endif

/// Reconstructs a user's bias and factor from its interactions: the ridge solution against the current items.
///
/// One thread's memory; what it computes depends on the parameters and the rows alone. Double precision
/// throughout, so that parameters as large as `MatrixFactorization.check` admits have a solution.
final class UserSolver {
  private let settings: FactorizationSettings
  private let layout: FactorizationLayout
  private let isExplicit: Bool
  /// Unknowns: bias and factor of the user for ratings, the factor for implicit feedback.
  private let unknowns: Int
  private static let blockRows = 256
  /// A floor of the regularisation relative to the matrix, above rounding and below all that matters.
  private static let smallestRidge = 1e-10

  private let block: UnsafeMutablePointer<Double>
  private let targets: UnsafeMutablePointer<Double>
  private let normal: UnsafeMutablePointer<Double>
  private let vector: UnsafeMutablePointer<Double>
  /// What all items contribute with the weight of unobserved ones, of `preparedFor`.
  private let everyNormal: UnsafeMutablePointer<Double>
  private let everyVector: UnsafeMutablePointer<Double>
  private var preparedFor: [Float] = []
  /// The user's bias, 0 for implicit feedback, and its factor.
  let user: UnsafeMutablePointer<Float>

  init(model: MatrixFactorization) {
    settings = model.settings
    layout = model.layout
    isExplicit = model.isExplicit
    unknowns = isExplicit ? layout.width : layout.width - 1
    func zeros(_ count: Int) -> UnsafeMutablePointer<Double> {
      let buffer = UnsafeMutablePointer<Double>.allocate(capacity: count)
      buffer.initialize(repeating: 0, count: count)
      return buffer
    }
    block = zeros(Self.blockRows * unknowns)
    targets = zeros(Self.blockRows)
    normal = zeros(unknowns * unknowns)
    vector = zeros(unknowns)
    everyNormal = zeros(unknowns * unknowns)
    everyVector = zeros(unknowns)
    user = VectorKernels.allocate(layout.width)
  }

  deinit {
    for buffer in [block, targets, normal, vector, everyNormal, everyVector] { buffer.deallocate() }
    user.deallocate()
  }

  /// Takes on parameters: for implicit feedback the Gram matrix of all items, unless it is that of the same
  /// parameters already.
  func prepare(parameters: UnsafeBufferPointer<Float>) {
    guard !isExplicit, !isPrepared(for: parameters) else { return }
    preparedFor = Array(parameters)
    everyNormal.update(repeating: 0, count: unknowns * unknowns)
    everyVector.update(repeating: 0, count: unknowns)
    var rows = Block(self, into: everyNormal, everyVector)
    for item in 0..<layout.items {
      rows.add(item: item, weight: settings.unobservedWeight, target: 0, parameters)
    }
    rows.flush()
  }

  private func isPrepared(for parameters: UnsafeBufferPointer<Float>) -> Bool {
    guard preparedFor.count == parameters.count, let values = parameters.baseAddress else { return false }
    return preparedFor.withUnsafeBytes {
      memcmp($0.baseAddress!, values, $0.count) == 0
    }
  }

  /// Solves for one user, into `user`. Items and labels are valid.
  ///
  /// - Returns: false if the system has no solution in double precision, which the floor of the
  /// regularisation excludes.
  func solve(
    parameters: UnsafeBufferPointer<Float>, items: UnsafePointer<Float>, labels: UnsafePointer<Float>,
    rows: Int
  ) -> Bool {
    normal.update(from: everyNormal, count: unknowns * unknowns)
    vector.update(from: everyVector, count: unknowns)
    var block = Block(self, into: normal, vector)
    var weights = Double(settings.unobservedWeight) * Double(layout.items)
    for row in 0..<rows {
      let (weight, target) = settings.weightAndTarget(label: labels[row])
      guard weight > 0 else { continue }
      weights += Double(weight)
      block.add(item: Int(items[row]), weight: weight, target: target, parameters)
    }
    block.flush()
    addRegularization(weights: weights)
    guard LinearSolvers.solve(normal, count: unknowns, vector: vector) else { return false }
    let first = layout.width - unknowns
    user[0] = 0
    for index in 0..<unknowns { user[first + index] = Float(vector[index]) }
    return true
  }

  private func addRegularization(weights: Double) {
    var trace = 0.0
    for index in 0..<unknowns { trace += normal[index * unknowns + index] }
    let exponent = Double(settings.regularizationExponent)
    let factor = exponent == 0 ? 1 : pow(max(weights, 1), exponent)
    for index in 0..<unknowns {
      let isBias = isExplicit && index == 0
      let ridge = Double(isBias ? settings.userBiasRegularization : settings.userRegularization) * factor
      normal[index * unknowns + index] += max(ridge, Self.smallestRidge * trace)
    }
  }

  /// Rows of a least-squares problem, gathered before they are multiplied.
  private struct Block {
    private let solver: UserSolver
    private let normal: UnsafeMutablePointer<Double>
    private let vector: UnsafeMutablePointer<Double>
    private var count = 0

    init(
      _ solver: UserSolver, into normal: UnsafeMutablePointer<Double>, _ vector: UnsafeMutablePointer<Double>
    ) {
      self.solver = solver
      self.normal = normal
      self.vector = vector
    }

    mutating func add(item: Int, weight: Float, target: Float, _ parameters: UnsafeBufferPointer<Float>) {
      let (layout, unknowns) = (solver.layout, solver.unknowns)
      let values = parameters.baseAddress! + layout.itemOffset + item * layout.width
      let root = Double(weight).squareRoot()
      let row = solver.block + count * unknowns
      if solver.isExplicit { row[0] = root }
      let first = unknowns + 1 - layout.width
      for index in 1..<layout.width { row[first + index - 1] = root * Double(values[index]) }
      let rest = Double(target) - Double(parameters[layout.meanOffset]) - Double(values[0])
      solver.targets[count] = root * rest
      count += 1
      if count == UserSolver.blockRows { flush() }
    }

    mutating func flush() {
      guard count > 0 else { return }
      LinearSolvers.addGram(of: solver.block, count: count, columns: solver.unknowns, to: normal)
      LinearSolvers.addProduct(
        transposed: solver.block, solver.targets, count: count, columns: solver.unknowns, to: vector)
      count = 0
    }
  }
}
