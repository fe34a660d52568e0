package import Cryptography
import Foundation
package import Privacy

/// One number of an answer.
package struct StatisticsEstimate: Codable, Sendable, Equatable {
  /// What it is: `count`, `mean`, `variance`, a quantile's probability, a category, a bin or a value.
  package var item: String
  /// The estimate.
  package var value: Double
  /// Of the noise and of rounding; nil for a quantile, whose interval is not symmetric.
  package var standardError: Double?
  /// The ends of the interval that holds the answer without noise with probability
  /// `StatisticsState.confidence`.
  package var lower: Double
  package var upper: Double
}

/// The answer to one question.
package struct StatisticsResult: Codable, Sendable, Equatable {
  /// The question's name.
  package var question: String
  /// Its column.
  package var column: String?
  /// What was asked (`StatisticsQuestion.Ask.name`).
  package var ask: String
  /// The session whose sum answered it, of a search the last one.
  package var session: UInt64
  /// Nodes whose input is in that sum.
  package var nodes: Int
  /// The numbers; none if there is a problem, or nothing frequent was found.
  package var estimates: [StatisticsEstimate]
  /// Why there are no numbers.
  package var problem: String?
}

/// One released session of a statistics task.
package struct StatisticsSession: Codable, Sendable, Equatable {
  /// Its number.
  package var session: UInt64
  /// Nodes whose input is in the sum.
  package var participants: Int
  /// Nodes of the cohort that were lost on the way.
  package var dropped: Int
  /// What the task has cost a contributor after it, at the task's delta.
  package var epsilon: EpsilonValue
  /// From the start of the session to its end.
  package var seconds: Double
}

/// Where a statistics task stands and what it found: public, and what its next session starts from. Its digest
/// is part of the round descriptor and of the ledger's record, so an exported answer can be checked.
package struct StatisticsState: Codable, Sendable, Equatable {
  /// The confidence of all intervals.
  package static let confidence = 0.95

  private var format = 1
  /// The task that the state belongs to.
  package private(set) var task: String
  /// Searches under way, by the question's place in the task.
  package internal(set) var searches: [Int: HeavyHitterSearch]
  /// The answers so far, in the order in which they were found.
  package internal(set) var results: [StatisticsResult]
  /// The sessions so far.
  package internal(set) var sessions: [StatisticsSession]

  /// The state before the first session.
  package init(task: String) {
    self.task = task
    searches = [:]
    results = []
    sessions = []
  }

  /// Counts the sessions that produced it, from 0.
  package var version: Int { sessions.count }

  /// Canonical JSON.
  package func encode() throws(FederationError) -> [UInt8] {
    try component("statistics") { try CanonicalJSON.encode(self) }
  }

  static func decode(_ bytes: [UInt8]) throws(FederationError) -> StatisticsState {
    let state: StatisticsState
    do { state = try JSONDecoder().decode(StatisticsState.self, from: Data(bytes)) } catch {
      throw .badArtifact(reason: CanonicalJSON.explain(error))
    }
    guard state.format == 1 else { throw .badArtifact(reason: "format \(state.format) is unknown") }
    return state
  }

  /// The query that a question asks in the next session; nil once it is answered.
  func pending(_ index: Int, of specification: StatisticsSpecification) throws(FederationError)
    -> StatisticsQuery?
  {
    let question = specification.questions[index]
    guard !results.contains(where: { $0.question == question.name }) else { return nil }
    let initial = try question.query()
    guard let search = searches[index] else { return initial }
    // The state came from the server: what it may change of a search is its prefixes, nothing that decides
    // what a contributor can add.
    guard case .heavyHitters(let start) = initial, search.keyBytes == start.keyBytes,
      search.bitsPerRound == start.bitsPerRound, search.maximumPrefixes == start.maximumPrefixes,
      search.recordsPerContributor == start.recordsPerContributor, !search.isFinished
    else { throw .badArtifact(reason: "the search of question \(question.name) is not the task's") }
    return .heavyHitters(search)
  }
}

/// What a session starts from: a model or the state of a statistics task.
package enum TaskArtifact: Sendable, Equatable {
  case model(ModelArtifact)
  case statistics(StatisticsState)

  /// The task that it belongs to.
  package var task: String {
    switch self {
    case .model(let artifact): artifact.task
    case .statistics(let state): state.task
    }
  }

  /// Counts the sessions that produced it, from 0.
  package var version: Int {
    switch self {
    case .model(let artifact): artifact.version
    case .statistics(let state): state.version
    }
  }

  /// The model artifact, if it is one.
  package var model: ModelArtifact? {
    guard case .model(let artifact) = self else { return nil }
    return artifact
  }

  /// The bytes that its digest is of.
  package func encode() throws(FederationError) -> [UInt8] {
    switch self {
    case .model(let artifact): try artifact.encode()
    case .statistics(let state): try state.encode()
    }
  }

  /// Reads what `encode` wrote. A model begins with the length of its header, at most 2^24, which no JSON
  /// text does.
  package static func decode(_ bytes: [UInt8]) throws(FederationError) -> TaskArtifact {
    if bytes.first == UInt8(ascii: "{"), bytes.count < 4 || bytes[3] > 1 {
      return .statistics(try StatisticsState.decode(bytes))
    }
    return .model(try ModelArtifact.decode(bytes))
  }

  /// BLAKE2b-256 of an encoded artifact.
  package static func digest(of bytes: [UInt8]) -> Digest { ModelArtifact.digest(of: bytes) }
}
