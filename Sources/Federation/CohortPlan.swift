package import Cryptography
package import SecureAggregation

/// What a session's descriptor says of its cohort besides the task.
package struct CohortPlan: Sendable, Equatable {
  /// What masks are expanded with.
  package var suite: KeyStreamSuite
  /// Who masks against whom.
  package var graph: NeighbourGraph
  /// The corrupt fraction of every group, thousandths.
  package var corruptPermille: Int

  /// The complete graph for up to 200 members of a group and the sparse one for more, and the corrupt fraction
  /// that a group of that size must expect.
  /// - Parameters:
  ///   - expected: nodes that are known to wait for the session.
  ///   - enrolled: all nodes of the federation.
  package init(
    task: any TaskTerms, expected: Int, enrolled: Int, suite: KeyStreamSuite
  ) throws(FederationError) {
    self.suite = suite
    let groups = task.groups ?? 1
    // Sizes of groups by hash vary; the identifier that decides them is not known yet.
    let size = (expected + groups - 1) / groups
    corruptPermille = task.corruptPermille
    graph = .complete
    if groups > 1 {
      do {
        corruptPermille = try GroupPlan.requirement(
          group: 0, groupSize: task.minimumCohort, cohort: max(enrolled, task.minimumCohort),
          corruptPermille: task.corruptPermille, dropoutPermille: task.dropoutPermille, groups: groups,
          enrolled: max(enrolled, task.minimumCohort)
        ).corruptPermille
      } catch { throw .invalidTask(field: "groups", reason: "\(error)") }
    }
    guard task.plannedCohort(of: expected) > NeighbourGraph.complete.maximumCohort else { return }
    do {
      let found = try GraphParameters.search(
        cohort: size, corruptPermille: corruptPermille, dropoutPermille: task.dropoutPermille)
      graph = .sparse(degree: found.degree, threshold: found.threshold)
    } catch { throw .invalidTask(field: "corruptPermille or dropoutPermille", reason: "\(error)") }
  }

  /// The fewest inputs of any sum of a cohort, to which noise is calibrated.
  package func assuredSurvivors(_ task: any TaskTerms, of cohort: Int) throws(FederationError) -> Int {
    do {
      return try GraphPolicy.standard.assuredSurvivors(
        graph: graph, minimumSurvivors: task.minimumSurvivors, corruptPermille: corruptPermille,
        cohort: cohort)
    } catch { throw .invalidTask(field: "corruptPermille or dropoutPermille", reason: "\(error)") }
  }
}

extension RoundDescriptor {
  /// What a host adds to a planned session: names, keys and times.
  package struct Setting: Sendable {
    package var federation: String
    package var sessionNumber: UInt64
    package var taskDigest: Digest
    package var modelDigest: Digest
    /// The consent ledger's checkpoint, a signed note.
    package var checkpoint: String
    package var issuedAtMilliseconds: UInt64
    package var uploadKey: AgreementPublicKey

    package init(
      federation: String, sessionNumber: UInt64, taskDigest: Digest, modelDigest: Digest, checkpoint: String,
      issuedAtMilliseconds: UInt64, uploadKey: AgreementPublicKey
    ) {
      self.federation = federation
      self.sessionNumber = sessionNumber
      self.taskDigest = taskDigest
      self.modelDigest = modelDigest
      self.checkpoint = checkpoint
      self.issuedAtMilliseconds = issuedAtMilliseconds
      self.uploadKey = uploadKey
    }
  }

  /// The descriptor of a planned session, with the ring that the largest cohort needs.
  /// - Parameter largest: the most nodes that can take part, usually all that are enrolled.
  package init(
    _ plan: SessionPlan, task: any TaskTerms, cohort: CohortPlan, largest: Int, setting: Setting
  ) throws(FederationError) {
    let limit = min(task.plannedCohort(of: largest), cohort.graph.maximumCohort)
    self.init(
      federation: setting.federation, sessionNumber: setting.sessionNumber, kind: plan.kind,
      round: plan.round, taskDigest: setting.taskDigest, modelDigest: setting.modelDigest,
      seed: task.seed &+ setting.sessionNumber, segments: plan.segments,
      ringBits: try VectorPlan(plan.segments).ringBits(
        cohort: limit, maximumContributors: task.maximumContributors,
        minimumSurvivors: try cohort.assuredSurvivors(task, of: limit),
        corruptPermille: cohort.corruptPermille),
      minimumCohort: task.minimumCohort, minimumSurvivors: task.minimumSurvivors,
      corruptPermille: cohort.corruptPermille, dropoutPermille: task.dropoutPermille,
      maximumContributors: task.maximumContributors,
      stepDeadlineMilliseconds: task.stepDeadlineMilliseconds,
      trainingDeadlineMilliseconds: task.trainingDeadlineMilliseconds, checkpoint: setting.checkpoint,
      issuedAtMilliseconds: setting.issuedAtMilliseconds, uploadKey: setting.uploadKey, unit: task.unit,
      suite: cohort.suite, graph: cohort.graph, groups: task.groups ?? 1)
  }
}
