import Cryptography
import Foundation
import Testing

@testable import Privacy

/// Correlated noise: the identities that the proof rests on, restarts and refusals.
struct MatrixMechanismNoiseTests {
  private static let seed = SecretBytes(copying: [UInt8](repeating: 7, count: 32))
  private static let task = Array("task".utf8)

  /// Draws with roughly the right variance, fast: the sum of eight uniform words. Tests only.
  private static func source(variance: Double, name: String = "test sum v1") -> IntegerNoiseSource {
    IntegerNoiseSource(name: name, variance: variance) { random, buffer in
      let words = random.bytes(16 * buffer.count)
      for i in buffer.indices {
        var sum = -4.0
        for j in 0..<8 {
          let word = UInt16(words[16 * i + 2 * j]) | UInt16(words[16 * i + 2 * j + 1]) << 8
          sum += (Double(word) + 0.5) * 0x1p-16
        }
        // Eight uniform numbers have the variance 8/12.
        buffer[i] = Int64((sum * (1.5 * variance).squareRoot()).rounded())
      }
    }
  }

  private static func plan(
    _ factor: MatrixFactor, steps: Int = 20, dimension: Int = 3, fractionBits: Int = 12
  ) throws -> CorrelatedNoisePlan {
    let shape = try CorrelatedNoiseShape(
      factor: factor, steps: steps, participation: Participation(maximum: 3, minimumSeparation: 5),
      dimension: dimension, contributionL2Squared: 10_000, fractionBits: fractionBits)
    return try CorrelatedNoisePlan(shape: shape, noiseMultiplier: 2)
  }

  private static func factors(steps: Int = 20) throws -> [MatrixFactor] {
    [
      .toeplitz(.independent), .toeplitz(try .optimal(steps: steps)),
      .toeplitz(try .optimizedBanded(bands: 4, steps: steps)),
      .buffered(try .optimized(buffers: 2, steps: steps)),
    ]
  }

  private static func start(_ plan: CorrelatedNoisePlan) throws -> CorrelatedNoise {
    try CorrelatedNoise(
      plan: plan, seed: seed, task: task, source: source(variance: plan.variance))
  }

  private static func draws(_ plan: CorrelatedNoisePlan, step: Int) -> [Int64] {
    let source = source(variance: plan.variance)
    var random = NoiseKeys(seed: seed, task: task, plan: plan, sampler: source.name)
      .stream(step: step)
    var draws = [Int64](repeating: 0, count: plan.shape.dimension)
    draws.withUnsafeMutableBufferPointer { source.draw(&random, $0) }
    return draws
  }

  @Test func `a release is a function of the discrete mechanism's output alone`() throws {
    for factor in try Self.factors().prefix(3) {
      let plan = try Self.plan(factor)
      let bits = plan.shape.fractionBits
      guard case .toeplitz(let rounded) = plan.shape.factor else { return }
      let numerators = rounded.coefficients.map { Int64($0 * Double(1 << bits)) }
      var noise = try Self.start(plan)
      var random = MatrixTestNumbers(state: 3)
      var sums: [[Int64]] = []
      var decoded: [[Int64]] = []
      for step in 0..<plan.shape.steps {
        sums.append((0..<3).map { _ in Int64(random.next() % 20_001) - 10_000 })
        let draws = Self.draws(plan, step: step)
        let released = try noise.release(sums[step], step: step)
        // W = 2^f·CX + Z is what the theorem protects; the decoder sees nothing else.
        let output = (0..<3).map { i in
          var value = draws[i]
          for (k, m) in numerators.enumerated() where k <= step { value += m * sums[step - k][i] }
          return value
        }
        decoded.append(
          (0..<3).map { i in
            var value = output[i] + (1 << (bits - 1))
            for (k, m) in numerators.enumerated() where k >= 1 && k <= step {
              value -= m * decoded[step - k][i]
            }
            return value >> bits
          })
        #expect(released == decoded[step])
      }
    }
  }

  @Test func `noise is the solution of C times noise equals draws, up to rounding`() throws {
    for factor in try Self.factors() {
      let plan = try Self.plan(factor)
      let scale = Double(1 << plan.shape.fractionBits)
      let c = plan.shape.factor.coefficients(count: plan.shape.steps)
      var noise = try Self.start(plan)
      var produced: [[Int64]] = []
      for step in 0..<plan.shape.steps {
        produced.append(try noise.noise(step: step))
        let draws = Self.draws(plan, step: step)
        for i in 0..<3 {
          let sum = (0...step).reduce(0) { $0 + c[$1] * Double(produced[step - $1][i]) }
          let error = sum * scale - Double(draws[i])
          #expect(abs(error) <= scale / 2 + plan.layout.roundingDifference)
        }
      }
    }
  }

