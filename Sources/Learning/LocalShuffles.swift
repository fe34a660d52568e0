/// The orders in which local SGD visits a contributor's records. They depend on the seed and the number of
/// records alone, so contributors of one size share them.
final class LocalShuffles {
  /// The most positions that are kept: 1 MB.
  private static let capacity = 1 << 18

  private let epochs: Int
  private var seed: UInt64 = 0
  private var orders: [Int: [Int32]] = [:]
  private var kept = 0

  init(epochs: Int) { self.epochs = epochs }

  /// Hands `body` the order of the rows in every epoch: first all positions of epoch 0, and so on.
  ///
  /// - Parameter body: gets the positions of one epoch.
  func forEachEpoch(rows: Int, seed: UInt64, _ body: (UnsafePointer<Int32>) -> Void) {
    if seed != self.seed {
      self.seed = seed
      forget()
    }
    guard let orders = kept(rows: rows) else {
      var generator = SplitMix64(seed: seed)
      var order = (0..<rows).map(Int32.init)
      for _ in 0..<epochs {
        generator.shuffle(&order)
        order.withUnsafeBufferPointer { body($0.baseAddress!) }
      }
      return
    }
    orders.withUnsafeBufferPointer { orders in
      for epoch in 0..<epochs { body(orders.baseAddress! + epoch * rows) }
    }
  }

  /// The orders of all epochs, one after the other; nil if they are too long to keep.
  private func kept(rows: Int) -> [Int32]? {
    if let known = orders[rows] { return known }
    let (length, overflow) = epochs.multipliedReportingOverflow(by: rows)
    guard !overflow, length <= Self.capacity else { return nil }
    if kept + length > Self.capacity { forget() }
    var generator = SplitMix64(seed: seed)
    var order = (0..<rows).map(Int32.init)
    var all: [Int32] = []
    all.reserveCapacity(length)
    for _ in 0..<epochs {
      generator.shuffle(&order)
      all.append(contentsOf: order)
    }
    orders[rows] = all
    kept += length
    return all
  }

  private func forget() {
    orders.removeAll(keepingCapacity: true)
    kept = 0
  }
}
