import Cryptography
import Foundation
import Testing

@testable import Privacy

/// The tables against independent values, and the work of a draw against the value drawn.
struct ThresholdTableTests {
  /// ⌊2^127·P(|K| > j)⌋ by mpmath 1.3 with 300 bits.
  @Test(arguments: [
    (0.0625, 0, "114075480919274440532043990486049876"), (0.0625, 1, "4306502886573464001285949"),
    (4, 0, "136202927600510173691039551921937743717"), (4, 3, "13096653811411859481390312393713733145"),
    (4, 15, "873670140389829874678778"), (137.5, 0, "164352655091506619883172745507939122610"),
    (137.5, 20, "13667401601800339521575789936975509803"), (137.5, 100, "1711610674434539393082"),
    (1e6, 0, "170073306948749313615606008212296212997"),
    (1e6, 1000, "53946423008337392959610956074758193453"), (1e6, 9000, "38229234473216366604"),
  ])
  func `discrete Gaussian thresholds are within the stated error`(
    _ variance: Double, _ j: Int, _ digits: String
  ) throws {
    let sampler = try DiscreteGaussianSampler(variance: variance)
    check(sampler.table.thresholds.dropFirst(j).first ?? 0, digits, errorLog2: sampler.errorLog2)
  }

  @Test(arguments: [
    (0.25, 0, "6120390097837478240001701068873043410"), (0.25, 5, "12615064220894797629337545238"),
    (3.5, 0, "145999307547977652148317147690960644616"),
    (3.5, 10, "8385122643738772517892621315982768912"), (3.5, 200, "22259902546547"),
    (1000, 0, "170056112875828212384419485370331459964"),
    (1000, 500, "103144246330742140751769546622420618760"), (1000, 60000, "1489098182659"),
  ])
  func `discrete Laplace thresholds are within the stated error`(
    _ scale: Double, _ j: Int, _ digits: String
  ) throws {
    let sampler = try DiscreteLaplaceSampler(scale: scale)
    check(sampler.table.thresholds.dropFirst(j).first ?? 0, digits, errorLog2: sampler.errorLog2)
  }

  private func check(_ threshold: UInt128, _ digits: String, errorLog2: Double) {
    guard let exact = UInt128(digits) else {
      Issue.record("not a number: \(digits)")
      return
    }
    let difference = Double(max(threshold, exact) - min(threshold, exact))
    #expect(difference <= exp2(127 + errorLog2))
    // In fact relative to the threshold, and the tail beyond the table.
    #expect(difference <= Double(exact) * 0x1p-93 + 0x1p17)
  }

  @Test func `the stated errors are at most 2^-80 over the whole range`() throws {
    for variance in [0x1p-32, 1, 1e6, 0x1p32] {
      #expect(
        DiscreteGaussianSampler.errorLog2(variance: variance) <= DiscreteGaussianSampler.largestErrorLog2)
    }
    #expect(DiscreteLaplaceSampler.errorLog2(scale: 0x1p13) <= DiscreteLaplaceSampler.largestErrorLog2)
    #expect(try PoissonSampler(mean: 0x1p30).errorLog2 <= PoissonSampler.largestErrorLog2)
    #expect(try DiscreteGaussianSampler(variance: 9).errorLog2(shares: 8) < -89)
  }

  @Test func `parameters out of range are refused with a remedy`() throws {
    for bad in [0, -1, .nan, .infinity, 0x1p-33, 0x1.1p32] {
      #expect(throws: MechanismError.self) { try DiscreteGaussianSampler(variance: bad) }
      #expect(throws: MechanismError.self) { try DiscreteLaplaceSampler(scale: bad) }
      #expect(throws: MechanismError.self) { try PoissonSampler(mean: bad) }
    }
    let error = #expect(throws: MechanismError.self) { try DiscreteGaussianSampler(variance: 1e12) }
    #expect(try #require(error).description.contains("lower the scale"))
  }

  /// Every sampler whose work is measured, by a name for messages.
  private func samplers() throws -> [(name: String, table: ThresholdTable)] {
    var all: [(String, ThresholdTable)] = []
    for deviation in [0.01, 0.7, 4, 64, 1000] {
      let variance = deviation * deviation
      all.append(("Skellam \(deviation)", try SkellamSampler(variance: variance).table))
      all.append(("Gaussian \(deviation)", try DiscreteGaussianSampler(variance: variance).table))
      all.append(("Laplace \(deviation)", try DiscreteLaplaceSampler(scale: deviation).table))
      all.append(("Poisson \(deviation)", try PoissonSampler(mean: variance).table))
    }
    return all
  }

  @Test func `a draw takes the same work and the right value for every value down to the tails`() throws {
    for (name, table) in try samplers() {
      var counts: Set<WorkCounts> = []
      var isRight = true
      func look(_ v: UInt128, _ side: UInt64, _ expected: Int) {
        var meter = WorkCounts()
        let high = UInt64(v >> 64) | side << 63
        let value = table.draw(high: high, low: UInt64(truncatingIfNeeded: v), meter: &meter)
        counts.insert(meter)
        isRight = isRight && value == table.center + Int64(side == 1 ? -expected : expected)
      }
      for side: UInt64 in [0, 1] {
        let base = side == 0 ? 0 : table.lowerThreshold
        let length = side == 0 ? table.largestAbove : table.largestBelow
        // At a tiny deviation the last ones are below 2^-127.
        let count = table.thresholds[base..<(base + length)].prefix { $0 > 0 }.count
        // v = 0 is the end of the tail, the largest v the centre.
        look(0, side, count)
        look(.max >> 1, side, 0)
        for j in stride(from: 0, to: count, by: max(1, count / 3000)) {
          let threshold = table.thresholds[base + j]
          if threshold < 1 << 127 && (j == 0 || threshold < table.thresholds[base + j - 1]) {
            look(threshold, side, j)
          }
          if j + 1 == count || table.thresholds[base + j + 1] < threshold {
            look(threshold - 1, side, j + 1)
          }
        }
      }
      #expect(isRight, "\(name)")
      #expect(counts.count == 1, "\(name): \(counts)")
    }
  }

  @Test func `a batch takes the same random bytes, probes and writes whatever it draws`() throws {
    for (name, table) in try samplers() {
      var counts: Set<WorkCounts> = []
      var sums: Set<Int64> = []
      for seed in 0..<12 {
        var random = RandomStream(testSeed: UInt64(seed))
        var batch = [Int64](repeating: 0, count: 1500)
        var meter = WorkCounts()
        batch.withUnsafeMutableBufferPointer { table.add(to: $0, random: &random, meter: &meter) }
        counts.insert(meter)
        sums.insert(batch.reduce(0) { $0 + abs($1) })
      }
      let bytes = 16 * (1500 + ThresholdTable.block)
      let expected = WorkCounts(randomBytes: bytes, probes: 1500 * (1 + table.steps), writes: 1500)
      #expect(counts == [expected], "\(name)")
      #expect(sums.count > 1 || name.hasSuffix("0.01"), "\(name): the batches differ")
    }
  }

  @Test func `few probes are enough up to a deviation of 1000`() throws {
    for deviation in [4.0, 16, 64, 256, 1000] {
      let variance = deviation * deviation
      #expect(try SkellamSampler(variance: variance).table.steps <= 4)
      #expect(try DiscreteGaussianSampler(variance: variance).table.steps <= 4)
    }
  }
}
