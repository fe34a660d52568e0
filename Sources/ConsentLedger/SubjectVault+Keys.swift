import Consent
package import Cryptography
import Foundation
import GRDB
import Storage
import Synchronization

/// A subject's key S with what derives from it (protocol/CONSENT-LEDGER.md, section 8).
struct SubjectKey {
  let secret: SecretBytes
  private static let tagName = Array("tag".utf8)

  init(_ secret: SecretBytes) { self.secret = secret }

  var tag: SubjectTag {
    get throws { try SubjectTag(Hash.blake2b(Self.tagName, key: secret).bytes) }
  }
  /// Seals payloads and the customer's id of an erasure under way.
  var payload: SecretBytes { derived("payload") }
  var commitment: SecretBytes { derived("commitment") }
  /// Seals the subject's leaves of evidence.
  var evidence: SecretBytes { derived("evidence") }

  private func derived(_ name: String) -> SecretBytes {
    SecretBytes(copying: Hash.blake2b(Array(name.utf8), key: secret).bytes)
  }
}

/// The keys of a vault. One wraps the subjects' keys; a chain of keyed hashes finds their rows. The chain
/// gets a link with every rotation: the rows' lookups can be hashed again, the customers' ids are not there
/// to be.
struct VaultKeys: Sendable {
  let path: String
  /// Wraps the subjects' keys.
  let wrap: SecretBytes
  /// What makes a lookup of a customer's id, each of the lookup before.
  let chain: [SecretBytes]
  /// The chain, sealed under the wrapping key, as it stands in the file: tells whether the file is still
  /// under these keys.
  let sealedChain: [UInt8]

  static let lookupBytes = 16
  private static let lookupFrame = Hash.framed(domain: "accord vault subject v1", [])
  private static let field = "keys"

  private static func wrappingKey(_ key: SecretBytes) -> SecretBytes {
    precondition(key.count == 32, "a key-encryption key has 32 bytes")
    return Hash.derive(domain: "accord vault wrap v1", [], key: key)
  }

  /// Opens what the file holds with one of the keys, or begins a vault under the current one.
  static func load(
    _ database: DurableDatabase, current: SecretBytes, pending: SecretBytes?, using random: inout RandomStream
  ) throws(LedgerError) -> (VaultKeys, SubjectVault.KeyInUse) {
    let path = database.path
    let wrap = wrappingKey(current)
    // Two uses, two keys.
    let first = Hash.derive(domain: "accord vault lookup v1", [], key: current)
    if let stored = try database.ledgerRead({ try SubjectVault.field(field, $0) }) {
      return try unseal(stored, path, current: wrap, pending: pending.map(wrappingKey))
    }
    let fresh = VaultKeys(path: path, wrap: wrap, chain: [first], using: &random)
    let stored = try database.ledgerWrite { db in
      // Another process may have begun it meanwhile.
      if let stored = try SubjectVault.field(field, db) { return stored }
      try SubjectVault.setField(field, fresh.sealedChain, db)
      return fresh.sealedChain
    }
    return try unseal(stored, path, current: wrap, pending: nil)
  }

  private static func unseal(
    _ stored: [UInt8], _ path: String, current: SecretBytes, pending: SecretBytes?
  ) throws(LedgerError) -> (VaultKeys, SubjectVault.KeyInUse) {
    if let keys = VaultKeys(path: path, wrap: current, sealedChain: stored) { return (keys, .current) }
    if let pending, let keys = VaultKeys(path: path, wrap: pending, sealedChain: stored) {
      return (keys, .pending)
    }
    throw .wrongVaultKey(path: path)
  }

  private init(path: String, wrap: SecretBytes, chain: [SecretBytes], using random: inout RandomStream) {
    self.path = path
    self.wrap = wrap
    self.chain = chain
    sealedChain = AEAD.seal(
      chain.flatMap { $0.exportBytes() }, key: wrap, additionalData: Array(Self.field.utf8), using: &random)
  }

  private init?(path: String, wrap: SecretBytes, sealedChain: [UInt8]) {
    guard let bytes = try? AEAD.open(sealedChain, key: wrap, additionalData: Array(Self.field.utf8)),
      !bytes.isEmpty, bytes.count.isMultiple(of: 32)
    else { return nil }
    self.path = path
    self.wrap = wrap
    self.sealedChain = sealedChain
    chain = stride(from: 0, to: bytes.count, by: 32).map {
      SecretBytes(copying: Array(bytes[$0..<($0 + 32)]))
    }
  }

