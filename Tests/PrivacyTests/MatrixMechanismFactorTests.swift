import Foundation
import Testing

@testable import Privacy

/// Factorisations against published and brute-force values.
struct MatrixMechanismFactorTests {
  private let federated: Participation
  init() throws { federated = try Participation(maximum: 5, minimumSeparation: 400) }

  private struct Vectors: Decodable {
    struct Entry: Decodable {
      let kind: String
      let n: Int
      let sensitivity: Double
      let max_loss: Double
      let rms_loss: Double
    }
    let matrix_mechanism: [Entry]
  }

  private func agrees(_ value: Double, _ expected: Double, to tolerance: Double) -> Bool {
    abs(value - expected) <= tolerance
  }

  /// Every set of steps that the pattern allows.
  private func patterns(steps: Int, _ participation: Participation) -> [[Int]] {
    (0..<(1 << steps)).compactMap { mask in
      let chosen = (0..<steps).filter { mask >> $0 & 1 == 1 }
      let apart = zip(chosen, chosen.dropFirst())
        .allSatisfy { $1 - $0 >= participation.minimumSeparation }
      return apart && chosen.count <= participation.maximum ? chosen : nil
    }
  }

  private func norm(_ coefficients: [Double], at chosen: [Int], signs: [Double]) -> Double {
    var column = [Double](repeating: 0, count: coefficients.count)
    for (s, sign) in zip(chosen, signs) {
      for t in s..<column.count { column[t] += sign * coefficients[t - s] }
    }
    return column.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }

  @Test func `the optimal Toeplitz factor of 1024 steps has the published losses`() throws {
    let optimal = try MatrixFactor.toeplitz(.optimal(steps: 1024)).loss(steps: 1024)
    #expect(agrees(optimal.sensitivity, 1.80902022, to: 5e-9))
    #expect(agrees(optimal.maximumLoss, 3.27255415, to: 5e-9))
    #expect(agrees(optimal.rmsLoss, 3.10978991, to: 5e-9))
    let independent = try MatrixFactor.toeplitz(.independent).loss(steps: 1024)
    #expect(agrees(independent.rmsLoss, 22.64, to: 5e-3))
    #expect(agrees(independent.maximumLoss, 32, to: 1e-9))
  }

