import Cryptography
import GRDB
import MerkleLog

/// Where a statement stands.
struct PlacedStatement: Sendable {
  let index: UInt64
  let recordedMs: Int64
  /// The leaf, if it says the same under another signature.
  var earlierLeaf: [UInt8]?
}

/// A batch on its way into the tree: what the writer's state becomes if the commit succeeds.
struct StagedBatch {
  /// The right edge; of the new tree after `complete`.
  private(set) var range: CompactRange
  var tiles: StoredTiles
  var rules: LedgerRules
  /// The new leaves, and after `complete` what is above them.
  var tree: BatchTree
  private var newestDenial: UInt64?

  /// Whether there are new leaves.
  var hasNew: Bool { tree.size > tree.oldSize }

  init(_ state: LedgerStore.WriterState) {
    range = state.range
    tiles = state.tiles
    rules = state.rules
    tree = BatchTree(state.range)
    newestDenial = state.newestDenial
  }

  /// Makes the nodes above the new leaves, and the tiles that change.
  mutating func complete() throws(MerkleLogError) {
    tree.complete()
    range = try CompactRange(size: tree.size, edge: tree.edge)
    tree.newTileNodes { tiles.add(level: $0, first: $1, $2) }
    tiles.collectPartial()
  }

  /// Makes the batch the writer's state.
  func finish(_ state: inout LedgerStore.WriterState) {
    state.range = range
    state.tiles = tiles
    state.tiles.settle()
    state.rules = rules
    state.newestDenial = newestDenial
  }

  /// Decides about every statement of an append, and only if all may be written writes the new ones.
  mutating func place(
    _ append: QueuedAppend, _ tables: LedgerTables, _ statements: LeafStatements
  ) throws -> Result<[PlacedStatement], LedgerError> {
    var plan = Plan(rules: rules, next: tree.size, count: append.batch.count)
    for (position, candidate) in append.batch.enumerated() {
      do {
        try plan.add(candidate, tables, statements, nowMs: append.nowMs)
      } catch let error as LedgerError {
        if case .storage = error { throw error }
        return .failure(.refused(position: position, reason: error))
      }
    }
    for (candidate, leaf) in plan.new {
      let index = tree.size
      try statements.insert(
        index, candidate.statement.kind, identity: candidate.identity, leaf.bytes)
      if candidate.canDeny { newestDenial = index }
      tree.append(leafHash: leaf.hash)
    }
    rules = plan.rules
    return .success(plan.places)
  }

  /// What an append would write.
  private struct Plan {
    var rules: LedgerRules
    var next: UInt64
    var places: [PlacedStatement] = []
    var new: [(candidate: CheckedStatement, leaf: PreparedLeaf)] = []
    /// Identities that this append adds, by their place in `new`.
    private var inThisAppend: [IdentityKey: Int] = [:]

    init(rules: LedgerRules, next: UInt64, count: Int) {
      self.rules = rules
      self.next = next
      places.reserveCapacity(count)
      new.reserveCapacity(count)
      if count > 1 { inThisAppend.reserveCapacity(count) }
    }

    mutating func add(
      _ candidate: CheckedStatement, _ tables: LedgerTables, _ statements: LeafStatements, nowMs: Int64
    ) throws {
      if let known = try known(candidate, tables, statements) {
        // Another batch's signature over the same words is the same entry.
        guard known.statement.saysTheSame(as: candidate.statement) else {
          throw LedgerError.conflictingEntry(
            identity: "\(candidate.statement.kind.rawValue) \(Hex.encode(candidate.identity))")
        }
        var place = known.place
        if known.statement != candidate.statement {
          place.earlierLeaf = try known.statement.leaf(recordedMs: place.recordedMs)
        }
        places.append(place)
        return
      }
      let recordedMs = max(rules.lastRecordedMs, nowMs)
      let leaf: PreparedLeaf
      if let prepared = candidate.leaf, prepared.recordedMs == recordedMs {
        leaf = prepared
      } else {
        leaf = try PreparedLeaf(candidate.statement, recordedMs: recordedMs)
      }
      let signer = candidate.statement.signer
      let isAdmitted = candidate.claim.map {
        rules.admits($0, signer: signer, recordedMs: recordedMs)
      }
      if isAdmitted != true {
        try rules.admit(
          candidate.body, signer: signer, index: next, recordedMs: recordedMs, isNew: true)
      }
      inThisAppend[IdentityKey(candidate.identity)] = new.count
      new.append((candidate, leaf))
      places.append(PlacedStatement(index: next, recordedMs: recordedMs))
      next += 1
    }

    private func known(
      _ candidate: CheckedStatement, _ tables: LedgerTables, _ statements: LeafStatements
    ) throws -> (statement: SignedStatement, place: PlacedStatement)? {
      if let place = inThisAppend[IdentityKey(candidate.identity)] {
        let (earlier, leaf) = new[place]
        let index = next - UInt64(new.count - place)
        return (earlier.statement, PlacedStatement(index: index, recordedMs: leaf.recordedMs))
      }
      guard let index = try statements.index(of: candidate.identity) else { return nil }
      guard let leaf = try tables.leaf(index) else { throw LedgerError.inconsistentTree(size: index) }
      let (statement, recordedMs) = try SignedStatement.parse(leaf: leaf)
      return (statement, PlacedStatement(index: index, recordedMs: recordedMs))
    }
  }
}

/// An identity, 16 bytes, as a key of a dictionary.
private struct IdentityKey: Hashable {
  private let low: UInt64
  private let high: UInt64

  init(_ identity: [UInt8]) {
    precondition(identity.count == 16, "identities have 16 bytes")
    (low, high) = identity.withUnsafeBytes {
      ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    }
  }
}
