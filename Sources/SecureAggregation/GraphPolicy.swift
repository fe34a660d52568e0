/// What a participant, or the server, demands of a sparse graph before it relies on it.
package struct GraphPolicy: Sendable, Hashable {
  /// The fraction of drop-outs, in thousandths, that a hostile server may choose.
  package var chosenDropoutPermille: Int
  /// Whether the failure probabilities are checked at all. Only tests on tiny graphs do without.
  let isEnforced: Bool

  /// Privacy fails with probability at most 2^-40 although the server corrupts the descriptor's fraction
  /// of participants and chooses up to 30 % drop-outs.
  package static let standard = GraphPolicy(chosenDropoutPermille: 300, isEnforced: true)
  /// No demands: for tests on graphs that are too small to have any guarantee.
  static let unchecked = GraphPolicy(chosenDropoutPermille: 300, isEnforced: false)

  /// Checks degree and threshold for a cohort of `n`.
  ///
  /// - Throws: `graphTooWeak`.
  func check(_ parameters: AggregationParameters, cohort n: Int) throws(AggregationError) {
    guard isEnforced, case .sparse(let degree, let threshold) = parameters.graph else { return }
    let reached = try? GraphParameters.evaluate(
      cohort: n, degree: degree, threshold: threshold, corruptPermille: parameters.corruptPermille,
      dropoutPermille: 0, chosenDropoutPermille: chosenDropoutPermille)
    guard let reached, reached.protectsPrivacy else {
      throw .graphTooWeak(cohort: n, degree: degree, threshold: threshold)
    }
  }

  /// The fewest inputs, corrupt ones included, that any sum has which a cohort of `n` agrees to unmask:
  /// T_min, or the threshold of the complete graph, below which participants unmask nothing either; on the
  /// sparse graph the survivors that participants insist on, less the honest ones that a hostile server may
  /// cut off (`GraphParameters.isolatable`). Noise has to suffice with so many.
  package func assuredSurvivors(
    graph: NeighbourGraph, minimumSurvivors: Int, corruptPermille: Int, cohort n: Int
  ) throws(GraphParameterError) -> Int {
    guard case .sparse(let degree, let threshold) = graph else {
      return max(minimumSurvivors, graph.threshold(cohort: n))
    }
    let reached = try GraphParameters.evaluate(
      cohort: n, degree: degree, threshold: threshold, corruptPermille: corruptPermille, dropoutPermille: 0,
      chosenDropoutPermille: chosenDropoutPermille)
    return max(minimumSurvivors, n - n * chosenDropoutPermille / 1000) - reached.isolatable
  }

  /// The fewest survivors of a cohort of `n` on a sparse graph: whoever drops more could separate it.
  func minimumSurvivors(_ parameters: AggregationParameters, cohort n: Int) -> Int {
    guard isEnforced, case .sparse = parameters.graph else { return 0 }
    return n - n * chosenDropoutPermille / 1000
  }
}
