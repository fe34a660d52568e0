package import Learning

/// One record of one contributor.
package struct StoreRecord: Equatable, Sendable {
  /// The contributor: the person whose privacy and consent the record touches.
  package let subject: String
  /// The values in the order of the schema's columns.
  package let values: RawRecord
  /// The target: 0 or 1, the number of a class, or a number.
  package let label: Float
  /// True if the record is for evaluation. All records of a contributor agree on it.
  package let isHeldOut: Bool

  /// A record.
  package init(subject: String, values: RawRecord, label: Float, isHeldOut: Bool) {
    self.subject = subject
    self.values = values
    self.label = label
    self.isHeldOut = isHeldOut
  }

  /// A record of one of two classes.
  package init(subject: String, values: RawRecord, label: Bool, isHeldOut: Bool) {
    self.init(subject: subject, values: values, label: label ? 1 : 0, isHeldOut: isHeldOut)
  }

  /// Whether the target is that of the positive class.
  package var isPositive: Bool { label == 1 }
}

/// What one node holds: every record of its contributors, who are on no other node.
package struct StoreShare: Equatable, Sendable {
  /// The records, in the order of their source.
  package let records: [StoreRecord]

  /// A share.
  package init(records: [StoreRecord]) { self.records = records }

  /// The contributors with records for training, sorted.
  package var trainingSubjects: [String] {
    Set(records.lazy.filter { !$0.isHeldOut }.map(\.subject)).sorted()
  }

  /// The contributors whose records are held out, sorted.
  package var heldOutSubjects: [String] {
    Set(records.lazy.filter(\.isHeldOut).map(\.subject)).sorted()
  }
}
