import ConsentLedger
import Cryptography
package import Federation
import Storage

/// Reads a stopped or running server's state from its files, without taking part in it.
package struct ServerInspection: Sendable {
  /// A stored model with its exact bytes.
  package struct StoredModel: Sendable {
    /// The bytes that the digest is of.
    package let bytes: [UInt8]
    /// What they say.
    package let artifact: ModelArtifact
  }

  /// Why there is nothing to show.
  package enum Problem: Error, Sendable, CustomStringConvertible {
    /// No model of the task is stored.
    case noModel(task: String, known: [String])

    package var description: String {
      switch self {
      case .noModel(let task, let known):
        known.isEmpty
          ? "there are no models in this directory yet"
          : "there is no model of a task named \(task); there are models of: \(known.joined(separator: ", "))"
      }
    }
  }

  private let store: ServerStore

  /// Opens the state of a server's data directory; nothing is created.
  package init(directory: String) throws {
    let path = directory + "/server.sqlite"
    guard DurableFile.exists(path) else { throw StorageError.missingFile(path: path) }
    store = try ServerStore(path: path)
  }

  /// All models, by task and version.
  package func models() throws -> [StoredModel] {
    try store.models().compactMap { model in
      guard let bytes = try store.model(model.digest),
        let artifact = try TaskArtifact.decode(bytes).model
      else { return nil }
      return StoredModel(bytes: bytes, artifact: artifact)
    }
  }

  /// The newest model of a task.
  package func newestModel(of task: String) throws -> StoredModel {
    let all = try models()
    guard let model = all.last(where: { $0.artifact.task == task }) else {
      throw Problem.noModel(task: task, known: Array(Set(all.map(\.artifact.task))).sorted())
    }
    return model
  }

  /// The size of the ledger that each session was bound to, by session number, from the sessions' signed
  /// records.
  package func checkpointSizes() throws -> [UInt64: UInt64] {
    var sizes: [UInt64: UInt64] = [:]
    for record in try store.records() {
      guard case .round(let round) = try SignedStatement(parsing: record).body() else { continue }
      sizes[round.round] = round.checkpointSize
    }
    return sizes
  }

  /// The released sum of a session, as ring elements, and the ring's width; nil if it released none.
  package func sum(session number: UInt64) throws -> (words: [UInt32], ringBits: Int)? {
    try store.sum(session: number)
  }
}
