/// Why a consent record is no consent record. Payloads are names and limits, never a customer's data.
package enum ConsentError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A field has another length than its type asks for.
  case wrongLength(field: String, expected: Int, actual: Int)
  /// A field is not the hexadecimal text that was expected.
  case malformedText(field: String)
  /// A text field is empty, too long or holds characters it may not.
  case invalidText(field: String, maximumBytes: Int)
  /// A number or time lies outside what the field allows.
  case outOfRange(field: String)
  /// Two fields contradict each other.
  case contradiction(String)
  /// A policy is no policy; the field's path, and what is wrong with it.
  case policy(field: String, problem: String)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .wrongLength(let field, let expected, let actual):
      "the consent record's \(field) must be \(expected) bytes long but is \(actual)"
    case .malformedText(let field):
      "the consent record's \(field) is not lower-case hexadecimal text"
    case .invalidText(let field, let maximum):
      "the consent record's \(field) is empty, longer than \(maximum) bytes or holds control characters"
    case .outOfRange(let field): "the consent record's \(field) is out of range"
    case .contradiction(let what): "the consent record contradicts itself: \(what)"
    case .policy(let field, let problem): "the policy's \(field) \(problem)"
    }
  }
}
