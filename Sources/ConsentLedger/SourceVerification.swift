import Consent
import Cryptography
import Dispatch
import Foundation
import MerkleLog
import Synchronization

/// Verifies a log from its tiles. Groups of bundles are read and hashed by all threads, then the entries that
/// change the rules are replayed, then all entries are checked by all threads: one pass over the files.
struct SourceVerification {
  private static let tilesPerPiece = 8

  let source: LedgerSource
  let findings: Findings
  let cores: Int

  /// The entries below some tiles.
  private struct Piece: Sendable {
    let tiles: Range<UInt64>
    var leaves: [[UInt8]] = []
    var hashes: [UInt8] = []
    var start: UInt64 { tiles.lowerBound * 256 }
  }

  /// What one thread keeps from group to group.
  private final class Worker: Sendable {
    let state: Mutex<WorkerState>
    init(_ scanner: LeafScanner) { state = Mutex(WorkerState(scanner: scanner)) }
  }
  private struct WorkerState {
    var scanner: LeafScanner
    var counts = LedgerVerification.Counts()
    var identities: [Identity] = []
    /// Times of the pieces of this group.
    var times: (first: Int64, last: Int64) = (0, 0)
  }

  private struct Identity: Comparable {
    let high: UInt64
    let low: UInt64
    let index: UInt64
    init(_ bytes: [UInt8], _ index: UInt64) {
      high = bytes[..<8].reduce(0) { $0 << 8 | UInt64($1) }
      low = bytes[8...].reduce(0) { $0 << 8 | UInt64($1) }
      self.index = index
    }
    static func < (a: Identity, b: Identity) -> Bool { (a.high, a.low, a.index) < (b.high, b.low, b.index) }
  }

  func verify(pinned: LedgerKeys?, since: SignedCheckpoint?, _ report: inout LedgerVerification) throws {
    let (keys, keyBytes) = try readKeys(pinned)
    report.origin = keys.verifiers.origin
    report.verifiers = keys.verifiers
    let (signed, note) = try readCheckpoint(keys.verifiers)
    let size = signed.checkpoint.size
    report.checkpoint = signed
    report.counts.checkpoints = 1
    let isComplete = try checkManifest(signed.checkpoint, note: note, keys: keyBytes)
    try checkPaths(size: size, isComplete: isComplete)
    if let since {
      guard since.checkpoint.origin == keys.verifiers.origin else {
        throw Finding("the checkpoint to compare with is of the log \(since.checkpoint.origin)")
      }
      guard since.checkpoint.size <= size else {
        throw Finding(
          "the log had \(since.checkpoint.size) entries and now has \(size): entries were removed",
          entry: size)
      }
    }
    try readEntries(keys, size: size, since: since, signed, &report)
  }

  /// Whether there is a manifest. What is wrong with it is no reason not to look at the entries.
  private func checkManifest(_ checkpoint: Checkpoint, note: [UInt8], keys: [UInt8]) throws -> Bool {
    guard let manifest = try source.read(ExportManifest.fileName) else { return false }
    if manifest != (try ExportManifest.bytes(of: checkpoint, note: note, keys: keys)) {
      findings.add(Finding("\(ExportManifest.fileName) does not describe this export"))
    }
    return true
  }

  /// Exactly the files that a log of this size has, if the source can tell.
  private func checkPaths(size: UInt64, isComplete: Bool) throws {
    guard let list = source.list else { return }
    let found = try list().subtracting([ExportManifest.fileName])
    // A log may sign any size: more tiles than fit into memory.
    guard size / 256 < UInt64(found.count) + 1_000_000 else { throw Finding("most of its tiles are missing") }
    let wanted = LedgerSource.paths(size: size)
    let others = found.subtracting(wanted)
    if let path = others.filter({ isComplete || !LedgerSource.isLeftOver($0) }).min() {
      throw Finding("\(path) does not belong to the log")
    }
    if let path = wanted.subtracting(found).min() {
      throw Finding("\(path) is missing", entry: Self.entry(path))
    }
  }

  private static func entry(_ path: String) -> UInt64? {
    guard let resource = try? TileResource(path: path) else { return nil }
    switch resource {
    case .hashes(let tile), .entries(let tile): return tile.leaves.lowerBound
    }
  }

  private func readKeys(_ pinned: LedgerKeys?) throws -> (LedgerKeys, bytes: [UInt8]) {
    guard let bytes = try source.read("keys.json") else {
      guard let pinned else { throw Finding("keys.json is missing") }
      return (pinned, try pinned.bytes)
    }
    let keys: LedgerKeys
    do { keys = try LedgerKeys(bytes: bytes) } catch { throw Finding("keys.json is not valid: \(error)") }
    if let pinned,
      pinned.verifiers != keys.verifiers || pinned.operatorKey ?? keys.operatorKey != keys.operatorKey
    {
      throw Finding("the ledger is signed with other keys than the ones pinned")
    }
    return (keys, bytes)
  }

