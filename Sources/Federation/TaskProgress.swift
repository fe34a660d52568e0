package import Learning
package import Privacy

/// The next session of a task, before the host adds names, keys and times.
package struct SessionPlan: Sendable, Equatable {
  /// What the session does.
  package let kind: SessionKind
  /// Training round, or session of a statistics task, from 1; else 0.
  package let round: Int
  /// The vector's segments with clip, scale and noise.
  package let segments: [Segment]
}

/// What one training round did, as it is reported. Metrics are those of the model that the round
/// produced, measured privately on held-out records by the session that followed; with noise on they are
/// smoothed over the rounds before (decay 0.8), except the last round's, which has a session of its own.
package struct RoundReport: Codable, Sendable, Equatable {
  /// Training round, from 1.
  package var round: Int
  /// The session that ran it.
  package var session: UInt64
  /// Nodes whose input is in the sum.
  package var participants: Int
  /// Nodes of the cohort that were lost on the way.
  package var dropped: Int
  /// Consenting contributors in the sum, as the noised count says.
  package var eligible: Double
  /// Log loss of the model on held-out records.
  package var loss: Double?
  /// Area under the ROC curve of the model on held-out records.
  package var auc: Double?
  /// Accuracy of the model on held-out records, threshold 0.5.
  package var accuracy: Double?
  /// Root mean squared error on held-out records, for models that predict numbers.
  package var rmse: Double?
  /// Mean absolute error, likewise.
  package var mae: Double?
  /// 1 − squared error / variance, likewise.
  package var r2: Double?
  /// Simplified silhouette on held-out records, for segments.
  package var silhouette: Double?
  /// The shares of contributors in each segment, likewise.
  package var segmentShares: [Double]?
  /// What the training population has spent after the round.
  package var epsilon: EpsilonValue
  /// From the start of the session to its end.
  package var seconds: Double
  /// Digest of the model that the round produced, hexadecimal.
  package var model: String
  /// The groups that were left out of the round and why; nil if none was.
  package var excluded: [String]?
  /// C of the round, if it adapts.
  package var clipNorm: Double?
}

/// An epsilon in JSON: a number, or the string "inf" when noise is off.
package struct EpsilonValue: Codable, Sendable, Equatable {
  /// The value; may be infinite.
  package var value: Double

  package init(_ value: Double) { self.value = value }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let number = try? container.decode(Double.self) {
      value = number
    } else if try container.decode(String.self) == "inf" {
      value = .infinity
    } else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "epsilon is a number or \"inf\"")
    }
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if value.isFinite { try container.encode(value) } else { try container.encode("inf") }
  }
}

/// Where a task stands; stored after every session.
package struct TaskProgress: Codable, Sendable, Equatable {
  /// Whether more sessions will follow.
  package enum Status: Codable, Sendable, Equatable {
    case running
    case completed
    /// Training ended early, and why (for instance a spent budget).
    case stopped(String)
    /// An operator ended it.
    case cancelled
  }

  package var status: Status = .running
  /// Training rounds done.
  package var rounds: [RoundReport] = []
  /// The server optimiser's state.
  package var optimizer: ServerOptimizer?
  /// Sessions that ended without a result.
  package var abortedSessions = 0
  /// True once the final model was measured.
  package var isEvaluated = false
  /// Exponentially weighted sum of the rounds' noised score histograms, and of the weights.
  package var evaluationAverage: [Double] = []
  package var evaluationWeight = 0.0
  /// The adaptive clip norm; nil if it does not adapt or no round was planned yet.
  package var clipping: AdaptiveClipping?
  /// Early stopping; nil if the task has none or nothing was measured yet.
  package var earlyStopping: EarlyStoppingProgress?

  package init() {}
}
