import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

/// Tail sums by another route than the code under test: ratios of neighbouring terms, no logarithms.
private enum Independent {
  /// Pr[lower ≤ Hyp(population, marked, draws) ≤ upper].
  static func hypergeometric(
    population: Int, marked: Int, draws: Int, _ range: ClosedRange<Int>
  ) -> Double {
    let least = max(0, draws - (population - marked))
    // Weights relative to the first term of the support, then divided by their total.
    var weight = 1.0
    var total = 0.0
    var inside = 0.0
    for value in least...min(marked, draws) {
      total += weight
      if range.contains(value) { inside += weight }
      weight *= Double(marked - value) * Double(draws - value)
      weight /= Double(value + 1) * Double(population - marked - draws + value + 1)
    }
    return inside / total
  }

  /// C(n, k) as a product.
  static func choose(_ n: Int, _ k: Int) -> Double {
    (0..<max(k, 0)).reduce(1.0) { $0 * Double(n - $1) / Double($1 + 1) }
  }
}

struct GraphParametersTests {
  @Test(arguments: [
    // The table has 36/21 for 200, which the bound on one-sided separation does not admit.
    (200, 40, 24), (500, 50, 30), (1_000, 60, 36), (2_000, 70, 44), (5_000, 92, 60), (10_000, 116, 79),
  ])
  func `the degrees and thresholds are those of the protocol's table`(
    cohort: Int, degree: Int, threshold: Int
  ) throws {
    let found = try GraphParameters.search(cohort: cohort, corruptPermille: 100, dropoutPermille: 100)
    #expect(found.degree == degree)
    #expect(found.threshold == threshold)
    #expect(found.quorum == (cohort + cohort / 10) / 2 + 1)
    #expect(found.survivorFloor == cohort - cohort * 3 / 10)
    #expect(found.log2PrivacyFailure <= -41)
    #expect(found.log2CorrectnessFailure <= -20)
    #expect(found.log2SeparationFailure <= -41)
    #expect(found.isolatable * 10 <= cohort - cohort / 10 - cohort * 3 / 10)
  }

  @Test(arguments: [(200, 34, 19), (1_000, 48, 27), (10_000, 56, 31)])
  func `a server that does not choose who drops allows a smaller graph`(
    cohort: Int, degree: Int, threshold: Int
  ) throws {
    let found = try GraphParameters.search(
      cohort: cohort, corruptPermille: 100, dropoutPermille: 100, adversary: .semiMalicious)
    #expect(found.degree == degree)
    #expect(found.threshold == threshold)
  }

  @Test func `a weaker adversary never needs more, a weaker assumption never less`() throws {
    var random = RandomStream(testSeed: 1)
    for _ in 0..<60 {
      let cohort = 60 + Int(random.uniform(below: 3_000))
      let corrupt = Int(random.uniform(below: 250))
      let dropout = Int(random.uniform(below: 250))
      let chosen = Int(random.uniform(below: 350))
      func search(
        _ corrupt: Int, _ chosen: Int, _ adversary: GraphParameters.Adversary
      ) -> GraphParameters? {
        try? GraphParameters.search(
          cohort: cohort, corruptPermille: corrupt, dropoutPermille: dropout,
          chosenDropoutPermille: chosen, adversary: adversary)
      }
      guard let strong = search(corrupt, chosen, .server) else { continue }
      let weak = try #require(search(corrupt, chosen, .semiMalicious))
      #expect(weak.degree <= strong.degree && weak.threshold <= strong.threshold)
      let fewer = try #require(search(corrupt, max(0, chosen - 50), .server))
      #expect(fewer.degree <= strong.degree)
    }
  }