  @Test func `rounding in the buffers stays within the bound that is accounted for`() throws {
    let steps = 400
    let participation = try Participation(maximum: 3, minimumSeparation: 5)
    let factor = MatrixFactor.buffered(
      try .optimized(buffers: 3, steps: steps, participation: participation))
    // The largest variances leave the state few bits, and make the bound matter.
    for (bits, variance) in [(12, 1e10), (20, 1e18), (24, 1e24)] {
      let shape = try CorrelatedNoiseShape(
        factor: factor, steps: steps, participation: participation, dimension: 2,
        contributionL2Squared: 100, fractionBits: bits)
      let plan = try CorrelatedNoisePlan(shape: shape, variance: variance)
      guard case .buffered(let kernel) = plan.layout.kernel else { return }
      let c = shape.factor.coefficients(count: steps)
      var random = MatrixTestNumbers(state: 11)
      // Two histories of the same releases for neighbouring sums: coordinate 1's noise is coordinate
      // 0's plus the difference of the sums.
      var state = [Int64](repeating: 0, count: 2 * plan.layout.rows)
      var differences: [Int64] = []
      var largest = 0.0
      for step in 0..<steps {
        let feedback = (0..<2).map { kernel.feedback(state: state, coordinate: $0, dimension: 2) }
        let exact = (0..<step).reduce(0.0) { $0 + c[step - $1] * Double(differences[$1]) }
        let linear = exact * Double(1 << bits)
        largest = max(largest, abs(Double(feedback[1] - feedback[0]) - linear) - abs(linear) * 1e-12)
        let difference = step % 5 == 0 ? Int64(random.next() % 21) - 10 : 0
        differences.append(difference)
        let spread = variance.squareRoot() / Double(1 << bits)
        let noise = Int64((random.unit() - 0.5) * 4 * spread)
        // Draws that give exactly this noise.
        var draws = [noise << bits + feedback[0], (noise + difference) << bits + feedback[1]]
        draws.withUnsafeMutableBufferPointer { draws in
          state.withUnsafeMutableBufferPointer { kernel.advance(draws, state: $0) }
        }
        #expect(draws == [noise, noise + difference])
      }
      #expect(largest < plan.layout.roundingDifference)
      #expect(largest > 0.25, "the bound is not idle")
    }
  }

  @Test func `noise has the planned standard deviations`() throws {
    for factor in try Self.factors(steps: 30) {
      let plan = try Self.plan(factor, steps: 30, dimension: 20_000)
      var noise = try Self.start(plan)
      var sum = [Int64](repeating: 0, count: plan.shape.dimension)
      for (step, expected) in plan.prefixStandardDeviations().enumerated() {
        for (i, value) in try noise.noise(step: step).enumerated() { sum[i] += value }
        let squares = sum.reduce(0.0) { $0 + Double($1) * Double($1) }
        let measured = (squares / Double(sum.count)).squareRoot()
        // Four standard errors of 20 000 draws are 2 %.
        #expect(isClose(measured, expected, relative: 0.02), "step \(step): \(measured), \(expected)")
      }
    }
  }

