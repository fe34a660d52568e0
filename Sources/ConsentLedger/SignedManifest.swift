package import Cryptography
import Foundation
package import MerkleLog
import Storage

extension LedgerError {
  /// What is wrong with the form of a document that is no ledger entry.
  static func ofDocument<Result>(
    _ body: () throws(LedgerError) -> Result
  ) throws(LedgerError) -> Result {
    do { return try body() } catch {
      if case .malformedEntry(let why) = error { throw .malformedDocument(why) }
      throw error
    }
  }
}

/// A checkpoint in a manifest or an access log.
struct ManifestCheckpoint: Codable {
  let origin: String
  let root: String
  let size: UInt64

  init(_ checkpoint: Checkpoint) {
    origin = checkpoint.origin
    root = checkpoint.root.hex
    size = checkpoint.size
  }

  func checkpoint() throws(LedgerError) -> Checkpoint {
    Checkpoint(origin: origin, size: size, root: Digest(unchecked: try Field.bytes(root, 32, "root")))
  }
}

/// What an export holds and what it was made from (protocol/CONSENT-LEDGER.md, "Manifests"), signed: who has
/// the files and the signer's key can tell whether anything was changed, left out or added.
package struct SignedManifest: Hashable, Sendable {
  /// The manifest's file.
  package static let fileName = "manifest.json"
  /// The signature's file.
  package static let signatureFileName = "manifest.sig"
  private static let domain = "accord manifest v1"
  private static let maximumBytes = 64 << 20

  /// The command that made the export.
  package let command: String
  /// What was asked for, by name.
  package let filter: [String: String]
  /// How many rows the export has.
  package let rows: Int
  /// The tree that it was made from; nil without a log.
  package let checkpoint: Checkpoint?
  /// When, ms of UTC since 1970.
  package let createdMs: Int64
  /// SHA-256 of every file by its name.
  package let files: [String: Digest]
  /// Who signed.
  package let signer: VerifyingKey
  /// The bytes of `manifest.json`.
  package let bytes: [UInt8]
  /// Over `bytes`.
  package let signature: Signature

  /// The text of `manifest.sig`.
  package var signatureText: [UInt8] { Array((signature.hex + "\n").utf8) }

  /// Signs a manifest. Throws when a file's name is not safe.
  package init(
    command: String, filter: [String: String], rows: Int, checkpoint: Checkpoint?, createdMs: Int64,
    files: [String: Digest], key: SigningKey
  ) throws(LedgerError) {
    try Field.check(command, "command", maximum: 512)
    try Field.check(createdMs, "creation time")
    for name in files.keys { try Self.check(name) }
    let content = Content(
      checkpoint: checkpoint.map(ManifestCheckpoint.init), command: command, created: createdMs,
      files: files.mapValues(\.hex), filter: filter, rows: rows, signer: key.verifyingKey.hex)
    bytes = try EntryCoding.encode(content)
    signature = key.sign(domain: Self.domain, [bytes])
    signer = key.verifyingKey
    self.command = command
    self.filter = filter
    self.rows = rows
    self.checkpoint = checkpoint
    self.createdMs = createdMs
    self.files = files
  }

  /// Reads a manifest strictly and checks its signature. The files are not looked at: `verify(directory:)`.
  package init(bytes: [UInt8], signatureText: [UInt8]) throws(LedgerError) {
    self = try LedgerError.ofDocument { () throws(LedgerError) in
      try SignedManifest(parsing: bytes, signatureText)
    }
  }

  private init(parsing bytes: [UInt8], _ signatureText: [UInt8]) throws(LedgerError) {
    let content = try EntryCoding.decode(Content.self, bytes)
    let text = String(decoding: signatureText, as: UTF8.self)
    guard text.hasSuffix("\n") else {
      throw .malformedDocument("\(Self.signatureFileName) is no signature in hexadecimal and a line end")
    }
    signature = Signature(unchecked: try Field.bytes(String(text.dropLast()), 64, "signature"))
    signer = VerifyingKey(unchecked: try Field.bytes(content.signer, 32, "signer"))
    guard signer.verifies(signature, domain: Self.domain, [bytes]) else {
      throw .wrongSignature(signer: signer)
    }
    var files: [String: Digest] = [:]
    for (name, hex) in content.files {
      try Self.check(name)
      files[name] = Digest(unchecked: try Field.bytes(hex, 32, "digest of a file"))
    }
    self.bytes = bytes
    self.files = files
    command = content.command
    filter = content.filter
    rows = content.rows
    createdMs = content.created
    checkpoint = try content.checkpoint.map { value throws(LedgerError) in try value.checkpoint() }
  }

  /// Writes `manifest.json` and `manifest.sig` beside the files.
  package func write(to directory: String) throws(LedgerError) {
    do {
      try DurableFile.write(bytes, to: directory + "/" + Self.fileName)
      try DurableFile.write(signatureText, to: directory + "/" + Self.signatureFileName)
    } catch { throw .storage(error) }
  }

  /// Reads the manifest of a directory and checks its signature and every file: none missing, changed or
  /// added.
  /// - Parameter signer: who should have signed; nil if anybody may, which the caller then judges by
  ///   `signer`.
  @discardableResult
  package static func verify(
    directory: String, signer expected: VerifyingKey? = nil
  ) throws(LedgerError) -> SignedManifest {
    let manifest = try SignedManifest(
      bytes: read(directory + "/" + fileName), signatureText: read(directory + "/" + signatureFileName))
    if let expected, expected != manifest.signer { throw .notEnrolled(signer: manifest.signer) }
    var found = try names(in: directory)
    found.subtract([fileName, signatureFileName])
    for (name, digest) in manifest.files.sorted(by: { $0.key < $1.key }) {
      guard found.remove(name) != nil else { throw .changedFile(name: name, how: "is missing") }
      guard try Self.digest(ofFile: directory + "/" + name) == digest else {
        throw .changedFile(name: name, how: "was changed")
      }
    }
    if let added = found.min() { throw .changedFile(name: added, how: "was added") }
    return manifest
  }

  /// SHA-256 of a file, for `files`.
  package static func digest(ofFile path: String) throws(LedgerError) -> Digest {
    do {
      return Hash.sha256([UInt8](try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)))
    } catch {
      throw .storage(.missingFile(path: path))
    }
  }

  private static func read(_ path: String) throws(LedgerError) -> [UInt8] {
    let bytes: [UInt8]?
    do { bytes = try DurableFile.read(path, limit: maximumBytes) } catch { throw .storage(error) }
    guard let bytes else { throw .storage(.missingFile(path: path)) }
    return bytes
  }

  private static func names(in directory: String) throws(LedgerError) -> Set<String> {
    guard let enumerator = FileManager.default.enumerator(atPath: directory) else {
      throw .storage(.noDirectory(path: directory))
    }
    var names: Set<String> = []
    while let name = enumerator.nextObject() as? String {
      if enumerator.fileAttributes?[.type] as? FileAttributeType != .typeDirectory { names.insert(name) }
    }
    return names
  }

  private static func check(_ name: String) throws(LedgerError) {
    try ZipArchive.check(name)
    guard name != fileName, name != signatureFileName else {
      throw .malformedDocument("a manifest cannot list itself")
    }
  }

  private struct Content: Codable {
    let checkpoint: ManifestCheckpoint?
    let command: String
    let created: Int64
    let files: [String: String]
    let filter: [String: String]
    let rows: Int
    let signer: String
  }
}
