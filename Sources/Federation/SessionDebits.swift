package import Privacy

/// What a session costs one population; the host writes it down before any upload is asked for.
package struct SegmentDebit: Sendable, Equatable {
  /// Which segment it pays for.
  package let segment: SegmentName
  /// Whose budget.
  package let population: Population
  /// What it is charged with.
  package let event: PrivacyEvent
}

/// That a session's budget was debited. Made in this file only, by `PendingDebits.confirmed`.
package struct DebitedSession: Sendable {
  fileprivate init() {}
}

/// The debits that a session waits for. The two machines that release sums, `RoundCoordinator` and
/// `ModelledSession`, confirm them when their host reports that the debits are on record, and at no other time.
struct PendingDebits: Sendable {
  /// One for each segment.
  let list: [SegmentDebit]

  /// The debits of a session.
  init(of descriptor: RoundDescriptor) throws(FederationError) {
    var list: [SegmentDebit] = []
    for segment in descriptor.segments {
      list.append(
        SegmentDebit(
          segment: segment.name, population: segment.population, event: try segment.privacyEvent()))
    }
    self.list = list
  }

  /// The host has recorded them.
  consuming func confirmed() -> DebitedSession { DebitedSession() }
}