  private func readCheckpoint(
    _ verifiers: CheckpointVerifiers
  ) throws -> (SignedCheckpoint, note: [UInt8]) {
    guard let note = try source.read("checkpoint") else { throw Finding("the checkpoint is missing") }
    do {
      guard let text = String(validating: note, as: UTF8.self) else { throw LedgerError.notCanonical }
      return (try SignedCheckpoint.verify(text, verifiers), note)
    } catch { throw Finding("the checkpoint is not valid: \(error)") }
  }

  // MARK: Entries

  private func readEntries(
    _ keys: LedgerKeys, size: UInt64, since: SignedCheckpoint?, _ signed: SignedCheckpoint,
    _ report: inout LedgerVerification
  ) throws {
    var rules = LedgerRules(logKey: keys.verifiers.log.key, operatorKey: keys.operatorKey)
    let workers = (0..<cores).map { _ in
      Worker(LeafScanner(logKey: keys.verifiers.log.key, operatorKey: keys.operatorKey, controls: []))
    }
    var growth = TreeGrowth(since: since?.checkpoint)
    var lastMs: Int64 = 0
    let tiles = (size + 255) / 256
    var next: UInt64 = 0
    while next < tiles, findings.bound == .max {
      var pieces: [Piece] = []
      for _ in 0..<cores where next < tiles {
        let end = min(tiles, next + UInt64(Self.tilesPerPiece))
        pieces.append(Piece(tiles: next..<end))
        next = end
      }
      pieces = load(pieces, size: size)
      let controls = replay(pieces, &rules)
      scan(pieces, workers, controls)
      for (piece, worker) in zip(pieces, workers) where findings.bound > piece.start {
        let times = worker.state.withLock { $0.times }
        if times.first < lastMs {
          findings.add(
            Finding("entry \(piece.start) is not valid: \(LedgerError.timeWentBack)", entry: piece.start))
        }
        lastMs = max(lastMs, times.last)
        for tile in growth.append(piece.hashes) { compare(tile) }
      }
    }
    for worker in workers { report.counts.add(worker.state.withLock { $0.counts }) }
    report.operatorKey = rules.operatorKey
    checkIdentities(workers)
    // Of a tree that could not be read to its end, the tiles on its edge are stored wider.
    if growth.tree.size == size { for tile in growth.tree.partialTiles() { compare(tile) } }
    if findings.bound >= size, growth.tree.root != signed.checkpoint.root {
      findings.add(
        Finding(
          "the first \(size) entries do not give the root that was signed for them",
          entry: size == 0 ? nil : size - 1))
    }
    if growth.isChanged {
      findings.add(Finding("the history was changed since the checkpoint to compare with"))
    }
    report.size = min(size, findings.bound)
    report.root = growth.tree.root
  }

  private func load(_ pieces: [Piece], size: UInt64) -> [Piece] {
    let loaded = Mutex(pieces)
    DispatchQueue.concurrentPerform(iterations: pieces.count) { number in
      var piece = pieces[number]
      let hash = PrefixedHash([0])
      for index in piece.tiles {
        guard let tile = TilePosition.inTree(size: size, level: 0, index: index) else { continue }
        do {
          guard let bytes = try source.read(tile.entriesPath) else {
            throw Finding("\(tile.entriesPath) is missing", entry: tile.leaves.lowerBound)
          }
          piece.leaves += try EntryBundle.decode(
            bytes, width: tile.width, maximumEntryBytes: EntryCoding.maximumLeafBytes)
        } catch {
          findings.add(
            Finding("\(tile.entriesPath) cannot be read: \(error)", entry: firstUndecodable(tile)))
          break
        }
      }
      piece.hashes = [UInt8](repeating: 0, count: 32 * piece.leaves.count)
      for (place, leaf) in piece.leaves.enumerated() {
        hash.hash(leaf, in: 0..<leaf.count, to: &piece.hashes, at: 32 * place)
      }
      loaded.withLock { $0[number] = piece }
    }
    return loaded.withLock { $0 }
  }

