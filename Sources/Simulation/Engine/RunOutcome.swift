package import Learning
package import Privacy

/// What a run gave. Everything but `cost` is the same on every machine.
package struct RunOutcome: Codable, Equatable, Sendable {
  /// Exact metrics of a model on the held-out records: what the researcher may see and a deployment may not.
  package typealias Metrics = PredictionMetrics

  /// One training round.
  package struct Round: Codable, Equatable, Sendable {
    /// From 1.
    package var round: Int
    /// Nodes whose updates are in the sum.
    package var participants: Int
    /// Exact metrics of the model after the round; nil where it was not measured.
    package var metrics: Metrics?
    /// What a deployment would have seen of the model before the round: AUC from noised histograms.
    package var privateAUC: Double?
    /// ε spent so far, at the budget's δ; nil without noise.
    package var epsilon: Double?
    /// SHA-256 of the model's bytes, hex.
    package var model: String

    package init(
      round: Int, participants: Int, metrics: Metrics?, privateAUC: Double?, epsilon: Double?, model: String
    ) {
      self.round = round
      self.participants = participants
      self.metrics = metrics
      self.privateAUC = privateAUC
      self.epsilon = epsilon
      self.model = model
    }
  }

  /// The final model on one node's held-out records: an average hides bad stores.
  package struct Node: Codable, Equatable, Sendable {
    /// The node's position in the population.
    package var node: Int
    /// What the partition calls it: a store's name, or `node-<n>`.
    package var name: String
    /// Exact metrics.
    package var metrics: Metrics

    package init(node: Int, name: String, metrics: Metrics) {
      self.node = node
      self.name = name
      self.metrics = metrics
    }
  }

  /// What the run cost on this machine, and what it would cost a node.
  package struct Cost: Codable, Equatable, Sendable {
    /// Wall clock.
    package var seconds: Double
    /// Time in each phase, summed over workers: `train`, `aggregate`, `evaluate`, ….
    package var phaseSeconds: [String: Double]
    /// Bytes that a node sends in a training round, without HTTP's framing.
    package var uploadBytesPerRound: Int
    /// Bytes that a node receives in a training round, without HTTP's framing.
    package var downloadBytesPerRound: Int
    /// Whether these bytes were counted from messages (`full`) or computed from their sizes.
    package var bytesAreCounted: Bool
    /// Updates that nodes computed, statistics and evaluation not counted.
    package var clientUpdates: Int

    package init(
      seconds: Double, phaseSeconds: [String: Double], uploadBytesPerRound: Int, downloadBytesPerRound: Int,
      bytesAreCounted: Bool, clientUpdates: Int
    ) {
      self.seconds = seconds
      self.phaseSeconds = phaseSeconds
      self.uploadBytesPerRound = uploadBytesPerRound
      self.downloadBytesPerRound = downloadBytesPerRound
      self.bytesAreCounted = bytesAreCounted
      self.clientUpdates = clientUpdates
    }
  }

  /// The rounds, in order; fewer than were asked for if the budget ran out.
  package var rounds: [Round]
  /// The final model on all held-out records.
  package var metrics: Metrics
  /// The final model on each node with held-out records (of at most `maximumNodes` nodes, the first).
  package var nodes: [Node]
  /// The guarantee: ε, δ, unit, relation, mechanism, trust; nil without noise.
  package var privacy: PrivacyStatement?
  /// Model and stage digests agree between runs exactly if their models do: SHA-256, hex.
  package var model: String
  /// Parameters of the model.
  package var parameterCount: Int
  /// Seconds and bytes.
  package var cost: Cost
  /// What the reader must know, one sentence each: a budget that ran out, a cohort below the noise cohort.
  package var notes: [String]
  /// What a deployment would have seen of the final model: AUC from a noised histogram; nil if it sees none.
  package var privateAUC: Double?

  /// What nodes' own models gave, if they adapted the final one.
  package var personal: PersonalOutcome?

  /// The most nodes whose metrics are kept one by one.
  package static let maximumNodes = 1_000

  package init(
    rounds: [Round], metrics: Metrics, nodes: [Node], privacy: PrivacyStatement?, model: String,
    parameterCount: Int, cost: Cost, notes: [String], privateAUC: Double? = nil,
    personal: PersonalOutcome? = nil
  ) {
    self.personal = personal
    self.rounds = rounds
    self.metrics = metrics
    self.nodes = nodes
    self.privacy = privacy
    self.model = model
    self.parameterCount = parameterCount
    self.cost = cost
    self.notes = notes
    self.privateAUC = privateAUC
  }
}
