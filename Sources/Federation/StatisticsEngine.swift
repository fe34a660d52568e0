import Cryptography
package import Privacy

/// A statistics task on the server as a pure state machine over sessions. The first session answers every
/// question but searches for frequent values, which take one session per step of their prefix tree.
///
/// **Budget.** A question of weight w gets w/Σw of the task's budget, a search spread evenly over its sessions.
/// Each session is calibrated anew from what the task has really spent, and leaves a fifth of the part that it
/// uses, so that a session lost after its debit can be repeated, with more noise.
package struct StatisticsEngine: Sendable {
  /// The signed task.
  package let task: StatisticsSpecification
  /// Where it stands.
  package private(set) var progress: TaskProgress
  /// What was found, and where searches stand.
  package private(set) var state: StatisticsState
  /// What the task had spent when the current session was planned.
  private var own: [PrivacyEvent] = []

  /// Starts a task, or continues one from what was stored.
  package init(
    task: StatisticsSpecification, progress: TaskProgress = TaskProgress(), state: StatisticsState? = nil
  ) {
    self.task = task
    self.progress = progress
    self.state = state ?? StatisticsState(task: task.id)
  }

  /// The next session, or nil when the task is over. `spent`: what each population has spent over all tasks;
  /// `own`: this task's part of it, aborted sessions included. `cohort` is the largest that it can have.
  package mutating func nextSession(
    spent: [Population: [PrivacyEvent]], own: [PrivacyEvent], cohort: Int
  ) throws(FederationError) -> SessionPlan? {
    guard progress.status == .running else { return nil }
    self.own = own
    do {
      let segments = try plan(cohort: cohort)
      try task.requireAffordable(segments, spent: spent)
      for segment in segments { try task.requireDrawable(segment, cohort: cohort) }
      return SessionPlan(kind: .statistics, round: state.version + 1, segments: segments)
    } catch {
      guard case .budgetSpent = error else { throw error }
      progress.status = .stopped("\(error)")
      return nil
    }
  }

  /// Takes the released sum of a session: answers what it can and moves searches on.
  package mutating func apply(_ sum: ReleasedSum, seconds: Double) throws(FederationError) {
    var next = state
    for segment in sum.descriptor.segments {
      guard case .query(let index) = segment.name, index < task.questions.count,
        let query = try state.pending(index, of: task), let integers = sum.integers(of: segment.name)
      else { throw SegmentShape.foreign(segment.name) }
      var variance = 0.0
      for release in sum.groups { variance += try sum.noiseVariance(of: segment, in: release) }
      let answer = Self.answer(query, integers, scale: segment.scale, variance: variance)
      if case .success(.heavyHitters(let search)) = answer, !search.isFinished {
        next.searches[index] = search
        continue
      }
      let question = task.questions[index]
      next.searches[index] = nil
      var result = StatisticsResult(
        question: question.name, column: question.column, ask: question.ask.name,
        session: sum.descriptor.sessionNumber, nodes: sum.survivors.count, estimates: [])
      switch answer {
      case .success(let answer): result.estimates = question.estimates(answer)
      case .failure(let error): result.problem = "\(error)"
      }
      next.results.append(result)
    }
    var events = own
    for segment in sum.descriptor.segments { events.append(try segment.privacyEvent()) }
    let epsilon = try task.epsilon(of: events)
    next.sessions.append(
      StatisticsSession(
        session: sum.descriptor.sessionNumber, participants: sum.survivors.count,
        dropped: sum.cohort.count - sum.survivors.count, epsilon: EpsilonValue(epsilon), seconds: seconds))
    state = next
    if progress.status == .running, next.results.count == task.questions.count {
      progress.status = .completed
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

  // MARK: Planning

  /// What one question takes of the sessions that are left.
  private struct Part {
    var segment: Segment
    /// Sessions left, this one included.
    let rounds: Int
    /// Variance per unit of the common factor.
    let proportion: Double
    /// Of the sessions to come.
    let largestDimension: Int

    func event(_ factor: Double, dimension: Int) -> PrivacyEvent? {
      segment.sensitivity.map {
        Segment.event(sensitivity: $0, dimension: dimension, variance: factor * proportion)
      }
    }
  }

  private func parts(cohort: Int) throws(FederationError) -> [Part] {
    var parts: [Part] = []
    for (index, question) in task.questions.enumerated() {
      guard let query = try state.pending(index, of: task) else { continue }
      let people = max(cohort, task.minimumCohort) * task.maximumContributors
      let segment = try StatisticsShape.segment(
        index, query: query, task: task,
        scale: VectorPlan.grid(lInfinity: query.sensitivity.lInfinity, people: people))
      // Rényi divergence is inversely proportional to the variance over Δ₂²: a share of the budget is what a
      // release with as many times the variance costs.
      let all = StatisticsShape.rounds(try question.query())
      let norm = Double(segment.sensitivity?.l2Squared ?? 1)
      parts.append(
        Part(
          segment: segment, rounds: StatisticsShape.rounds(query),
          proportion: norm * Double(all) / task.share(of: question),
          largestDimension: StatisticsShape.largestDimension(query)))
    }
    return parts
  }

  private func plan(cohort: Int) throws(FederationError) -> [Segment] {
    let parts = try parts(cohort: cohort)
    guard task.budget.epsilon.isFinite else { return parts.map(\.segment) }
    let factor: Double
    do {
      factor = try SkellamCalibration.calibrate(budget: task.budget, fixed: own) { factor in
        parts.flatMap { part in
          // This session, a repeat of it at a quarter of its cost, and those to come.
          [
            part.event(factor, dimension: part.segment.length),
            part.event(4 * factor, dimension: part.segment.length),
            part.rounds > 1
              ? part.event(factor, dimension: part.largestDimension)?.repeated(part.rounds - 1) : nil,
          ].compactMap { $0 }
        }
      }
    } catch {
      throw .budgetSpent(population: task.population.rawValue, detail: "task \(task.id): \(error)")
    }
    return parts.map { part in
      var segment = part.segment
      segment.noiseVariance = factor * part.proportion
      return segment
    }
  }

  // MARK: Answers

  /// The noised sum is brought from the grid back to whole units: the noise hides the rounding, whose
  /// variance is that of a uniform fraction.
  private static func answer(
    _ query: StatisticsQuery, _ integers: [Int64], scale: Double, variance: Double
  ) -> Result<StatisticsAnswer, MechanismError> {
    let units = integers.map { Int64((Double($0) / scale).rounded()) }
    let rounding = variance > 0 && scale > 1 ? 1.0 / 12 : 0
    do {
      return .success(
        try query.decode(
          sum: units, noiseVariance: variance / (scale * scale) + rounding,
          confidence: StatisticsState.confidence))
    } catch { return .failure(error) }
  }
}

extension StatisticsQuestion {
  /// An answer as rows of numbers.
  func estimates(_ answer: StatisticsAnswer) -> [StatisticsEstimate] {
    func row(_ item: String, _ estimate: CountEstimate) -> StatisticsEstimate {
      let interval = estimate.interval(confidence: StatisticsState.confidence)
      return StatisticsEstimate(
        item: item, value: estimate.value, standardError: estimate.standardError,
        lower: interval.lowerBound, upper: interval.upperBound)
    }
    switch answer {
    case .count(let count): return [row("count", count)]
    case .histogram(let counts): return zip(cells, counts).map { row($0, $1) }
    case .mean(let mean):
      return [
        row("count", mean.count),
        row("mean", CountEstimate(value: mean.mean, standardError: mean.meanStandardError)),
        row("variance", CountEstimate(value: mean.variance, standardError: mean.varianceStandardError)),
      ]
    case .quantiles(let quantiles):
      return quantiles.map {
        StatisticsEstimate(
          item: "\($0.probability)", value: $0.value, standardError: nil, lower: $0.lower, upper: $0.upper)
      }
    case .heavyHitters(let search): return search.found.map { row(Self.text($0.key), $0.count) }
    }
  }

  /// The names of a histogram's cells.
  private var cells: [String] {
    switch ask {
    case .histogram(let categories): categories
    case .bins(let edges): zip(edges, edges.dropFirst()).map { "[\($0), \($1))" }
    case .count, .mean, .quantiles, .heavyHitters: []
    }
  }

  /// A value's bytes as text, or in hexadecimal if they are none (they may have been cut).
  private static func text(_ key: [UInt8]) -> String {
    String(validating: key, as: UTF8.self)
      ?? "0x" + key.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
  }
}
