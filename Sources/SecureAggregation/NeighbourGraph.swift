import Cryptography

/// Who masks against, and holds shares of, whom.
package enum NeighbourGraph: Sendable, Hashable {
  /// Everybody with everybody (Bonawitz et al. 2017), each participant holding a share of its own
  /// secrets too; for at most 200 participants.
  case complete
  /// Every participant draws `degree` others, once the roster is fixed, and deals a share of its secrets
  /// to each of them; any `threshold` of these recover a secret. Pairwise masks run along the draws of
  /// both ends (Bell et al. 2020, the variant against a malicious server). `GraphParameters` chooses
  /// degree and threshold.
  case sparse(degree: Int, threshold: Int)

  /// The largest degree of a sparse graph.
  package static let maximumDegree = 1_000

  /// The largest roster that this graph is meant for.
  package var maximumCohort: Int {
    switch self {
    case .complete: 200
    case .sparse: 1 << 20
    }
  }

  /// The smallest roster that this graph can be drawn in.
  package var minimumCohort: Int {
    switch self {
    case .complete: 2
    case .sparse(let degree, _): degree + 1
    }
  }

  /// t, the number of shares that reconstruct a secret; on the complete graph ⌊2n/3⌋ + 1.
  package func threshold(cohort n: Int) -> Int {
    switch self {
    case .complete: 2 * n / 3 + 1
    case .sparse(_, let threshold): threshold
    }
  }

  /// The most participants that may draw the same one: k + ⌊8·√k⌋, eight standard deviations above the
  /// mean. More than that are refused: somebody is being crowded.
  package func maximumInDegree(cohort n: Int) -> Int {
    switch self {
    case .complete: n - 1
    case .sparse(let degree, _): degree + Int((64 * Double(degree)).squareRoot())
    }
  }

  /// Whether a participant keeps a share of its own secrets.
  var keepsOwnShare: Bool { self == .complete }

  /// The number of holders that a participant deals shares to.
  func degree(cohort n: Int) -> Int {
    switch self {
    case .complete: n - 1
    case .sparse(let degree, _): degree
    }
  }

  /// The roster indices, ascending, to which `index` deals shares: all others, or a uniform draw.
  func drawNeighbours(of index: Int, cohort n: Int, using random: inout RandomStream) -> [Int] {
    switch self {
    case .complete: (0..<n).filter { $0 != index }
    case .sparse(let degree, _):
      // Over the n - 1 others; positions behind the own one are shifted by one.
      UniformSample.draw(degree, of: n - 1, using: &random).map { $0 < index ? $0 : $0 + 1 }
    }
  }
}

/// Uniform sampling without replacement.
enum UniformSample {
  /// `count` distinct numbers of 0..<population, ascending (Floyd's algorithm).
  static func draw(_ count: Int, of population: Int, using random: inout RandomStream) -> [Int] {
    precondition(count >= 0 && count <= population, "a sample is no larger than its population")
    var drawn: Set<Int> = []
    for bound in (population - count)..<population {
      let candidate = Int(random.uniform(below: UInt64(bound + 1)))
      drawn.insert(drawn.contains(candidate) ? bound : candidate)
    }
    return drawn.sorted()
  }
}
