package import Cryptography
import Foundation
package import MerkleLog
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The keys of a log, as they stand in an export's `keys.json` (protocol/CONSENT-LEDGER.md, section 7).
package struct LedgerKeys: Hashable, Sendable {
  /// What checkpoints are verified with.
  package let verifiers: CheckpointVerifiers
  /// Whose enrolments count; nil in a log without any.
  package let operatorKey: VerifyingKey?

  /// Names the keys.
  package init(verifiers: CheckpointVerifiers, operatorKey: VerifyingKey?) {
    self.verifiers = verifiers
    self.operatorKey = operatorKey
  }

  private struct Content: Codable {
    let freshness: String
    let log: String
    let `operator`: String?
    let origin: String
  }

  /// The file: canonical JSON.
  package var bytes: [UInt8] {
    get throws(LedgerError) {
      try EntryCoding.encode(
        Content(
          freshness: verifiers.freshness.description, log: verifiers.log.description,
          operator: operatorKey?.hex, origin: verifiers.origin))
    }
  }

  /// Reads the file strictly.
  package init(bytes: [UInt8]) throws(LedgerError) {
    let content = try EntryCoding.decode(Content.self, bytes)
    do throws(MerkleLogError) {
      let log = try NoteVerifier(text: content.log)
      let freshness = try NoteVerifier(text: content.freshness)
      verifiers = try CheckpointVerifiers(
        origin: content.origin, logKey: log.key, freshnessKey: freshness.key)
      guard verifiers.log == log, verifiers.freshness == freshness else { throw .malformedVerifierKey }
    } catch { throw .log(error) }
    if let key = content.operator {
      operatorKey = VerifyingKey(unchecked: try Field.bytes(key, 32, "operator"))
    } else {
      operatorKey = nil
    }
  }
}

/// What an export's `manifest.json` says of the other files: there while the export is complete, and gone while
/// one is being written, because two files cannot be replaced at once.
enum ExportManifest {
  static let fileName = "manifest.json"
  private static let format = "accord-ledger-export-v1"

  private struct Content: Codable {
    let checkpoint: String
    let format: String
    let keys: String
    let origin: String
    let root: String
    let size: UInt64
  }

  /// The file of an export with this checkpoint and these files: canonical JSON.
  static func bytes(
    of checkpoint: Checkpoint, note: [UInt8], keys: [UInt8]
  ) throws(LedgerError) -> [UInt8] {
    try EntryCoding.encode(
      Content(
        checkpoint: Hash.sha256(note).hex, format: format, keys: Hash.sha256(keys).hex,
        origin: checkpoint.origin, root: checkpoint.root.hex, size: checkpoint.size))
  }
}

/// The files of a log by their paths, as C2SP tlog-tiles names them: for serving and for exporting.
package struct LedgerTileServer: Sendable {
  private let keys: LedgerKeys
  private let newest: @Sendable () throws(LedgerError) -> SignedCheckpoint
  private let tile: @Sendable (Int, UInt64) throws(LedgerError) -> [UInt8]?
  private let leaves: @Sendable (Range<UInt64>) throws(LedgerError) -> [[UInt8]]

  /// Serves what a file held when the reader was opened.
  package init(reader: LedgerFileReader) throws(LedgerError) {
    let rules = try reader.rules()
    keys = LedgerKeys(verifiers: reader.verifiers, operatorKey: rules.operatorKey)
    newest = { () throws(LedgerError) in reader.checkpoint }
    tile = { level, index throws(LedgerError) in
      guard let position = TilePosition.inTree(size: reader.size, level: level, index: index) else {
        return nil
      }
      return try reader.tile(level: level, index: index, width: position.width).flatMap(\.bytes)
    }
    leaves = { range throws(LedgerError) in try reader.leaves(range) }
  }

  /// Serves a store that goes on writing.
  /// - Parameter nowMs: the time, for the age of the checkpoint.
  package init(store: LedgerStore, nowMs: @escaping @Sendable () -> Int64) {
    keys = LedgerKeys(verifiers: store.verifiers, operatorKey: store.rules.operatorKey)
    newest = { () throws(LedgerError) in try store.checkpoint(nowMs: nowMs()) }
    tile = { level, index throws(LedgerError) in try store.read { try $0.tile(level: level, index: index) } }
    leaves = { range throws(LedgerError) in try store.entries(range) }
  }

  /// The bytes of a file, or nil if the path names none: `checkpoint`, `keys.json`, `tile/L/N[.p/W]` and
  /// `tile/entries/N[.p/W]` below the newest checkpoint. Partial tiles are served in every width that there is.
  package func file(path: String) throws(LedgerError) -> [UInt8]? {
    if path == "checkpoint" { return Array(try newest().noteText.utf8) }
    if path == "keys.json" { return try keys.bytes }
    guard let resource = try? TileResource(path: path) else { return nil }
    let size = try newest().checkpoint.size
    switch resource {
    case .hashes(let position):
      guard Self.exists(position, size: size), let bytes = try tile(position.level, position.index),
        bytes.count >= position.byteCount
      else { return nil }
      return Array(bytes[..<position.byteCount])
    case .entries(let position):
      guard Self.exists(position, size: size) else { return nil }
      do throws(MerkleLogError) { return try EntryBundle.encode(try read(position.leaves)) } catch {
        throw .log(error)
      }
    }
  }

  private func read(_ range: Range<UInt64>) throws(MerkleLogError) -> [[UInt8]] {
    do throws(LedgerError) { return try leaves(range) } catch {
      throw .malformedTile("the entries from \(range.lowerBound) on cannot be read: \(error)")
    }
  }

  private static func exists(_ position: TilePosition, size: UInt64) -> Bool {
    guard let found = TilePosition.inTree(size: size, level: position.level, index: position.index) else {
      return false
    }
    return position.width <= found.width
  }
}