  /// Which entry of a bundle that is no bundle is the first that does not give its hash.
  private func firstUndecodable(_ tile: TilePosition) -> UInt64 {
    guard let bytes = try? source.read(tile.entriesPath), let hashes = try? source.read(tile.path),
      hashes.count == tile.byteCount
    else { return tile.leaves.lowerBound }
    var start = 0
    for place in 0..<tile.width {
      guard bytes.count - start >= 2 else { return tile.leaves.lowerBound + UInt64(place) }
      let count = Int(bytes[start]) << 8 | Int(bytes[start + 1])
      guard bytes.count - start - 2 >= count,
        MerkleTree.leafHash(Array(bytes[(start + 2)..<(start + 2 + count)])).bytes
          == Array(hashes[(32 * place)..<(32 * place + 32)])
      else { return tile.leaves.lowerBound + UInt64(place) }
      start += 2 + count
    }
    return tile.leaves.upperBound - 1
  }

  /// The entries of these pieces that change the rules.
  private func replay(_ pieces: [Piece], _ rules: inout LedgerRules) -> [ControlEntry] {
    var controls: [ControlEntry] = []
    for piece in pieces {
      for (place, leaf) in piece.leaves.enumerated() {
        let index = piece.start + UInt64(place)
        if let frame = LeafFrame(leaf), frame.isConsent { continue }
        do {
          let entry = try LedgerEntry(leaf: leaf)
          guard entry.kind.changesRules else { continue }
          try rules.admit(
            entry.body, signer: entry.signer, index: index, recordedMs: entry.recordedMs, isNew: false)
          controls.append(
            ControlEntry(entry, at: index, rules))
        } catch {
          findings.add(Finding("entry \(index) is not valid: \(error)", entry: index))
          return controls
        }
      }
    }
    return controls
  }

  private func scan(_ pieces: [Piece], _ workers: [Worker], _ controls: [ControlEntry]) {
    DispatchQueue.concurrentPerform(iterations: workers.count) { number in
      workers[number].state.withLock { state in
        state.scanner.extend(controls)
        guard number < pieces.count else { return }
        let piece = pieces[number]
        var lastMs: Int64 = 0
        for (place, leaf) in piece.leaves.enumerated() {
          let index = piece.start + UInt64(place)
          guard index < findings.bound else { return }
          do {
            try state.scanner.scan(leaf, at: index)
            guard state.scanner.recordedMs >= lastMs else { throw LedgerError.timeWentBack }
          } catch {
            findings.add(Finding("entry \(index) is not valid: \(error)", entry: index))
            return
          }
          if place == 0 { state.times.first = state.scanner.recordedMs }
          lastMs = state.scanner.recordedMs
          state.times.last = lastMs
          state.counts.count(state.scanner.kind)
          state.identities.append(Identity(state.scanner.identity, index))
        }
      }
    }
  }

  private func checkIdentities(_ workers: [Worker]) {
    var all: [Identity] = []
    for worker in workers { all += worker.state.withLock { $0.identities } }
    all.sort()
    for (left, right) in zip(all, all.dropFirst()) where left.high == right.high && left.low == right.low {
      findings.add(
        Finding("entry \(right.index) has the identity of entry \(left.index)", entry: right.index))
    }
  }

  private func compare(_ tile: Tile) {
    do {
      guard let stored = try source.read(tile.position.path) else {
        throw Finding("\(tile.position.path) is missing", entry: tile.position.leaves.lowerBound)
      }
      if stored == tile.bytes { return }
      let place = firstDifference(tile.bytes, stored) ?? 0
      let node = tile.position.index * 256 + UInt64(place)
      let entry = (node + 1) << UInt64(8 * tile.position.level) - 1
      throw Finding(
        tile.position.level == 0
          ? "entry \(entry) does not give the stored leaf hash"
          : "the entries do not give the stored hash \(node) of level \(tile.position.level)", entry: entry)
    } catch { findings.add(error, path: tile.position.path) }
  }
}

/// The tree as it grows, and whether it went through a checkpoint.
private struct TreeGrowth {
  private(set) var tree = TileTree()
  private let since: Checkpoint?
  private(set) var isChanged = false

  init(since: Checkpoint?) {
    self.since = since
    if let since, since.size == 0 { isChanged = since.root != MerkleTree.emptyRoot }
  }

  /// Adds leaf hashes; returns the tiles that are full now.
  mutating func append(_ hashes: [UInt8]) -> [Tile] {
    var tiles: [Tile] = []
    var rest = hashes[...]
    if let since, tree.size < since.size, tree.size + UInt64(hashes.count / 32) >= since.size {
      let split = 32 * Int(since.size - tree.size)
      tree.append(leafHashes: Array(hashes[..<split])) { tiles.append($0) }
      isChanged = tree.root != since.root
      rest = hashes[split...]
    }
    tree.append(leafHashes: Array(rest)) { tiles.append($0) }
    return tiles
  }
}
