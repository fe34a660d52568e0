import Learning
import Privacy

extension VirtualPopulation {
  /// The records that a node trains on.
  func trainingRecords(of node: Int, split: ValidationSplit?) throws -> [StoreRecord] {
    let records = try records(of: node).filter { !$0.isHeldOut }
    return split?.parts(of: records, node: node).training ?? records
  }
}

/// Which contributors' training records are kept out of training to decide when it ends: drawn by the seed, each
/// contributor with all records or none.
struct ValidationSplit: Sendable {
  let seed: UInt64
  /// The share of the contributors, in thousandths.
  let permille: Int
  let unit: PrivacyUnit

  /// What a node trains on and what it validates on, of its training records in order.
  func parts(of records: [StoreRecord], node: Int) -> (training: [StoreRecord], validation: [StoreRecord]) {
    var (training, validation): ([StoreRecord], [StoreRecord]) = ([], [])
    for (position, record) in records.enumerated() {
      if isValidation(record, node: node, position: position) {
        validation.append(record)
      } else {
        training.append(record)
      }
    }
    return (training, validation)
  }

  private func isValidation(_ record: StoreRecord, node: Int, position: Int) -> Bool {
    let identity =
      switch unit {
      case .customer: CategoryHash.fnv1a(record.subject)
      case .record: UInt64(position)
      case .node: 0 as UInt64
      }
    var generator = SplitMix64(seed: seed ^ 0x7661_6c69_6461_7465)
    for part in [UInt64(node), identity] {
      generator = SplitMix64(seed: generator.next() ^ part)
    }
    return generator.next().multipliedFullWidth(by: 1000).high < UInt64(permille)
  }
}
