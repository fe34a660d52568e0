package import Privacy

/// A task of either kind as the server runs it: which session comes next, and what its sum does.
package enum TaskRun: Sendable {
  case training(TaskEngine)
  case statistics(StatisticsEngine)

  /// Starts a task.
  package init(_ task: FederationTask, progress: TaskProgress = TaskProgress()) {
    switch task {
    case .training(let task): self = .training(TaskEngine(task: task, progress: progress))
    case .statistics(let task): self = .statistics(StatisticsEngine(task: task, progress: progress))
    }
  }

  /// Continues a task from what was stored.
  package init(
    _ task: FederationTask, progress: TaskProgress, artifact: TaskArtifact
  ) throws(FederationError) {
    switch (task, artifact) {
    case (.training(let task), .model(let artifact)):
      self = .training(TaskEngine(task: task, progress: progress, artifact: artifact))
    case (.statistics(let task), .statistics(let state)):
      self = .statistics(StatisticsEngine(task: task, progress: progress, state: state))
    case (.training, .statistics), (.statistics, .model):
      throw .badArtifact(reason: "it belongs to another kind of task")
    }
  }

  /// The signed task.
  package var task: FederationTask {
    switch self {
    case .training(let engine): .training(engine.task)
    case .statistics(let engine): .statistics(engine.task)
    }
  }

  /// What sessions, policies and budgets need to know of it.
  package var terms: any TaskTerms { task.terms }

  /// Where it stands.
  package var progress: TaskProgress {
    switch self {
    case .training(let engine): engine.progress
    case .statistics(let engine): engine.progress
    }
  }

  /// What its next session starts from.
  package var artifact: TaskArtifact {
    switch self {
    case .training(let engine): .model(engine.artifact)
    case .statistics(let engine): .statistics(engine.state)
    }
  }

  /// The next session, or nil when the task is over. `spent`: what each population has spent over all tasks;
  /// `own`: the task's part of it. `cohort` is the largest that the session can have.
  package mutating func nextSession(
    spent: [Population: [PrivacyEvent]], own: [PrivacyEvent], cohort: Int
  ) throws(FederationError) -> SessionPlan? {
    switch self {
    case .training(var engine):
      defer { self = .training(engine) }
      return try engine.nextSession(spent: spent, cohort: cohort)
    case .statistics(var engine):
      defer { self = .statistics(engine) }
      return try engine.nextSession(spent: spent, own: own, cohort: cohort)
    }
  }

  /// Takes the released sum of a session. `epsilon`: what the training population has spent.
  package mutating func apply(
    _ sum: ReleasedSum, epsilon: Double, seconds: Double
  ) throws(FederationError) {
    switch self {
    case .training(var engine):
      try engine.apply(sum, epsilon: epsilon, seconds: seconds)
      self = .training(engine)
    case .statistics(var engine):
      try engine.apply(sum, seconds: seconds)
      self = .statistics(engine)
    }
  }

  /// A session ended without a result. Its cost stays; it is planned again with what is left.
  package mutating func sessionAborted() { change({ $0.sessionAborted() }, { $0.sessionAborted() }) }

  /// Ends a task that cannot go on.
  package mutating func stop(_ reason: String) { change({ $0.stop(reason) }, { $0.stop(reason) }) }

  /// Ends the task at an operator's word.
  package mutating func cancel() { change({ $0.cancel() }, { $0.cancel() }) }

  private mutating func change(
    _ training: (inout TaskEngine) -> Void, _ statistics: (inout StatisticsEngine) -> Void
  ) {
    switch self {
    case .training(var engine):
      training(&engine)
      self = .training(engine)
    case .statistics(var engine):
      statistics(&engine)
      self = .statistics(engine)
    }
  }
}
