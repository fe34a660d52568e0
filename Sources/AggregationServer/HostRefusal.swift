import Federation
import Messages

/// Why the server does not do what a request asks. `code` is stable (protocol/PROTOCOL.md, "Errors"), the
/// message is a sentence for people.
package struct HostRefusal: Error, Sendable, Equatable, CustomStringConvertible {
  /// Stable codes and the HTTP status each travels with.
  package enum Code: String, Sendable {
    case malformed, unauthorised, unknownNode, unknownSession, aborted, outOfOrder, refused, tooLarge
    case notFound, consentChanged, internalError

    var httpStatus: Int {
      switch self {
      case .malformed: 400
      case .unauthorised, .unknownNode: 403
      case .unknownSession, .notFound: 404
      case .aborted: 410
      case .outOfOrder, .consentChanged: 409
      case .refused: 422
      case .tooLarge: 413
      case .internalError: 500
      }
    }
  }

  package let code: Code
  package let message: String
  package var description: String { message }

  init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The refusal that a federation error calls for.
  init(_ error: FederationError) {
    let code: Code =
      switch error {
      case .message(.tooLarge(_, _, _), _): .tooLarge
      case .message: .malformed
      case .badSignature: .unauthorised
      case .outOfOrder: .outOfOrder
      default: .refused
      }
    self.init(code, "\(error)")
  }
}
