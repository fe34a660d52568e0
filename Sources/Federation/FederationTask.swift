import Cryptography
import Foundation

/// What an operator can sign. The JSON of the two kinds differs in its `kind`; without one it is a training
/// task, as all tasks were before there was another kind.
package enum FederationTask: Sendable, Equatable {
  /// What a task is for.
  package enum Kind: String, Codable, Sendable {
    case training, statistics
  }

  /// A model is trained.
  case training(TaskSpecification)
  /// Queries are answered.
  case statistics(StatisticsSpecification)

  /// What sessions, policies and budgets need to know.
  package var terms: any TaskTerms {
    switch self {
    case .training(let task): task
    case .statistics(let task): task
    }
  }

  /// The training task, if it is one.
  package var training: TaskSpecification? {
    guard case .training(let task) = self else { return nil }
    return task
  }

  /// The statistics task, if it is one.
  package var statistics: StatisticsSpecification? {
    guard case .statistics(let task) = self else { return nil }
    return task
  }

  /// Checks every field against its range.
  package func validate() throws(FederationError) {
    switch self {
    case .training(let task): try task.validate()
    case .statistics(let task): try task.validate()
    }
  }

  /// Canonical JSON: sorted keys, no spaces. These bytes are what the operator signs.
  package func canonicalBytes() throws(FederationError) -> [UInt8] {
    try component("task") { try CanonicalJSON.encode(self) }
  }

  /// Reads and validates a task.
  package static func decode(_ bytes: [UInt8]) throws(FederationError) -> FederationTask {
    guard bytes.count <= TaskSpecification.maximumBytes else {
      throw .invalidTask(field: "size", reason: "is over \(TaskSpecification.maximumBytes) bytes")
    }
    let task: FederationTask
    do { task = try JSONDecoder().decode(FederationTask.self, from: Data(bytes)) } catch {
      throw .invalidTask(field: "JSON", reason: "cannot be read: \(CanonicalJSON.explain(error))")
    }
    try task.validate()
    return task
  }
}

extension FederationTask: Codable {
  private enum CodingKeys: String, CodingKey { case kind }

  package init(from decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: CodingKeys.self)
    switch try fields.decodeIfPresent(Kind.self, forKey: .kind) ?? .training {
    case .training: self = .training(try TaskSpecification(from: decoder))
    case .statistics: self = .statistics(try StatisticsSpecification(from: decoder))
    }
  }

  package func encode(to encoder: any Encoder) throws {
    switch self {
    case .training(let task): try task.encode(to: encoder)
    case .statistics(let task): try task.encode(to: encoder)
    }
  }
}
