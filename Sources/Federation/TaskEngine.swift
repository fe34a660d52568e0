import Cryptography
import Learning
package import Privacy
import SecureAggregation

/// A training run on the server as a pure state machine over sessions: which session comes next, with how
/// much noise, and what its sum does to the model.
package struct TaskEngine: Sendable {
  /// The signed task.
  package let task: TaskSpecification
  /// Where it stands.
  package internal(set) var progress: TaskProgress
  /// The current artifact.
  package internal(set) var artifact: ModelArtifact
  /// The largest cohort that the planned session can have.
  private var cohort = 2

  /// Starts a task, or continues one from what was stored.
  package init(
    task: TaskSpecification, progress: TaskProgress = TaskProgress(), artifact: ModelArtifact? = nil
  ) {
    self.task = task
    self.progress = progress
    self.artifact =
      artifact
      ?? ModelArtifact(
        task: task.id, version: 0, architecture: task.architecture, stage: .schema, parameters: [])
    // Items need no statistics: the model is there from the start, and with it what nodes are sent. A task whose
    // columns are not those of items was refused before; here `nextSession` would say so.
    if artifact == nil, task.architecture.layout == .items { try? beginWithItems() }
  }

  /// The next session, or nil when the task is over. `cohort` is the largest that it can have. Noise is
  /// calibrated from what each population has
  /// really spent, aborted sessions included, so that the remaining rounds fit into what is left.
  package mutating func nextSession(
    spent: [Population: [PrivacyEvent]], cohort: Int
  ) throws(FederationError) -> SessionPlan? {
    self.cohort = cohort
    guard progress.status == .running else { return nil }
    do {
      if artifact.stage == .schema, task.architecture.layout == .items {
        try beginWithItems()
      }
      switch artifact.stage {
      case .schema: return try statisticsPlan(.coarseStatistics, .coarse, spent)
      case .bounds: return try statisticsPlan(.fineStatistics, .fine, spent)
      case .model:
        if !isTrained { return try trainingPlan(spent) }
        return progress.isEvaluated ? finish(.completed) : try evaluationPlan(spent)
      }
    } catch {
      guard case .budgetSpent = error else { throw error }
      return try stopForBudget("\(error)", spent)
    }
  }

  /// Takes the released sum of a session and moves the model on.
  package mutating func apply(
    _ sum: ReleasedSum, epsilon: Double, seconds: Double
  ) throws(FederationError) {
    switch sum.descriptor.kind {
    case .coarseStatistics: try applyCoarse(sum)
    case .fineStatistics: try applyFine(sum)
    case .training:
      try recordMetrics(sum)
      try applyUpdate(sum, epsilon: epsilon, seconds: seconds)
    case .statistics: throw SegmentShape.foreign(sum.descriptor.segments[0].name)
    case .evaluation:
      try recordMetrics(sum)
      progress.isEvaluated = true
      // Before the last round it is the measurement after a spent budget: the next plan says so.
      if progress.status == .running, isTrained { progress.status = .completed }
    }
  }

  /// A session ended without a result. Its cost stays; it is planned again with what is left.
  package mutating func sessionAborted() { progress.abortedSessions += 1 }

  /// Ends a task that cannot go on.
  package mutating func stop(_ reason: String) {
    if progress.status == .running { progress.status = .stopped(reason) }
  }

  /// Ends the task at an operator's word.
  package mutating func cancel() {
    if progress.status == .running { progress.status = .cancelled }
  }

  /// Whether the model can take no further step, as trees that are all grown.
  private var isGrown: Bool {
    artifact.model.map { $0.model.contributionLength(parameters: artifact.parameters) == 0 } ?? false
  }

  /// Whether no further round follows.
  private var isTrained: Bool {
    progress.rounds.count >= task.rounds || isGrown || progress.hasStoppedEarly
  }

  // MARK: Planning

  private mutating func finish(_ status: TaskProgress.Status) -> SessionPlan? {
    progress.status = status
    return nil
  }

  /// A spent training budget ends training; the model so far is measured once if there is one.
  private mutating func stopForBudget(
    _ reason: String, _ spent: [Population: [PrivacyEvent]]
  ) throws(FederationError) -> SessionPlan? {
    if case .model = artifact.stage, !progress.rounds.isEmpty, !progress.isEvaluated,
      !isTrained, let plan = try? evaluationPlan(spent)
    {
      return plan
    }
    return finish(.stopped(reason))
  }

  /// C of the next training session.
  private var clipNorm: Double { progress.clipping?.clipNorm ?? task.clipNorm }

  private func budget(_ population: Population) -> PrivacyBudget {
    population == .training ? task.trainingBudget : task.evaluationBudget
  }

  private func shape(_ name: SegmentName) throws(FederationError) -> Segment {
    let shape = try SegmentShape.of(name, task: task, artifact: artifact, clipNorm: clipNorm)
    return Segment(
      name: name, length: shape.length, population: shape.population, clipNorm: shape.clipNorm,
      scale: VectorPlan.scale(
        clipNorm: shape.clipNorm, dimension: shape.length, people: cohort * task.maximumContributors),
      noiseVariance: 0)
  }

  /// The variance at which `rounds` releases of the segment, after `fixed`, meet the population's budget.
  private func variance(
    _ segment: Segment, fixed: [PrivacyEvent], rounds: Int
  ) throws(FederationError) -> Double {
    let budget = budget(segment.population)
    guard budget.epsilon.isFinite else { return 0 }
    let clip = try segment.integerClip()
    do {
      return try SkellamCalibration.calibrateVariance(budget: budget, fixed: fixed, rounds: rounds) {
        Segment.event(clip: clip, dimension: segment.length, variance: $0)
      }
    } catch {
      throw .budgetSpent(population: segment.population.rawValue, detail: "\(error)")
    }
  }

  private func statisticsPlan(
    _ kind: SessionKind, _ name: SegmentName, _ spent: [Population: [PrivacyEvent]]
  ) throws(FederationError) -> SessionPlan {
    var segment = try shape(name)
    // Rényi divergence is inversely proportional to the variance: a share f of the budget is what a
    // release with 1/f times the full-budget variance costs. The two sessions split the share evenly.
    let full = try variance(segment, fixed: [], rounds: 1)
    segment.noiseVariance = (full / (task.statisticsShare / 2)).rounded(.up)
    try task.requireAffordable([segment], spent: spent)
    try task.requireDrawable(segment, cohort: cohort)
    return SessionPlan(kind: kind, round: 0, segments: [segment])
  }

  private func trainingPlan(
    _ spent: [Population: [PrivacyEvent]]
  ) throws(FederationError) -> SessionPlan {
    var update = try shape(.update)
    // One session more than the rounds that are left: a session that is lost after its debit, even the
    // last one, then leaves enough for another.
    let sessions = task.rounds - progress.rounds.count + 1
    var segments: [Segment] = []
    var fixed = spent[.training] ?? []
    if let bit = try clippingSegment() {
      let event = try bit.privacyEvent()
      if bit.noiseVariance > 0, let all = event.repeated(sessions) { fixed.append(all) }
      segments.append(bit)
    }
    update.noiseVariance = try variance(update, fixed: fixed, rounds: sessions)
    segments.insert(update, at: 0)
    for segment in segments { try task.requireDrawable(segment, cohort: cohort) }
    // The first round starts from an untrained model: measuring that would only cost budget. A round
    // whose model was already measured (by a session that aborted later) is measured again.
    if !progress.rounds.isEmpty {
      var evaluation = try shape(.evaluation)
      let final = try finalEvaluationEvent(evaluation)
      evaluation.noiseVariance = try variance(
        evaluation, fixed: (spent[.heldOut] ?? []) + final, rounds: sessions)
      try task.requireDrawable(evaluation, cohort: cohort)
      segments.append(evaluation)
    }
    return SessionPlan(kind: .training, round: progress.rounds.count + 1, segments: segments)
  }

  /// The bit of adaptive clipping, with noise as the task says: what is left of the budget is the update's.
  private func clippingSegment() throws(FederationError) -> Segment? {
    guard let plan = task.adaptiveClipping else { return nil }
    let shape = try SegmentShape.of(.clipping, task: task, artifact: artifact)
    return Segment(
      name: .clipping, length: shape.length, population: shape.population, clipNorm: shape.clipNorm,
      scale: 2 * Double(AdaptiveClipping.bitScale),
      noiseVariance: budget(.training).epsilon.isFinite
        ? AdaptiveClipping.bitVariance(bitNoiseDeviation: plan.bitNoiseDeviation) : 0,
      sensitivity: shape.sensitivity)
  }

  private func evaluationPlan(
    _ spent: [Population: [PrivacyEvent]]
  ) throws(FederationError) -> SessionPlan {
    var evaluation = try shape(.evaluation)
    // Four fifths of what is left, so that a session lost after its debit can be repeated.
    evaluation.noiseVariance = 1.25 * (try variance(evaluation, fixed: spent[.heldOut] ?? [], rounds: 1))
    try task.requireDrawable(evaluation, cohort: cohort)
    return SessionPlan(kind: .evaluation, round: 0, segments: [evaluation])
  }

  /// The final measurement, set aside in advance.
  private func finalEvaluationEvent(
    _ segment: Segment
  ) throws(FederationError) -> [PrivacyEvent] {
    guard budget(.heldOut).epsilon.isFinite else { return [] }
    let full = try variance(segment, fixed: [], rounds: 1)
    let clip = try segment.integerClip()
    return [
      Segment.event(
        clip: clip, dimension: segment.length, variance: full / task.finalEvaluationShare)
    ]
  }

  // MARK: Applying

  func values(
    _ name: SegmentName, _ sum: ReleasedSum
  ) throws(FederationError) -> (values: [Double], noiseStdDev: Double) {
    guard let segment = sum.descriptor.segments.first(where: { $0.name == name }),
      let values = sum.values(of: name)
    else {
      throw .mismatch(what: "the session's segments", expected: name.rawValue, actual: "none")
    }
    var variance = 0.0
    for release in sum.groups { variance += try sum.noiseVariance(of: segment, in: release) }
    return (values, variance.squareRoot() / segment.scale)
  }

  private mutating func applyCoarse(_ sum: ReleasedSum) throws(FederationError) {
    let (values, noise) = try values(.coarse, sum)
    let bounds = try component("coarse statistics") {
      try CoarseStatistics(schema: task.schema).decode(
        sum: values, noiseStdDev: noise, quantileBins: task.quantileBins)
    }
    artifact.stage = .bounds(bounds)
    artifact.version += 1
  }

  private mutating func applyFine(_ sum: ReleasedSum) throws(FederationError) {
    guard case .bounds(let bounds) = artifact.stage else {
      throw .badArtifact(reason: "fine statistics need agreed bounds")
    }
    let (values, noise) = try values(.fine, sum)
    let pipeline = try component("fine statistics") {
      try FineStatistics(schema: task.schema, bounds: bounds).decode(
        sum: values, noiseStdDev: noise, quantileBins: task.quantileBins)
    }
    try begin(with: pipeline)
  }

  private mutating func beginWithItems() throws(FederationError) {
    try begin(with: try component("columns") { try .items(schema: task.schema) })
  }

  /// Features are agreed: there is a model from now on.
  private mutating func begin(with pipeline: FeaturePipeline) throws(FederationError) {
    let model = try component("architecture") {
      try Model(architecture: task.architecture, pipeline: pipeline)
    }
    artifact.stage = .model(pipeline)
    artifact.version += 1
    artifact.parameters = model.initialParameters(seed: task.seed)
    progress.optimizer = ServerOptimizer(
      kind: task.optimizer, weightDecay: task.weightDecay, schedule: task.schedule ?? .constant,
      parameterCount: artifact.parameters.count)
  }

  private mutating func applyUpdate(
    _ sum: ReleasedSum, epsilon: Double, seconds: Double
  ) throws(FederationError) {
    let (values, noise) = try values(.update, sum)
    guard var optimizer = progress.optimizer else {
      throw .badArtifact(reason: "the optimiser's state is missing")
    }
    let norm = try SegmentShape.clipNorm(of: sum.descriptor, task: task)
    let weight = norm * ContributionBuilder.countWeight
    let count = values[values.count - 1] / weight
    // Far fewer contributors than the count's own noise can tell from none: no step.
    let denominator = max(count, 3 * noise / weight, 1)
    var mean: [Float]? = values.dropLast().map { Float($0 / denominator) }
    var excluded: [String] = []
    if sum.descriptor.groups > 1 { (mean, excluded) = try combinedMean(sum) }
    guard let model = artifact.model?.model else {
      throw .badArtifact(reason: "there is no model to train yet")
    }
    var parameters = artifact.parameters
    // What would be thrown away is no step: it could even diverge.
    let best = bestModel
    if let best {
      parameters = best
    } else if let mean {
      try component("the model's step") {
        try model.step(
          mean: mean, contributors: denominator, optimizer: &optimizer, parameters: &parameters)
      }
    }
    guard parameters.allSatisfy(\.isFinite) else {
      throw .badArtifact(reason: "the model diverged; lower the learning rate")
    }
    artifact.parameters = parameters
    progress.optimizer = optimizer
    if let plan = task.adaptiveClipping, let bits = sum.integers(of: .clipping)?.first {
      var clipping: AdaptiveClipping
      if let current = progress.clipping {
        clipping = current
      } else {
        clipping = try plan.start(clipNorm: task.clipNorm)
      }
      clipping.update(noisedSum: bits)
      progress.clipping = clipping
    }
    artifact.version += 1
    let bytes = try artifact.encode()
    progress.rounds.append(
      RoundReport(
        round: sum.descriptor.round, session: sum.descriptor.sessionNumber,
        participants: sum.survivors.count,
        dropped: sum.cohort.count - sum.survivors.count, eligible: count.rounded(),
        epsilon: EpsilonValue(epsilon), seconds: seconds,
        model: ModelArtifact.digest(of: bytes).hex, excluded: excluded.isEmpty ? nil : excluded,
        clipNorm: task.adaptiveClipping == nil ? nil : norm))
    if best != nil { progress.earlyStopping?.endedAfter = progress.rounds.count }
  }

  /// The mean update of a cohort in groups: groups whose sum is larger than their contributors and the
  /// noise can make it are left out, the others are combined as the task says. No mean if too few are left.
  private func combinedMean(
    _ sum: ReleasedSum
  ) throws(FederationError) -> (mean: [Float]?, excluded: [String]) {
    guard let segment = sum.descriptor.segments.first(where: { $0.name == .update }) else {
      throw .mismatch(what: "the session's segments", expected: "update", actual: "none")
    }
    let clip = try segment.integerClip()
    let norm = try SegmentShape.clipNorm(of: sum.descriptor, task: task)
    let weight = norm * ContributionBuilder.countWeight * segment.scale
    var sums: [GroupSum] = []
    for release in sum.groups {
      guard let integers = sum.integers(of: .update, in: release), let last = integers.last else { continue }
      let variance = try sum.noiseVariance(of: segment, in: release)
      let most = release.result.survivors.count * task.maximumContributors
      // The count is noised as well: what it can be off by is no ground to leave a group out.
      let count = Double(last) / weight
      let noise = variance.squareRoot() / weight
      sums.append(
        GroupSum(
          group: release.group, values: Array(integers.dropLast()),
          contributors: max(1, Int(max(count, 3 * noise).rounded())),
          mostContributors: min(most, max(0, Int((count + 6 * noise).rounded(.up)))),
          noiseVariance: variance))
    }
    let rule: RobustCombination.Rule =
      switch task.combination ?? .median {
      case .mean: .mean
      case .trimmedMean: .trimmedMean(permille: 200)
      case .median: .median
      }
    let combination = try component("combination of groups") {
      try RobustCombination(
        rule: rule, contributionNorm: Double(clip.sensitivityL2Squared).squareRoot(), scale: segment.scale)
    }
    let outcome: RobustCombination.Outcome
    do { outcome = try combination.combine(sums) } catch {
      // Paid for and of no use: too few groups are left to tell a bad one. The model stays as it is.
      guard case .tooFewGroups = error else {
        throw .component(name: "combination of groups", reason: "\(error)")
      }
      return (nil, ["no step: \(error)"])
    }
    return (outcome.mean.map { Float($0) }, outcome.excluded.map(\.description))
  }
}
