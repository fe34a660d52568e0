/// Whose whole contribution one guarantee hides.
///
/// The unit is part of a task and is shown wherever epsilon is shown: the same number means little per
/// record and much per customer.
package enum PrivacyUnit: String, Codable, Sendable, Hashable, CaseIterable {
  /// All records of one customer at one node. A customer of several stores has one home store.
  case customer
  /// One record.
  case record
  /// Everything that one node holds.
  case node
}

/// When two data sets count as neighbours, that is, as what an observer must not tell apart.
package enum NeighbouringRelation: String, Codable, Sendable, Hashable, CaseIterable {
  /// One unit is present in one data set and absent from the other.
  case addRemove = "add/remove"
  /// One unit's data are exchanged for other data; the sensitivity is twice that of `addRemove`.
  case replaceOne = "replace-one"

  /// By how much the clip norm is multiplied to get the sensitivity of a sum.
  package var sensitivityFactor: Int64 {
    switch self {
    case .addRemove: 1
    case .replaceOne: 2
    }
  }
}

/// Who adds the noise, hence whom a contributor has to trust.
package enum TrustMode: String, Codable, Sendable, Hashable, CaseIterable {
  /// Every node adds its share and masks; the server sees only the noised sum.
  case distributed
  /// Every node adds the full noise itself; nobody is trusted.
  case local
  /// The server adds the noise once to the exact sum, and is trusted with that sum.
  case central
}
