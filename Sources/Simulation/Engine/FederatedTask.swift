import Cryptography
package import Federation
import Foundation
package import Learning
import Messages
import Privacy

/// The task that an operator would sign for a setup, and the sizes that follow from it.
package struct FederatedTask: Sendable {
  /// The task. Its `id` is that of every simulation, so that equal models have equal bytes whatever the run is
  /// called.
  package let task: TaskSpecification
  /// Nodes in a cohort.
  package let cohort: Int
  /// Nodes of each cohort that are lost before their upload.
  package let dropouts: Int
  /// The cohort whose noise is simulated; nil for the cohort itself.
  package let noiseCohort: Int?

  /// The `id` of every simulated task.
  package static let id = "simulation"
  /// What simulated contributors agreed to.
  package static let purpose = "simulation"

  /// The cohort that terms, ring and noise are planned for.
  package var plannedCohort: Int { noiseCohort ?? cohort }

  /// Works the task out.
  /// - Throws: `FederatedRunError.setup` for a setup that only other kinds of aggregation can run,
  ///   `FederationError` for what no task may say.
  package init(_ setup: RunSetup, schema: FeatureSchema, nodeCount: Int) throws {
    func require(_ condition: Bool, _ field: String, _ reason: @autoclosure () -> String) throws {
      guard condition else { throw FederatedRunError.setup(field: field, reason: reason()) }
    }
    switch setup.cohort {
    case .all: cohort = nodeCount
    case .fixed(let size): cohort = size
    }
    try require(
      (2...max(2, nodeCount)).contains(cohort) && nodeCount >= 2, "cohort",
      "is \(cohort) of \(nodeCount) nodes; secure aggregation needs at least 2 and no more than there are")
    try require(setup.aggregation != .off, "aggregation", "is off: that is another kind of run")
    try require(
      setup.noiseCohort == nil || setup.aggregation == .modelled, "noiseCohort",
      "needs aggregation: modelled; real messages carry the noise of their own cohort")
    try require(
      setup.noiseCohort ?? cohort >= cohort, "noiseCohort",
      "is smaller than the cohort of \(cohort); it stands for a larger one")
    try require(
      setup.asynchronous == nil && setup.validationPermille == nil, "asynchronous and validation",
      "are for aggregation: off; early stopping looks at the task's private measurements here")
    noiseCohort = setup.noiseCohort == cohort ? nil : setup.noiseCohort
    let planned = noiseCohort ?? cohort
    try require(
      planned <= MessageLimits.cohort, noiseCohort == nil ? "cohort" : "noiseCohort",
      "is \(planned); the protocol is for at most \(MessageLimits.cohort) nodes")
    guard let clipNorm = setup.clipNorm else {
      throw FederatedRunError.setup(
        field: "clipNorm", reason: "is missing: every node clips, also without noise; or use aggregation: off"
      )
    }
    try require(
      setup.quantileBins >= 1, "quantileBins",
      "is 0; a federation agrees on bins (1 for none), only aggregation: off does without")
    try require(
      (1...1000).contains(setup.survivorPermille), "survivorPermille", "must be from 1 to 1,000")
    let survivors = max(2, (planned * setup.survivorPermille + 999) / 1000)
    task = TaskSpecification(
      id: Self.id, purpose: Self.purpose, schema: schema, architecture: setup.architecture,
      algorithm: setup.algorithm, optimizer: setup.optimizer, rounds: setup.rounds, clipNorm: clipNorm,
      schedule: setup.schedule == .constant ? nil : setup.schedule, earlyStopping: setup.earlyStopping,
      weightDecay: setup.weightDecay,
      quantileBins: setup.quantileBins,
      evaluationBins: setup.evaluationBins, labelBound: setup.labelBound,
      statisticsShare: setup.statisticsShare,
      finalEvaluationShare: setup.finalEvaluationShare, unit: setup.unit, trainingBudget: setup.budget,
      evaluationBudget: setup.budget, minimumCohort: planned, minimumSurvivors: survivors,
      corruptPermille: setup.corruptPermille,
      dropoutPermille: min(333, max(setup.dropoutPermille, 1000 - setup.survivorPermille)),
      maximumContributors: Self.maximumContributors(cohort: planned), seed: setup.seed)
    try task.validate()
    try require(
      (0..<1000).contains(setup.dropoutPermille), "dropoutPermille", "must be from 0 to 999")
    dropouts = cohort * setup.dropoutPermille / 1000
    try require(
      setup.samplingClaim == .none, "samplingClaim",
      "is fixed-size; only aggregation: off has a proof for drawn cohorts")
    let plan = try CohortPlan(task: task, expected: planned, enrolled: planned, suite: .chacha20)
    let needed = try plan.assuredSurvivors(task, of: planned)
    let (left, size, least) = (cohort - dropouts, planned, needed)
    try require(
      left * planned / cohort >= needed, "dropoutPermille",
      "loses \(size - left * size / cohort) of \(size) nodes, but \(least) must finish (see survivorPermille)"
    )
  }

  /// The default of tasks, or what leaves contributions a grid of 256 units in a ring of 32 bits: the ring has
  /// to hold the cohort's largest sum.
  static func maximumContributors(cohort: Int) -> Int {
    max(1, min(20_000, (1 << 29) / (512 * cohort)))
  }
}