  /// The keys after a rotation to `key`.
  func rotated(to key: SecretBytes, using random: inout RandomStream) -> VaultKeys {
    let link = random.secret(32)
    return VaultKeys(path: path, wrap: Self.wrappingKey(key), chain: chain + [link], using: &random)
  }

  /// Where a customer's row is found.
  func lookup(_ subjectID: String) -> [UInt8] {
    // The frame of the domain and the id, its constant beginning made once.
    var framed = Self.lookupFrame
    withUnsafeBytes(of: UInt64(subjectID.utf8.count).littleEndian) { framed.append(contentsOf: $0) }
    framed.append(contentsOf: subjectID.utf8)
    var lookup = Self.shortened(Hash.blake2b(framed, key: chain[0]))
    for key in chain.dropFirst() { lookup = Self.next(lookup, key) }
    return lookup
  }

  /// Where a row is found after the rotation that made the last link, from where it was found before.
  func relocated(_ lookup: [UInt8]) -> [UInt8] { Self.next(lookup, chain[chain.count - 1]) }

  private static func next(_ lookup: [UInt8], _ key: SecretBytes) -> [UInt8] {
    shortened(Hash.blake2b(domain: "accord vault lookup v2", [lookup], key: key))
  }

  private static func shortened(_ digest: Digest) -> [UInt8] { Array(digest.bytes.prefix(lookupBytes)) }

  /// Refuses when the file was put under other keys meanwhile.
  func requireCurrent(_ db: Database, _ path: String) throws {
    guard try SubjectVault.field(Self.field, db) == sealedChain else {
      throw LedgerError.wrongVaultKey(path: path)
    }
  }

  func store(_ db: Database) throws { try SubjectVault.setField(Self.field, sealedChain, db) }
}

// MARK: - Rotation

extension SubjectVault {
  /// Puts the whole vault under a new key-encryption key, in one transaction, and rewrites the files, so that
  /// the old key opens nothing in them. Tags and payloads stay what they are.
  ///
  /// How to survive a crash: write the new key durably beside the old key file; call this; put the new key
  /// file in the old one's place. At every start pass both files, if both are there, to `open`: `keyInUse`
  /// says whether the rotation happened (`pending`: put the file in place) or not (`current`: delete it or
  /// repeat). Other processes that have the vault open get `wrongVaultKey` from then on and have to open it
  /// again. It protects when the key leaked, not when the key and a copy of the file did: then S is known.
  package func rotateKey(to newKey: SecretBytes) throws(LedgerError) {
    let old = heldKeys
    let new = random.withLock { old.rotated(to: newKey, using: &$0) }
    try write(old) { db in
      try db.execute(sql: "DROP INDEX subject_lookup")
      try rewrap(db, old, new)
      try db.execute(sql: SubjectVault.subjectIndex)
      try new.store(db)
      try Self.setField(Self.cleaningDue, [1], db)
    }
    keys.withLock { $0 = new }
    try passing(.rotationCommitted)
    try finishCleaning()
  }

  private func rewrap(_ db: Database, _ old: VaultKeys, _ new: VaultKeys) throws {
    let rows = try SubjectRows(db, old)
    let update = try db.makeStatement(sql: "UPDATE subject SET lookup = ?, wrapped = ? WHERE id = ?")
    var last: Int64 = -1
    while true {
      let batch = try rows.after(last)
      guard let end = batch.last else { return }
      for row in batch {
        let (subject, lookup) = try rows.open(row)
        let moved = new.relocated(lookup)
        let sealed = random.withLock {
          AEAD.seal(subject.key.secret.exportBytes(), key: new.wrap, additionalData: moved, using: &$0)
        }
        try update.execute(arguments: [Data(moved), Data(sealed), subject.id])
      }
      last = try end.decode(atIndex: 0)
    }
  }

  func passing(_ step: Step) throws(LedgerError) {
    do { try faults(step) } catch { throw .commitUncertain(step: "\(step)") }
  }
}