  @Test(.enabled(if: AccountingVectors.arePresent, "\(AccountingVectors.hint)"))
  func `losses match the reference file`() throws {
    let file = try #require(AccountingVectors.file)
    let entries = try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: file)).matrix_mechanism
    #expect(!entries.isEmpty)
    for entry in entries {
      #expect(entry.kind == "optimal_toeplitz")
      let loss = try MatrixFactor.toeplitz(.optimal(steps: entry.n)).loss(steps: entry.n)
      #expect(agrees(loss.sensitivity, entry.sensitivity, to: 5e-9))
      #expect(agrees(loss.maximumLoss, entry.max_loss, to: 5e-9))
      #expect(agrees(loss.rmsLoss, entry.rms_loss, to: 5e-9))
    }
  }

  @Test func `B times C is the matrix of prefix sums`() throws {
    let steps = 300
    let factors: [MatrixFactor] = [
      .toeplitz(.independent), .toeplitz(try .optimal(steps: steps)),
      .toeplitz(try .optimizedBanded(bands: 12, steps: steps)),
      .buffered(try .optimized(buffers: 3, steps: steps)),
    ]
    for factor in factors {
      let c = factor.coefficients(count: steps)
      let b = factor.decoderCoefficients(count: steps)
      let inverse = factor.noiseCoefficients(count: steps)
      for t in 0..<steps {
        let product = (0...t).reduce(0) { $0 + b[$1] * c[t - $1] }
        #expect(abs(product - 1) < 1e-12)
        let identity = (0...t).reduce(0) { $0 + inverse[$1] * c[t - $1] }
        #expect(abs(identity - (t == 0 ? 1 : 0)) < 1e-12)
      }
    }
    let root = factors[1].decoderCoefficients(count: steps)
    #expect(zip(root, ToeplitzFactor.squareRoot(count: steps)).allSatisfy { abs($0 - $1) < 1e-12 })
  }

  @Test func `sensitivities equal the worst of all participation patterns`() throws {
    var random = MatrixTestNumbers(state: 7)
    for steps in [1, 2, 5, 7] {
      for maximum in [1, 2, 3, 7] {
        for separation in [1, 2, 3, 6] {
          let participation = try Participation(maximum: maximum, minimumSeparation: separation)
          var level = 1.0
          let decreasing = (0..<steps).map { index in
            if index > 0 { level *= random.unit() }
            return level
          }
          let weights = [0.5 * random.unit(), 0.5 * random.unit()]
          for factor in [
            MatrixFactor.toeplitz(try ToeplitzFactor(coefficients: decreasing)),
            .buffered(try BufferedFactor(decays: [random.unit(), random.unit()], weights: weights)),
          ] {
            let sensitivity = try factor.sensitivity(steps: steps, participation: participation)
            let coefficients = factor.coefficients(count: steps)
            var worst = 0.0
            for chosen in patterns(steps: steps, participation) {
              for signs in 0..<(1 << max(0, chosen.count - 1)) {
                let signs = chosen.indices.map { signs >> $0 & 1 == 1 ? -1.0 : 1 }
                worst = max(worst, norm(coefficients, at: chosen, signs: signs))
              }
            }
            #expect(worst <= sensitivity, "\(factor), \(participation)")
            #expect(sensitivity <= worst * (1 + 1e-12), "\(factor), \(participation)")
          }
        }
      }
    }
  }

  @Test func `coefficients without a proof are refused, but not for one participation`() throws {
    let twice = try Participation(maximum: 2, minimumSeparation: 2)
    for (coefficients, index) in [([1, 0.2, 0.3], 2), ([1, 0.5, -0.1], 2), ([1, -0.5], 1)] {
      let factor = MatrixFactor.toeplitz(try ToeplitzFactor(coefficients: coefficients))
      #expect(throws: MatrixMechanismError.sensitivityNotProven(index: index)) {
        try factor.sensitivity(steps: 5, participation: twice)
      }
      let once = try factor.sensitivity(steps: 5)
      let expected = coefficients.reduce(0) { $0 + $1 * $1 }.squareRoot()
      #expect(agrees(once, expected, to: 1e-12))
      // Two participations do not fit in two steps at distance 2.
      #expect(throws: Never.self) { try factor.sensitivity(steps: 2, participation: twice) }
    }
    let steep = MatrixFactor.buffered(try BufferedFactor(decays: [0.5, 0.2], weights: [0.8, 0.4]))
    #expect(throws: MatrixMechanismError.sensitivityNotProven(index: 1)) {
      try steep.sensitivity(steps: 5, participation: twice)
    }
  }

  @Test func `three optimised buffers reach the published loss`() throws {
    let factor = try BufferedFactor.optimized(buffers: 3, steps: 2000, participation: federated)
    let loss = try MatrixFactor.buffered(factor).loss(steps: 2000, participation: federated)
    #expect(loss.rmsLoss <= 8.17, "\(loss.rmsLoss)")
    #expect(agrees(loss.rmsLoss, 8.14662, to: 1e-4), "\(loss.rmsLoss)")
    let two = try BufferedFactor.optimized(buffers: 2, steps: 2000, participation: federated)
    let ofTwo = try MatrixFactor.buffered(two).loss(steps: 2000, participation: federated)
    #expect(agrees(ofTwo.rmsLoss, 8.16, to: 5e-3), "\(ofTwo.rmsLoss)")
    let independent = try MatrixFactor.toeplitz(.independent)
      .loss(steps: 2000, participation: federated)
    #expect(agrees(independent.rmsLoss, 70.73, to: 5e-3))
    let again = try BufferedFactor.optimized(buffers: 3, steps: 2000, participation: federated)
    #expect(again == factor)
  }

  @Test func `buffers come close to the optimal factor for one participation`() throws {
    let optimal = try MatrixFactor.toeplitz(.optimal(steps: 1024)).loss(steps: 1024)
    let factor = try BufferedFactor.optimized(buffers: 4, steps: 1024, objective: .maximum)
    let loss = try MatrixFactor.buffered(factor).loss(steps: 1024)
    #expect(loss.maximumLoss < 1.005 * optimal.maximumLoss, "\(loss)")
    #expect(loss.maximumLoss > optimal.maximumLoss, "no Toeplitz factor is better")
    let mean = try MatrixFactor.buffered(.optimized(buffers: 4, steps: 1024)).loss(steps: 1024)
    #expect(mean.rmsLoss < loss.rmsLoss)
    #expect(mean.rmsLoss < 1.001 * optimal.rmsLoss)
  }

  @Test func `more bands and more buffers never lose`() throws {
    var last = Double.infinity
    for bands in [1, 2, 8, 32] {
      let factor = try ToeplitzFactor.optimizedBanded(bands: bands, steps: 500, participation: federated)
      let loss = try MatrixFactor.toeplitz(factor).loss(steps: 500, participation: federated)
      #expect(factor.firstNotDecreasing == nil)
      #expect(loss.rmsLoss < last)
      last = loss.rmsLoss
    }
    last = .infinity
    for buffers in 1...4 {
      let factor = try BufferedFactor.optimized(buffers: buffers, steps: 500, participation: federated)
      let loss = try MatrixFactor.buffered(factor).loss(steps: 500, participation: federated)
      #expect(loss.rmsLoss < last * (1 + 1e-6))
      last = loss.rmsLoss
    }
  }

  @Test func `optimised bands beat truncated ones and the published buffers`() throws {
    let root = ToeplitzFactor.squareRoot(count: 400)
    let start = try MatrixFactor.toeplitz(ToeplitzFactor(coefficients: root))
      .loss(steps: 2000, participation: federated)
    let factor = try ToeplitzFactor.optimizedBanded(bands: 400, steps: 2000, participation: federated)
    let loss = try MatrixFactor.toeplitz(factor).loss(steps: 2000, participation: federated)
    #expect(loss.rmsLoss < start.rmsLoss, "\(loss.rmsLoss), \(start.rmsLoss)")
    #expect(loss.rmsLoss <= 8.17, "\(loss.rmsLoss)")
  }

  @Test func `gradients equal finite differences`() throws {
    let participation = try Participation(maximum: 3, minimumSeparation: 7)
    for objective in MatrixObjective.allCases {
      let loss = FactorObjective(steps: 40, participation: participation, objective: objective)
      let point = [2.0, 0.5, -1, -0.5, 0.3, -2]
      expectGradient(at: point) { BufferedFactor.evaluate(loss, at: $0) }
      let coefficients = [0.6, 0.5, 0.3, 0.1]
      expectGradient(at: coefficients) { loss.banded([1] + $0) }
    }
  }

  private func expectGradient(
    at point: [Double], _ function: ([Double]) -> QuasiNewton.Evaluation
  ) {
    let gradient = function(point).gradient
    for i in point.indices {
      var above = point
      var below = point
      above[i] += 1e-5
      below[i] -= 1e-5
      let slope = (function(above).value - function(below).value) / 2e-5
      #expect(agrees(gradient[i], slope, to: 1e-7), "\(i): \(gradient[i]), \(slope)")
    }
  }

  @Test func `the objective is the logarithm of the loss`() throws {
    let participation = try Participation(maximum: 3, minimumSeparation: 7)
    let parameters = BufferedParameters(decays: [0.75, 0.25], weights: [0.25, 0.5])
    let factor = MatrixFactor.buffered(
      try BufferedFactor(decays: parameters.decays, weights: parameters.weights))
    let loss = try factor.loss(steps: 40, participation: participation)
    for (objective, expected) in [
      (MatrixObjective.rootMeanSquare, loss.rmsLoss), (.maximum, loss.maximumLoss),
    ] {
      let value = FactorObjective(steps: 40, participation: participation, objective: objective)
        .buffered(parameters).value
      #expect(agrees(value, log(expected), to: 1e-12))
    }
  }

  @Test func `parameters out of range are refused`() throws {
    #expect(throws: MatrixMechanismError.stepsOutOfRange(0)) {
      try ToeplitzFactor.optimal(steps: 0)
    }
    #expect(throws: MatrixMechanismError.coefficientOutOfRange(index: 0)) {
      try ToeplitzFactor(coefficients: [])
    }
    #expect(throws: MatrixMechanismError.coefficientOutOfRange(index: 1)) {
      try ToeplitzFactor(coefficients: [1, .nan])
    }
    #expect(throws: MatrixMechanismError.coefficientOutOfRange(index: 9)) {
      try ToeplitzFactor.optimizedBanded(bands: 9, steps: 8)
    }
    #expect(throws: MatrixMechanismError.bufferOutOfRange(index: 0)) {
      try BufferedFactor(decays: [1], weights: [0.5])
    }
    #expect(throws: MatrixMechanismError.bufferOutOfRange(index: 1)) {
      try BufferedFactor(decays: [0.5, 0.25], weights: [0.5])
    }
    #expect(throws: MatrixMechanismError.bufferOutOfRange(index: 0)) {
      try BufferedFactor.optimized(buffers: 0, steps: 5)
    }
    #expect(
      throws: MatrixMechanismError.participationOutOfRange(maximum: 0, minimumSeparation: 1)
    ) { try Participation(maximum: 0, minimumSeparation: 1) }
  }

  @Test func `what is decoded passes the same checks`() throws {
    let decoder = JSONDecoder()
    for text in [#"{"coefficients":[1,2]}"#, #"{"coefficients":[]}"#] {
      #expect(throws: MatrixMechanismError.self) {
        try decoder.decode(ToeplitzFactor.self, from: Data(text.utf8))
      }
    }
    #expect(throws: MatrixMechanismError.self) {
      try decoder.decode(BufferedFactor.self, from: Data(#"{"decays":[1.5],"weights":[0.1]}"#.utf8))
    }
    #expect(throws: MatrixMechanismError.self) {
      try decoder.decode(
        Participation.self, from: Data(#"{"maximum":1,"minimumSeparation":0}"#.utf8))
    }
    let factor = MatrixFactor.buffered(try .optimized(buffers: 2, steps: 50))
    let decoded = try decoder.decode(MatrixFactor.self, from: JSONEncoder().encode(factor))
    #expect(decoded == factor)
  }
}

/// A small generator for test inputs.
struct MatrixTestNumbers {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }

  /// Uniform in [0, 1).
  mutating func unit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
