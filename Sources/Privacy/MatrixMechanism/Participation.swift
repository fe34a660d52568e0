/// How often, and how close together, the data of one unit may enter the steps of a training.
///
/// This is (k, b)-participation with minimum separation (Choquette-Choo et al. 2023, "(Amplified) Banded
/// Matrix Factorization", section 2): any two steps of one unit lie at least b apart. The guarantee
/// holds only if the server enforces it.
package struct Participation: Codable, Sendable, Hashable {
  /// k: the most steps in which one unit takes part.
  package let maximum: Int
  /// b: the smallest distance of two such steps; 1 allows consecutive steps.
  package let minimumSeparation: Int

  /// Every unit takes part at most once.
  package static let once = Participation(unchecked: 1, 1)

  private init(unchecked maximum: Int, _ minimumSeparation: Int) {
    self.maximum = maximum
    self.minimumSeparation = minimumSeparation
  }

  /// At most `maximum` participations, at least `minimumSeparation` steps apart.
  ///
  /// Throws: `participationOutOfRange` if either is below 1.
  package init(maximum: Int, minimumSeparation: Int) throws(MatrixMechanismError) {
    guard maximum >= 1, minimumSeparation >= 1 else {
      throw .participationOutOfRange(maximum: maximum, minimumSeparation: minimumSeparation)
    }
    self.init(unchecked: maximum, minimumSeparation)
  }

  package init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try self.init(
      maximum: values.decode(Int.self, forKey: .maximum),
      minimumSeparation: values.decode(Int.self, forKey: .minimumSeparation))
  }

  private enum CodingKeys: String, CodingKey { case maximum, minimumSeparation }

  /// The most participations that `steps` steps have room for.
  package func count(steps: Int) -> Int {
    min(maximum, (steps - 1) / minimumSeparation + 1)
  }
}