  @Test func `a restored state goes on bit for bit`() throws {
    for factor in try Self.factors() {
      let plan = try Self.plan(factor)
      var noise = try Self.start(plan)
      let whole = try (0..<plan.shape.steps).map { try noise.noise(step: $0) }
      var restarted = try Self.start(plan)
      for step in 0..<plan.shape.steps {
        let stored = try JSONEncoder().encode(restarted.snapshot)
        restarted = try CorrelatedNoise(
          restoring: JSONDecoder().decode(CorrelatedNoiseSnapshot.self, from: stored),
          seed: Self.seed, task: Self.task, source: Self.source(variance: plan.variance))
        if step > 0 { #expect(try restarted.noise(step: step - 1) == whole[step - 1]) }
        #expect(try restarted.noise(step: step) == whole[step])
      }
    }
  }

  @Test func `a step has one noise, whatever is restored or asked again`() throws {
    let plan = try Self.plan(Self.factors()[3])
    var noise = try Self.start(plan)
    let first = try noise.noise(step: 0)
    let old = noise.snapshot
    let second = try noise.noise(step: 1)
    #expect(try noise.noise(step: 1) == second)
    #expect(first != second)
    var again = try CorrelatedNoise(
      restoring: old, seed: Self.seed, task: Self.task, source: Self.source(variance: plan.variance))
    #expect(try again.noise(step: 1) == second)
    var copy = again
    #expect(try copy.noise(step: 2) == again.noise(step: 2))
    #expect(throws: MatrixMechanismError.stepOutOfOrder(asked: 0, next: 3)) {
      try again.noise(step: 0)
    }
    #expect(throws: MatrixMechanismError.stepOutOfOrder(asked: 4, next: 3)) {
      try again.noise(step: 4)
    }
    #expect(throws: MatrixMechanismError.stepOutOfOrder(asked: -1, next: 3)) {
      try again.noise(step: -1)
    }
  }

  @Test func `other seeds, tasks and plans give other noise`() throws {
    let plan = try Self.plan(Self.factors()[1])
    let other = try CorrelatedNoisePlan(shape: plan.shape, variance: plan.variance + 1)
    var seen: Set<[Int64]> = []
    for (plan, seed, task) in [
      (plan, Self.seed, Self.task), (other, Self.seed, Self.task), (plan, Self.seed, []),
      (plan, SecretBytes(copying: [UInt8](repeating: 8, count: 32)), Self.task),
    ] {
      var noise = try CorrelatedNoise(
        plan: plan, seed: seed, task: task, source: Self.source(variance: plan.variance))
      seen.insert(try noise.noise(step: 0))
    }
    #expect(seen.count == 4)
  }

  @Test func `the noise of a step protects one sum only`() throws {
    let plan = try Self.plan(Self.factors()[2])
    var noise = try Self.start(plan)
    let released = try noise.release([1, 2, 3], step: 0)
    let added = try zip([1, 2, 3], noise.noise(step: 0)).map { $0 + $1 }
    #expect(released == added)
    #expect(try noise.release([1, 2, 3], step: 0) == released)
    #expect(throws: MatrixMechanismError.stepProtectsAnotherSum(step: 0)) {
      try noise.release([1, 2, 4], step: 0)
    }
    var restored = try CorrelatedNoise(
      restoring: noise.snapshot, seed: Self.seed, task: Self.task,
      source: Self.source(variance: plan.variance))
    #expect(throws: MatrixMechanismError.stepProtectsAnotherSum(step: 0)) {
      try restored.release([1, 2, 4], step: 0)
    }
    #expect(try restored.release([1, 2, 3], step: 0) == released)
    #expect(throws: Never.self) { try restored.release([1, 2, 4], step: 1) }
    #expect(throws: MatrixMechanismError.wrongDimension(expected: 3, actual: 2)) {
      try noise.release([1, 2], step: 1)
    }
    #expect(noise.nextStep == 1, "a refused sum uses up no step")
  }

  @Test func `damaged and foreign states are refused`() throws {
    let plan = try Self.plan(Self.factors()[3])
    var noise = try Self.start(plan)
    _ = try noise.release([1, 2, 3], step: 0)
    let source = Self.source(variance: plan.variance)
    let otherSeed = SecretBytes(copying: [UInt8](repeating: 8, count: 32))
    let snapshot = noise.snapshot
    for (seed, task, source) in [
      (otherSeed, Self.task, source), (Self.seed, [1], source),
      (Self.seed, Self.task, Self.source(variance: plan.variance, name: "another v1")),
    ] {
      #expect(throws: MatrixMechanismError.snapshotRefused(.seed)) {
        _ = try CorrelatedNoise(restoring: snapshot, seed: seed, task: task, source: source)
      }
    }
    let encoded = try JSONEncoder().encode(snapshot)
    let fields = try #require(
      JSONSerialization.jsonObject(with: encoded) as? [String: Any])
    for (key, value) in [
      ("nextStep", 2 as Any), ("state", Data(count: 48).base64EncodedString()),
      ("lastNoise", Data(count: 24).base64EncodedString()), ("binding", NSNull()),
      ("checksum", Data(count: 32).base64EncodedString()),
    ] {
      var damaged = fields
      damaged[key] = value
      let data = try JSONSerialization.data(withJSONObject: damaged)
      let decoded = try JSONDecoder().decode(CorrelatedNoiseSnapshot.self, from: data)
      #expect(throws: MatrixMechanismError.snapshotRefused(.checksum), "\(key)") {
        _ = try CorrelatedNoise(
          restoring: decoded, seed: Self.seed, task: Self.task, source: source)
      }
    }
    let future = Data(#"{"version":2,"anything":true}"#.utf8)
    #expect(throws: MatrixMechanismError.snapshotRefused(.version)) {
      try JSONDecoder().decode(CorrelatedNoiseSnapshot.self, from: future)
    }
  }

  @Test func `nothing is produced past the end or from a broken sampler`() throws {
    let plan = try Self.plan(.toeplitz(.independent), steps: 2)
    var noise = try Self.start(plan)
    for step in 0..<2 { _ = try noise.noise(step: step) }
    #expect(throws: MatrixMechanismError.stepsExhausted(steps: 2)) {
      try noise.noise(step: 2)
    }
    #expect(
      throws: MatrixMechanismError.samplerMismatch(planned: plan.variance, actual: plan.variance + 1)
    ) {
      _ = try CorrelatedNoise(
        plan: plan, seed: Self.seed, task: Self.task,
        source: Self.source(variance: plan.variance + 1))
    }
    for value in [Int64.min, plan.layout.largestDraw + 1] {
      let broken = IntegerNoiseSource(name: "broken", variance: plan.variance) { $1[0] = value }
      var noise = try CorrelatedNoise(plan: plan, seed: Self.seed, task: Self.task, source: broken)
      #expect(throws: MatrixMechanismError.drawOutOfRange(step: 0)) {
        try noise.noise(step: 0)
      }
      #expect(noise.nextStep == 0)
    }
  }

  @Test func `descriptions tell no noise`() throws {
    var noise = try Self.start(Self.plan(Self.factors()[3]))
    _ = try noise.noise(step: 0)
    #expect("\(noise)" == "<correlated noise, 1 of 20 steps produced>")
    #expect(String(reflecting: noise.snapshot) == "<state of correlated noise, 1 of 20 steps produced>")
    var dumped = ""
    dump(noise, to: &dumped)
    dump(noise.snapshot, to: &dumped)
    #expect(!dumped.contains("state:"))
  }
}
