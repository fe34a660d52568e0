import Foundation
package import MerkleLog
import Storage

/// Where the files of an exported or served log come from: a directory, a server, anything that has them by path.
package struct LedgerSource: Sendable {
  /// What it is, for error sentences.
  package let name: String
  /// The bytes of a file; nil if there is none. May be called from several threads.
  package let read: @Sendable (String) throws -> [UInt8]?
  /// All files, if the source can tell: then others than a log's are refused.
  package let list: (@Sendable () throws -> Set<String>)?

  /// Puts a source together.
  package init(
    name: String, read: @escaping @Sendable (String) throws -> [UInt8]?,
    list: (@Sendable () throws -> Set<String>)? = nil
  ) {
    self.name = name
    self.read = read
    self.list = list
  }

  /// An export's directory.
  package init(directory: String) {
    self.init(
      name: directory,
      read: { path in
        // A bundle has at most 256 leaves of 60,000 bytes.
        try DurableFile.read(directory + "/" + path, limit: 1 << 24)
      }, list: { LedgerSource.files(below: directory) })
  }

  /// The paths of all tiles and bundles of a log, and of what stands beside them; without the manifest.
  static func paths(size: UInt64) -> Set<String> {
    var paths: Set<String> = ["checkpoint", "keys.json"]
    for tile in TilePosition.tiles(size: size) {
      paths.insert(tile.path)
      if tile.level == 0 { paths.insert(tile.entriesPath) }
    }
    return paths
  }

  /// Whether an export that was interrupted may have left a file of this path, beside those of its checkpoint:
  /// tiles of the checkpoint to come or of the one before, and what was not given its name yet.
  static func isLeftOver(_ path: String) -> Bool {
    path.hasPrefix("tile/") || ["checkpoint.new", "keys.json.new", "manifest.json.new"].contains(path)
  }

  /// All files below a directory, by their paths from there.
  static func files(below directory: String) -> Set<String> {
    var files: Set<String> = []
    guard let enumerator = FileManager.default.enumerator(atPath: directory) else { return files }
    while let path = enumerator.nextObject() as? String {
      if enumerator.fileAttributes?[.type] as? FileAttributeType != .typeDirectory { files.insert(path) }
    }
    return files
  }
}

extension LedgerVerifier {
  /// Verifies an export, or a log that is served, from its files: the same checks as of a data directory. If a
  /// `manifest.json` is there, it has to describe the other files, of which there may be no more then; without
  /// one an export is not complete, and tiles of another size are passed over.
  package static func verify(
    source: LedgerSource, pinned: LedgerKeys? = nil, since: SignedCheckpoint? = nil, cores: Int? = nil
  ) -> LedgerVerification {
    let findings = Findings()
    var report = LedgerVerification()
    do {
      let run = SourceVerification(source: source, findings: findings, cores: cores ?? Self.cores)
      try run.verify(pinned: pinned, since: since, &report)
    } catch { findings.add(error, path: source.name) }
    findings.write(to: &report)
    return report
  }
}
