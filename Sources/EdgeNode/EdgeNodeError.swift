import Federation

/// Why a node cannot do what it should.
package enum EdgeNodeError: Error, Sendable, CustomStringConvertible {
  /// The server cannot be reached; try again later.
  case unreachable(url: String, reason: String)
  /// The server refused, with a stable code and a sentence.
  case refused(code: String, message: String)
  /// The server's answer is not what the protocol allows.
  case badAnswer(what: String, reason: String)
  /// A file of the node is missing or wrong.
  case file(path: String, reason: String)
  /// A record does not fit the store's schema.
  case record(number: Int, reason: String)
  /// Somebody whose records are in a masked input has withdrawn: it is not sent.
  case withdrawnAfterMasking(session: UInt64)
  /// The node's own budget does not allow the session.
  case budget(String)

  package var description: String {
    switch self {
    case .unreachable(let url, let reason): "cannot reach the server at \(url): \(reason)"
    case .refused(_, let message): "the server refused: \(message)"
    case .badAnswer(let what, let reason): "the server's \(what) cannot be used: \(reason)"
    case .file(let path, let reason): "\(path): \(reason)"
    case .record(let number, let reason): "record \(number): \(reason)"
    case .withdrawnAfterMasking(let session):
      "session \(session): a customer withdrew after the input was masked, so it was not sent"
    case .budget(let reason): reason
    }
  }

  /// True when asking again can help.
  var isTransient: Bool {
    switch self {
    case .unreachable: true
    case .refused(let code, _): code != "unknownNode" && code != "unauthorised"
    case .withdrawnAfterMasking: true
    case .badAnswer, .file, .record, .budget: false
    }
  }
}
