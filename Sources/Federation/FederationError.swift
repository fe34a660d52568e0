package import Cryptography
package import Messages

/// Why a federation refuses something. Each case asks for another reaction, named in its comment.
package enum FederationError: Error, Sendable, CustomStringConvertible {
  /// Bytes from a peer are not what the protocol allows: drop the message, keep the session.
  case message(MessageError, peer: String)
  /// A signature does not match its key: drop the message.
  case badSignature(what: String, peer: String)
  /// A message of another federation, protocol version or session: drop it.
  case mismatch(what: String, expected: String, actual: String)
  /// A node's own rules forbid the session: do not take part, log it.
  case policy(PolicyRefusal)
  /// A task that cannot be run as it is written: refuse it.
  case invalidTask(field: String, reason: String)
  /// A stored or received model that cannot be read: stop and report.
  case badArtifact(reason: String)
  /// The privacy budget does not allow another session: stop training.
  case budgetSpent(population: String, detail: String)
  /// A step was called out of order: a mistake of ours, refused.
  case outOfOrder(step: String, state: String)
  /// A component refused; its own sentence is passed on.
  case component(name: String, reason: String)

  package var description: String {
    switch self {
    case .message(let error, let peer): "\(peer): \(error)"
    case .badSignature(let what, let peer):
      "\(peer): the signature of \(what) does not match the key it claims"
    case .mismatch(let what, let expected, let actual):
      "\(what) is \(actual) but should be \(expected)"
    case .policy(let refusal): "this node's policy refuses the session: \(refusal)"
    case .invalidTask(let field, let reason): "the task's \(field) \(reason)"
    case .badArtifact(let reason): "the model artifact cannot be used: \(reason)"
    case .budgetSpent(let population, let detail):
      "the privacy budget of the \(population) population is spent: \(detail)"
    case .outOfOrder(let step, let state): "\(step) is not possible while \(state)"
    case .component(let name, let reason): "\(name): \(reason)"
    }
  }
}

/// What a node's local policy can object to (DESIGN: server defaults are never trusted).
package enum PolicyRefusal: Error, Equatable, Sendable, CustomStringConvertible {
  /// The purpose is not one that this node trains for.
  case purpose(String)
  /// The session number does not increase: a replay, or a server restored from a backup.
  case replayedSession(number: UInt64, last: UInt64)
  /// A parameter is weaker than the node accepts.
  case weaker(parameter: String, offered: String, required: String)
  /// The node's own budget would be exceeded.
  case budget(String)
  /// The ledger's checkpoint is missing, older than allowed, or ahead of what the node could verify.
  case checkpoint(String)
  /// Fewer contributors agreed than the node wants to hide among.
  case tooFewContributors(count: Int, required: Int)

  package var description: String {
    switch self {
    case .purpose(let name): "the purpose “\(name)” is not allowed here (see policy.json)"
    case .replayedSession(let number, let last):
      "session \(number) is not newer than session \(last), the last one this node took part in"
    case .weaker(let parameter, let offered, let required):
      "\(parameter) is \(offered), weaker than the required \(required)"
    case .budget(let detail): detail
    case .checkpoint(let detail): detail
    case .tooFewContributors(let count, let required):
      "only \(count) contributors agreed; the policy asks for \(required)"
    }
  }
}

/// Runs a throwing call of another module and keeps its sentence.
func component<Value>(
  _ name: String, _ body: () throws -> Value
) throws(FederationError) -> Value {
  do { return try body() } catch let error as FederationError { throw error } catch {
    throw .component(name: name, reason: "\(error)")
  }
}

extension VerifyingKey {
  /// How a peer is named in errors and logs.
  package var peerName: String { "node \(hex.prefix(12))" }
}
