package import Consent
package import Cryptography
import Foundation
import GRDB
package import MerkleLog
import Storage

/// A log in the files of a server or of a node's copy, for reading: also while their owner writes them.
/// Everything is read below the newest checkpoint in the file.
package final class LedgerFileReader: Sendable {
  /// The data directory.
  package let directory: String
  /// The log's name and keys, as the file says; whoever knows better compares.
  package let verifiers: CheckpointVerifiers
  /// The operator that the file names.
  package let operatorKey: VerifyingKey?
  /// The newest checkpoint in the file when it was opened.
  package let checkpoint: SignedCheckpoint
  private let queue: DatabaseQueue
  private let path: String

  /// How many entries the newest checkpoint covers.
  package var size: UInt64 { checkpoint.checkpoint.size }

  /// Opens the log of a data directory: a server's `ledger.sqlite` or a node's `mirror.sqlite`.
  package init(directory: String) throws(LedgerError) {
    self.directory = directory
    let ledger = LedgerFiles.database(directory)
    let isServer = DurableFile.exists(ledger)
    path = isServer ? ledger : LedgerFiles.mirror(directory)
    do {
      queue = try DurableDatabase.openReadOnly(
        path, isServer ? LedgerFiles.schema : LedgerFiles.mirrorSchema)
    } catch { throw .storage(error) }
    let found = try Self.reading(queue, path) { [path] tables in try tables.identity(path: path) }
    verifiers = found.verifiers
    operatorKey = found.operatorKey
    checkpoint = found.checkpoint
  }

  /// The leaves of a range, verbatim.
  package func leaves(_ range: Range<UInt64>) throws(LedgerError) -> [[UInt8]] {
    let size = size
    guard range.upperBound <= size else { throw .outOfRange(size: size) }
    let leaves = try Self.reading(queue, path) { tables in
      try Data.fetchAll(
        tables.db, sql: "SELECT bytes FROM leaf WHERE idx >= ? AND idx < ? ORDER BY idx",
        arguments: [Int64(range.lowerBound), Int64(range.upperBound)])
    }
    guard leaves.count == range.count else { throw .inconsistentTree(size: size) }
    return leaves.map { Array($0) }
  }

  /// The leaf at a position, verbatim.
  package func leaf(_ index: UInt64) throws(LedgerError) -> [UInt8] {
    guard let leaf = try leaves(index..<(index + 1)).first else { throw .outOfRange(size: size) }
    return leaf
  }

  /// The entry at a position, with its signature checked.
  package func entry(_ index: UInt64) throws(LedgerError) -> LedgerEntry {
    try LedgerEntry(leaf: try leaf(index))
  }

  /// The events of the subjects, each in the order of the log; subjects without events are absent.
  package func events(
    of tags: some Sequence<SubjectTag>, index: LedgerIndex
  ) throws(LedgerError) -> [SubjectTag: [IndexedEvent]] {
    let places = try index.positions(of: tags, size: size).flatMap { tag, positions in
      positions.map { (position: $0, tag: tag) }
    }.sorted { $0.position < $1.position }
    var found: [SubjectTag: [IndexedEvent]] = [:]
    // Neighbours in the log were often signed together.
    var check = SignatureCheck()
    for (place, leaf) in zip(places, try leaves(at: places.map(\.position))) {
      guard case .consent(let event) = try LedgerEntry(leaf: leaf, check: &check).body,
        event.subject == place.tag
      else { throw .unreadableEntry(index: place.position) }
      found[place.tag, default: []].append(IndexedEvent(index: LeafIndex(place.position), event: event))
    }
    return found
  }

  /// The leaves at some positions, verbatim, in that order.
  package func leaves(at positions: [UInt64]) throws(LedgerError) -> [[UInt8]] {
    let size = size
    return try Self.reading(queue, path) { try $0.leaves(at: positions, below: size) }
  }

  /// Which of the identifiers stand for an entry of the log already.
  package func known(_ identifiers: [EventID]) throws(LedgerError) -> Set<EventID> {
    let size = size
    return try Self.reading(queue, path) { try $0.known(identifiers, below: size) }
  }

  /// The hashes of a tile, at least the `width` that the checkpoint covers.
  package func tile(level: Int, index: UInt64, width: Int) throws(LedgerError) -> [Digest] {
    let size = size
    return try Self.reading(queue, path) { tables in
      guard let hashes = try tables.tile(level: level, index: index), hashes.count >= 32 * width else {
        throw LedgerError.inconsistentTree(size: size)
      }
      return (0..<width).map { Digest(unchecked: Array(hashes[(32 * $0)..<(32 * $0 + 32)])) }
    }
  }

  /// The proof that the leaf at `index` is in the tree of the checkpoint.
  package func inclusionProof(_ index: UInt64) throws(LedgerError) -> InclusionProof {
    let size = size
    guard index < size else { throw .outOfRange(size: size) }
    return try Self.reading(queue, path) { tables in
      try InclusionProof(index: index, size: size) { try tables.node($0) }
    }
  }

  /// The proof that the tree of the checkpoint begins with the tree of `oldSize` entries.
  package func consistencyProof(from oldSize: UInt64) throws(LedgerError) -> ConsistencyProof {
    let size = size
    guard oldSize <= size else { throw .outOfRange(size: size) }
    return try Self.reading(queue, path) { tables in
      try ConsistencyProof(oldSize: oldSize, newSize: size) { try tables.node($0) }
    }
  }

  /// The root of the tree of the first entries.
  package func root(size: UInt64) throws(LedgerError) -> Digest {
    guard size <= self.size else { throw .outOfRange(size: self.size) }
    return try Self.reading(queue, path) { tables in try merkleRoot(size: size) { try tables.node($0) } }
  }

  /// Who may write what after the checkpoint, and the policies.
  package func rules() throws(LedgerError) -> LedgerRules {
    let size = size
    return try Self.reading(queue, path) { tables in
      var rules = LedgerRules(logKey: self.verifiers.log.key, operatorKey: self.operatorKey)
      for (index, entry) in try tables.controlEntries(below: size) {
        try rules.admit(
          entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
      }
      rules.resume(lastRecordedMs: try tables.lastRecordedMs(below: size))
      return rules
    }
  }

  /// The index of this directory, brought up to the checkpoint.
  package func index() throws(LedgerError) -> LedgerIndex {
    let index = try LedgerIndex.open(path: LedgerFiles.index(directory))
    try index.catchUp(to: size) { range throws(LedgerError) in try self.leaves(range) }
    return index
  }

  /// The last checkpoint that the ledger of a server has signed, from its signer's state.
  static func newestSigned(directory: String) throws(LedgerError) -> SignedCheckpoint {
    let path = LedgerFiles.database(directory)
    let queue: DatabaseQueue
    do { queue = try DurableDatabase.openReadOnly(path, LedgerFiles.schema) } catch { throw .storage(error) }
    return try reading(queue, path) { tables in
      let verifiers = try tables.identity(path: path).verifiers
      guard let state = try SignerState(directory: directory, verifiers) else {
        throw LedgerError.signerStateMissing(path: LedgerFiles.signerState(directory))
      }
      return state.signed
    }
  }

  private static func reading<Result>(
    _ queue: DatabaseQueue, _ path: String, _ body: (LedgerTables) throws -> Result
  ) throws(LedgerError) -> Result {
    do { return try queue.read { try body(LedgerTables($0)) } } catch let error as LedgerError {
      throw error
    } catch let error as MerkleLogError {
      throw .log(error)
    } catch let error as StorageError {
      throw .storage(error)
    } catch {
      throw .storage(DurableDatabase.translate(error, path))
    }
  }
}

extension LedgerTables {
  /// The names and keys in the file, and the newest checkpoint, whose signatures are checked.
  func identity(
    path: String
  ) throws -> (verifiers: CheckpointVerifiers, operatorKey: VerifyingKey?, checkpoint: SignedCheckpoint) {
    guard let origin = try field("origin"), let logKey = try field("log key"),
      let freshnessKey = try field("freshness key"),
      let note = try String.fetchOne(db, sql: "SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1")
    else { throw LedgerError.storage(.corrupted(path: path)) }
    let verifiers = try CheckpointVerifiers(
      origin: String(decoding: origin, as: UTF8.self), logKey: VerifyingKey(unchecked: logKey),
      freshnessKey: VerifyingKey(unchecked: freshnessKey))
    return (verifiers, try operatorKey(), try SignedCheckpoint.verify(note, verifiers))
  }
}
