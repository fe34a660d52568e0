package import Privacy

/// What a statistics task found, with everything that gives the numbers their meaning.
package struct StatisticsReport: Codable, Sendable, Equatable {
  /// The task's name.
  package var task: String
  /// What the task has cost a contributor so far, sessions that released nothing included: epsilon, delta, unit, neighbours, mechanism, trust mode.
  package var privacy: PrivacyStatement
  /// What they may cost.
  package var budget: PrivacyBudget
  /// Whose records were read.
  package var population: Population
  /// The confidence of all intervals. They are about the answer that the same contributors give without
  /// noise; sampling people from a larger population comes on top.
  package var confidence: Double
  /// The sessions in order.
  package var sessions: [StatisticsSession]
  /// The answers in the order of the task's questions; those of searches come last.
  package var results: [StatisticsResult]

  /// Puts a task and its state together. `own`: everything that was debited for it.
  package init(
    _ task: StatisticsSpecification, _ state: StatisticsState, own: [PrivacyEvent]
  ) throws(FederationError) {
    self.task = task.id
    let isNoisy = task.budget.epsilon.isFinite
    privacy = PrivacyStatement(
      epsilon: try task.epsilon(of: own), delta: task.budget.delta, unit: task.unit,
      relation: .addRemove, mechanism: isNoisy ? "Skellam" : "no noise", trustMode: .distributed,
      accountant: isNoisy ? .rdp : nil)
    budget = task.budget
    population = task.population
    confidence = StatisticsState.confidence
    sessions = state.sessions
    results = state.results
  }

  /// One line per number, with a header (RFC 4180, lines ended by a line feed).
  package var csv: String {
    var lines = ["question,column,ask,item,value,standard_error,lower,upper,confidence,session,nodes"]
    for result in results {
      for estimate in result.estimates {
        let fields = [
          result.question, result.column ?? "", result.ask, estimate.item, "\(estimate.value)",
          estimate.standardError.map { "\($0)" } ?? "", "\(estimate.lower)", "\(estimate.upper)",
          "\(confidence)", "\(result.session)", "\(result.nodes)",
        ]
        lines.append(fields.map(Self.quoted).joined(separator: ","))
      }
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func quoted(_ field: String) -> String {
    guard field.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return field }
    return "\"" + field.replacing("\"", with: "\"\"") + "\""
  }
}

extension TaskRun {
  /// What was found; nil for a training task. `own`: everything that was debited for the task.
  package func report(own: [PrivacyEvent]) throws(FederationError) -> StatisticsReport? {
    guard case .statistics(let engine) = self else { return nil }
    return try StatisticsReport(engine.task, engine.state, own: own)
  }
}
