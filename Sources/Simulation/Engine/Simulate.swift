/// Computes a run with the engine that its aggregation asks for.
///
/// - Throws: what the engine throws, and what `context.progress` throws.
package func simulate(
  _ setup: RunSetup, population: any VirtualPopulation, context: RunContext
) throws -> RunOutcome {
  switch setup.aggregation {
  case .off: try CentralRun(setup: setup, population: population, context: context).run()
  case .full, .modelled: try FederatedRun(setup: setup, population: population, context: context).run()
  }
}

extension RunSetup {
  /// Why the engine would not begin this run, as a sentence; nil if it would. Nothing is computed.
  package func refusal(by population: any VirtualPopulation) -> String? {
    do {
      let context = RunContext(workers: 1)
      switch aggregation {
      case .off: _ = try CentralRun(setup: self, population: population, context: context)
      case .full, .modelled: _ = try FederatedRun(setup: self, population: population, context: context)
      }
      return nil
    } catch {
      return "\(error)"
    }
  }
}
