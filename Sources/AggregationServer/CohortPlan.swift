import Cryptography
import Federation
import Messages
import SecureAggregation

/// A node that waits for an invitation.
struct WaitingNode: Sendable {
  /// Its open requests.
  var requests = 0
  /// The key-stream suites that it takes part with, as its newest request says.
  var suites: Set<KeyStreamSuite> = [.chacha20]

  mutating func begin(_ suites: Set<KeyStreamSuite>) {
    requests += 1
    self.suites = suites
  }
}

/// What a session's descriptor says of its cohort besides the task.
struct CohortPlan: Sendable, Equatable {
  var suite: KeyStreamSuite
  var graph: NeighbourGraph
  /// The corrupt fraction of every group, thousandths.
  var corruptPermille: Int

  /// The fewest inputs of any sum of a cohort, to which noise is calibrated.
  func assuredSurvivors(_ task: any TaskTerms, of cohort: Int) throws(FederationError) -> Int {
    do {
      return try GraphPolicy.standard.assuredSurvivors(
        graph: graph, minimumSurvivors: task.minimumSurvivors, corruptPermille: corruptPermille,
        cohort: cohort)
    } catch { throw .invalidTask(field: "corruptPermille or dropoutPermille", reason: "\(error)") }
  }
}

extension FederationHost {
  /// The fastest suite that everybody who waits has, the complete graph for up to 200 members of a group and
  /// the sparse one for more, and the corrupt fraction that a group of that size must expect.
  func cohortPlan(
    _ task: any TaskTerms, expected: Set<VerifyingKey>, enrolled: Set<VerifyingKey>
  ) throws(FederationError) -> CohortPlan {
    // Every processor has ChaCha20: whoever does not offer it keeps nobody else from a session.
    let common = expected.reduce(Set(KeyStreamSuite.allCases)) { suites, id in
      suites.intersection(waiting[id]?.suites ?? [.chacha20]).union([.chacha20])
    }
    let suite = KeyStreamSuite.fastest(among: common) ?? .chacha20
    let groups = task.groups ?? 1
    // Sizes of groups by hash vary; the identifier that decides them is not known yet.
    let size = (expected.count + groups - 1) / groups
    var corruptPermille = task.corruptPermille
    if groups > 1 {
      do {
        corruptPermille = try GroupPlan.requirement(
          group: 0, groupSize: task.minimumCohort, cohort: max(enrolled.count, task.minimumCohort),
          corruptPermille: task.corruptPermille, dropoutPermille: task.dropoutPermille, groups: groups,
          enrolled: max(enrolled.count, task.minimumCohort)
        ).corruptPermille
      } catch { throw .invalidTask(field: "groups", reason: "\(error)") }
    }
    guard task.plannedCohort(of: expected.count) > NeighbourGraph.complete.maximumCohort else {
      return CohortPlan(suite: suite, graph: .complete, corruptPermille: corruptPermille)
    }
    do {
      let graph = try GraphParameters.search(
        cohort: size, corruptPermille: corruptPermille, dropoutPermille: task.dropoutPermille)
      return CohortPlan(
        suite: suite, graph: .sparse(degree: graph.degree, threshold: graph.threshold),
        corruptPermille: corruptPermille)
    } catch { throw .invalidTask(field: "corruptPermille or dropoutPermille", reason: "\(error)") }
  }
}