  /// Recomputes the three conditions for every even degree with plain products.
  @Test(arguments: [
    (40, 100, 100, 300), (60, 50, 100, 200), (100, 100, 100, 300), (130, 200, 150, 300), (200, 100, 100, 300),
    (200, 0, 0, 0), (90, 0, 200, 400), (150, 300, 50, 100),
  ])
  func `the pair is the smallest degree with its largest threshold, by independent sums`(
    cohort: Int, corruptPermille: Int, dropoutPermille: Int, chosen: Int
  ) throws {
    let corrupt = cohort * corruptPermille / 1000
    let alive = cohort - cohort * dropoutPermille / 1000
    let dropped = cohort * max(chosen, dropoutPermille) / 1000
    func tail(_ marked: Int, _ degree: Int, _ range: ClosedRange<Int>) -> Double {
      Double(cohort)
        * Independent.hypergeometric(population: cohort - 1, marked: marked, draws: degree, range)
    }
    /// The union bound over two parts without an edge between them.
    func parts(_ degree: Int, smallest: Int) -> Double {
      let honest = cohort - corrupt
      let dropped = min(dropped, honest - 2 * smallest)
      guard dropped >= 0 else { return 0 }
      let living = honest - dropped
      return (smallest...living / 2).reduce(0.0) { sum, size in
        let rest = Double(living - size)
        let others = Double(cohort - 1)
        return sum + Independent.choose(honest, size) * Independent.choose(honest - size, dropped)
          * pow(1 - rest / others, Double(degree * size))
          * pow(1 - Double(size) / others, Double(degree) * rest)
      }
    }
    /// The union bound over sets of every size that keep their draws to themselves, and how many a set may
    /// lack that the bound does not exclude.
    func separation(_ degree: Int, needed: Int) -> (failure: Double, isolatable: Int)? {
      let honest = cohort - corrupt
      let living = honest - dropped
      guard needed + 1 < living else { return (0, 0) }
      var sum = 0.0
      for size in needed + 1..<living {
        let sets = Independent.choose(honest, size)
        let leaving =
          sets * Independent.choose(honest - size, dropped)
          * pow(1 - Double(living - size) / Double(cohort - 1), Double(degree * size))
        let staying =
          sets
          * pow(
            needed > min(size - 1, degree)
              ? 0
              : Independent.hypergeometric(
                population: cohort - 1, marked: size - 1, draws: degree, needed...degree), Double(size))
        let next = sum + min(leaving, staying)
        guard next <= 0x1p-41 else {
          return size > living - 1 - living / 10 ? (sum, living - size) : nil
        }
        sum = next
      }
      return (sum, 0)
    }
    /// The largest threshold that works with a degree.
    func threshold(
      _ degree: Int
    ) -> (threshold: Int, most: Int, separation: (failure: Double, isolatable: Int))? {
      let most = (0...degree).first { $0 == degree || tail(corrupt, degree, $0 + 1...degree) <= 0x1p-41 }
      let threshold = (1..<degree).last { tail(alive - 1, degree, 0...$0) <= 0x1p-20 }
      guard let most, let threshold, threshold > max(most, 1) else { return nil }
      let twoParts = parts(degree, smallest: threshold - most + 1)
      guard twoParts <= 0x1p-41, let one = separation(degree, needed: threshold - most) else { return nil }
      return (threshold, most, (max(twoParts, one.failure), one.isolatable))
    }
    let expected = stride(from: 2, through: cohort - 1, by: 2).lazy.compactMap { degree in
      threshold(degree).map { (degree, $0) }
    }.first
    guard let (degree, values) = expected else {
      #expect(throws: GraphParameterError.self) {
        try GraphParameters.search(
          cohort: cohort, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille,
          chosenDropoutPermille: chosen)
      }
      return
    }
    let found = try GraphParameters.search(
      cohort: cohort, corruptPermille: corruptPermille, dropoutPermille: dropoutPermille,
      chosenDropoutPermille: chosen)
    #expect(found.degree == degree)
    #expect(found.threshold == values.threshold)
    func agree(_ log2: Double, _ probability: Double) -> Bool {
      probability == 0 ? log2 == -.infinity : abs(log2 - Foundation.log2(probability)) < 1e-6
    }
    #expect(agree(found.log2PrivacyFailure, tail(corrupt, degree, found.threshold...degree)))
    #expect(agree(found.log2CorrectnessFailure, tail(alive - 1, degree, 0...found.threshold - 1)))
    #expect(agree(found.log2SeparationFailure, values.separation.failure))
    #expect(found.isolatable == values.separation.isolatable)
  }

  @Test func `a given graph is evaluated with the same bounds`() throws {
    func evaluate(
      _ degree: Int, _ threshold: Int, cohort: Int = 1_000, chosen: Int = 300
    ) throws -> GraphParameters {
      try GraphParameters.evaluate(
        cohort: cohort, degree: degree, threshold: threshold, corruptPermille: 100, dropoutPermille: 100,
        chosenDropoutPermille: chosen)
    }
    let found = try GraphParameters.search(cohort: 1_000, corruptPermille: 100, dropoutPermille: 100)
    #expect(try evaluate(found.degree, found.threshold) == found)
    #expect(found.protectsPrivacy)
    // One share fewer: too small a part could be cut off; far fewer: the corrupt reach it on their own.
    #expect(try !evaluate(60, 35).protectsPrivacy)
    #expect(try evaluate(60, 35).log2PrivacyFailure <= -41)
    #expect(try evaluate(60, 29).log2PrivacyFailure > -41)
    #expect(try evaluate(60, 1).log2PrivacyFailure == 0)
    #expect(try evaluate(2, 2).log2SeparationFailure == 0)
    #expect(try evaluate(60, 60).log2CorrectnessFailure == 0)
    // A cohort that turns out larger, or a server that may drop more, needs more.
    #expect(try evaluate(60, 36, cohort: 900).protectsPrivacy)
    #expect(try !evaluate(60, 36, cohort: 2_000).protectsPrivacy)
    #expect(try !evaluate(60, 36, chosen: 450).protectsPrivacy)
    for (degree, threshold) in [(0, 0), (1_000, 3), (-1, 1), (.max, 1)] {
      #expect(throws: GraphParameterError.degreeOutOfRange(degree: degree, maximum: 999)) {
        try evaluate(degree, threshold)
      }
    }
    for threshold in [Int.min, 0, 61, .max] {
      #expect(throws: GraphParameterError.thresholdOutOfRange(threshold: threshold, maximum: 60)) {
        try evaluate(60, threshold)
      }
    }
  }

  @Test func `hypergeometric tails agree with draws`() {
    let law = Hypergeometric(
      population: 99, marked: 30, draws: 20, factorials: LogFactorials(upTo: 99))
    var random = RandomStream(testSeed: 7)
    let trials = 20_000
    var counts = [Int](repeating: 0, count: 21)
    for _ in 0..<trials {
      var items = Array(0..<99)
      var marked = 0
      for draw in 0..<20 {
        items.swapAt(draw, draw + Int(random.uniform(below: UInt64(99 - draw))))
        if items[draw] < 30 { marked += 1 }
      }
      counts[marked] += 1
    }
    for count in 3...10 {
      let upper = Double(counts[count...].reduce(0, +)) / Double(trials)
      let lower = Double(counts[...count].reduce(0, +)) / Double(trials)
      // Five standard errors of a probability near one half.
      #expect(abs(upper - exp(law.logUpperTail(count))) < 0.018)
      #expect(abs(lower - exp(law.logLowerTail(count))) < 0.018)
    }
    #expect(law.logUpperTail(0) == 0 && law.logUpperTail(21) == -.infinity)
    #expect(law.logLowerTail(20) == 0 && law.logLowerTail(-1) == -.infinity)
  }

  @Test func `quantiles are the tightest that their bounds allow`() {
    let factorials = LogFactorials(upTo: 400)
    for (marked, draws) in [(40, 30), (0, 30), (400, 30), (399, 30), (200, 399), (40, 400)] {
      let law = Hypergeometric(population: 400, marked: marked, draws: draws, factorials: factorials)
      for bound in [-1.0, -10, -40] {
        let upper = law.upperQuantile(bound)
        #expect(law.logUpperTail(upper + 1) <= bound)
        #expect(upper == law.support.lowerBound || law.logUpperTail(upper) > bound)
        let lower = law.lowerQuantile(bound)
        #expect(law.logLowerTail(lower - 1) <= bound)
        #expect(lower == law.support.upperBound || law.logLowerTail(lower) > bound)
      }
    }
  }

  /// Honest clients draw at random, the server looks at the graph and the corrupt ones may be anybody: the
  /// smallest component among the living honest ones never has a size that the bound excludes.
  @Test func `random graphs with the parameters found stay connected`() throws {
    let cohort = 200
    let found = try GraphParameters.search(cohort: cohort, corruptPermille: 100, dropoutPermille: 100)
    var random = RandomStream(testSeed: 11)
    for _ in 0..<20 {
      var edges = [[Int]](repeating: [], count: cohort)
      var inDegree = [Int](repeating: 0, count: cohort)
      for client in 0..<cohort {
        var others = (0..<cohort).filter { $0 != client }
        for draw in 0..<found.degree {
          others.swapAt(draw, draw + Int(random.uniform(below: UInt64(others.count - draw))))
          edges[client].append(others[draw])
          edges[others[draw]].append(client)
          inDegree[others[draw]] += 1
        }
      }
      #expect(inDegree.max() ?? 0 <= found.inDegreeCap)
      // The living honest ones: 20 corrupt and 60 dropped less.
      var reached: Set<Int> = [0]
      var open = [0]
      while let client = open.popLast() {
        for next in edges[client] where next < 120 && reached.insert(next).inserted { open.append(next) }
      }
      #expect(reached.count == 120)
    }
  }

  @Test func `the complete graph has a threshold of two thirds and nothing left to chance`() throws {
    for cohort in [2, 3, 4, 10, 99, 200, 1_000] {
      for permille in [0, 100, 333] {
        let found = try GraphParameters.complete(
          cohort: cohort, corruptPermille: permille, dropoutPermille: permille)
        #expect(found.threshold == 2 * cohort / 3 + 1 && found.degree == cohort)
        #expect(cohort * permille / 1000 < found.threshold)
        #expect(cohort - cohort * permille / 1000 >= max(found.threshold, found.quorum))
        #expect(found.log2PrivacyFailure == -.infinity)
      }
    }
    #expect(
      try GraphParameters.complete(cohort: 10, corruptPermille: 100, dropoutPermille: 100).threshold == 7)
  }

  @Test func `says what to change when nothing works`() {
    func error(_ cohort: Int, _ corrupt: Int, _ dropout: Int, _ chosen: Int = 300) -> GraphParameterError? {
      do throws(GraphParameterError) {
        _ = try GraphParameters.search(
          cohort: cohort, corruptPermille: corrupt, dropoutPermille: dropout, chosenDropoutPermille: chosen)
        return nil
      } catch { return error }
    }
    #expect(error(1, 0, 0) == .cohortOutOfRange(count: 1, minimum: 2, maximum: 1 << 20))
    #expect(error(1 << 21, 0, 0) == .cohortOutOfRange(count: 1 << 21, minimum: 2, maximum: 1 << 20))
    #expect(error(.min, 0, 0) != nil && error(.max, 0, 0) != nil)
    #expect(error(500, 334, 0) == .fractionOutOfRange(.corrupt, permille: 334, maximum: 333))
    #expect(error(500, -1, 0) == .fractionOutOfRange(.corrupt, permille: -1, maximum: 333))
    #expect(error(500, 0, 334) == .fractionOutOfRange(.dropout, permille: 334, maximum: 333))
    #expect(error(500, 0, 0, 501) == .fractionOutOfRange(.chosenDropout, permille: 501, maximum: 500))
    // Below delta the chosen fraction is delta.
    #expect(error(500, 100, 100, -5) == nil)
    for cohort in 2...5 {
      #expect(
        error(cohort, 200, 200)
          == .noSparseGraph(
            cohort: cohort, corruptPermille: 200, dropoutPermille: 200, chosenDropoutPermille: 300))
    }
    #expect(
      "\(GraphParameterError.quorumUnreachable(cohort: 9, alive: 3, quorum: 5))".contains("fewer drop-outs"))
  }

  @Test func `extreme assumptions are answered or refused, never trapped`() {
    for cohort in Array(2...40) + [333, 1_000, 4_096] {
      for (corrupt, dropout, chosen) in [(0, 0, 0), (333, 333, 500), (333, 0, 0), (0, 333, 500)] {
        for adversary in GraphParameters.Adversary.allCases {
          let found = try? GraphParameters.search(
            cohort: cohort, corruptPermille: corrupt, dropoutPermille: dropout,
            chosenDropoutPermille: chosen, adversary: adversary)
          guard let found else { continue }
          #expect(found.threshold >= 2 && found.threshold < found.degree && found.degree < cohort)
          #expect(found.inDegreeCap >= found.degree && found.inDegreeCap < cohort)
        }
      }
    }
  }
}
