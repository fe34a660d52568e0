import Cryptography
import Federation
import Messages
import SecureAggregation

/// A node that waits for an invitation.
struct WaitingNode: Sendable {
  /// Its open requests.
  var requests = 0
  /// The key-stream suites that it takes part with, as its newest request says.
  var suites: Set<KeyStreamSuite> = [.chacha20]

  mutating func begin(_ suites: Set<KeyStreamSuite>) {
    requests += 1
    self.suites = suites
  }
}

extension FederationHost {
  /// The plan of a session with everybody who waits, under the fastest suite that they all have.
  func cohortPlan(
    _ task: any TaskTerms, expected: Set<VerifyingKey>, enrolled: Set<VerifyingKey>
  ) throws(FederationError) -> CohortPlan {
    // Every processor has ChaCha20: whoever does not offer it keeps nobody else from a session.
    let common = expected.reduce(Set(KeyStreamSuite.allCases)) { suites, id in
      suites.intersection(waiting[id]?.suites ?? [.chacha20]).union([.chacha20])
    }
    return try CohortPlan(
      task: task, expected: expected.count, enrolled: enrolled.count,
      suite: KeyStreamSuite.fastest(among: common) ?? .chacha20)
  }
}