/// Writes a log as files that other tools can audit (C2SP tlog-tiles).
package enum LedgerExport {
  /// What an export did.
  package struct Summary: Hashable, Sendable {
    /// How many entries the export holds.
    package let size: UInt64
    /// Their root.
    package let root: Digest
    /// How many files were written.
    package let written: Int
    /// How many full tiles of an earlier export were kept.
    package let kept: Int
  }

  /// Exports the log of a data directory, or brings an export up to date: the manifest goes first, full tiles stay
  /// as they are, the checkpoint is replaced when all tiles are there, then the partial tiles of the old one go, and
  /// the manifest comes last. Interrupted, there is no manifest, and the old or the new checkpoint is in force with
  /// everything that it needs; run again, it ends the same.
  /// - Parameter noteText: a note of this log with more cosignatures than the file has; by default the file's.
  /// - Throws: `otherLog` for an export of another log, `forked` or `shrunk` for one that this log does not continue.
  package static func export(
    directory: String, to target: String, noteText: String? = nil
  ) throws(LedgerError) -> Summary {
    let reader = try LedgerFileReader(directory: directory)
    let files = try LedgerTileServer(reader: reader)
    let signed = try note(noteText, reader)
    let size = signed.checkpoint.size
    guard try reader.root(size: size) == signed.checkpoint.root else { throw .inconsistentTree(size: size) }
    try makeDirectory(target)
    let keys = try files.file(path: "keys.json") ?? []
    let old = try earlier(target, reader, newSize: size)
    unlink(target + "/" + ExportManifest.fileName)
    var written = 0
    var kept = 0
    for tile in TilePosition.tiles(size: size) {
      var paths = [tile.path]
      if tile.level == 0 { paths.append(tile.entriesPath) }
      for path in paths {
        if !tile.isPartial, tile.leaves.upperBound <= old, DurableFile.exists(target + "/" + path) {
          kept += 1
          continue
        }
        guard let bytes = try files.file(path: path) else { throw .inconsistentTree(size: size) }
        try write(bytes, target, path)
        written += 1
      }
    }
    // Everything before what refers to it: power may fail here.
    sync()
    let note = Array(signed.noteText.utf8)
    let manifest = try ExportManifest.bytes(of: signed.checkpoint, note: note, keys: keys)
    do throws(StorageError) {
      try DurableFile.write(keys, to: target + "/keys.json")
      try DurableFile.write(note, to: target + "/checkpoint")
      removeOthers(target, size: size)
      try DurableFile.write(manifest, to: target + "/" + ExportManifest.fileName)
    } catch { throw .storage(error) }
    return Summary(size: size, root: signed.checkpoint.root, written: written + 3, kept: kept)
  }

  private static func note(_ text: String?, _ reader: LedgerFileReader) throws(LedgerError)
    -> SignedCheckpoint
  {
    guard let text else { return reader.checkpoint }
    do throws(MerkleLogError) {
      let signed = try SignedCheckpoint.verify(text, reader.verifiers)
      guard signed.checkpoint.size <= reader.size else { throw .wrongProof("checkpoint") }
      return signed
    } catch { throw .log(error) }
  }

  /// How many entries the target holds already; a log that does not continue them is refused.
  private static func earlier(
    _ target: String, _ reader: LedgerFileReader, newSize: UInt64
  ) throws(LedgerError) -> UInt64 {
    let path = target + "/checkpoint"
    let note: [UInt8]?
    do { note = try DurableFile.read(path) } catch { throw .storage(error) }
    guard let note else { return 0 }
    let old: Checkpoint
    do throws(MerkleLogError) {
      old = try SignedCheckpoint.verify(String(decoding: note, as: UTF8.self), reader.verifiers).checkpoint
    } catch { throw .otherLog(path: path, field: "signature") }
    guard old.size <= newSize else { throw .shrunk(knownSize: old.size, offeredSize: newSize) }
    guard try reader.root(size: old.size) == old.root else { throw .forked(size: old.size) }
    return old.size
  }

  private static func makeDirectory(_ path: String) throws(LedgerError) {
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw .storage(.system(operation: "create directory", path: path, errno: errno))
    }
  }

  private static func write(_ bytes: [UInt8], _ target: String, _ path: String) throws(LedgerError) {
    let file = target + "/" + path
    let parent = file.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(
      separator: "/")
    if !DurableFile.exists(parent) { try makeDirectory(parent) }
    do { try Data(bytes).write(to: URL(fileURLWithPath: file), options: .atomic) } catch {
      throw .storage(.system(operation: "write", path: file, errno: errno))
    }
  }

  /// Partial tiles of an earlier checkpoint, and what an interrupted export left.
  private static func removeOthers(_ target: String, size: UInt64) {
    let wanted = LedgerSource.paths(size: size)
    for path in LedgerSource.files(below: target) where path.hasPrefix("tile/") && !wanted.contains(path) {
      unlink(target + "/" + path)
      // The directory of partial tiles, if it is empty now.
      rmdir(target + "/" + path.split(separator: "/").dropLast().joined(separator: "/"))
    }
  }
}
