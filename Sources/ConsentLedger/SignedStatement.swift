package import Cryptography
import Foundation
import MerkleLog

/// Where a statement stands in the batch that its signature covers. The path makes the statement proof by
/// itself, without its neighbours.
package struct BatchPosition: Hashable, Sendable {
  /// From 0.
  package let index: Int
  /// How many statements the signature covers, 2 to `SignedStatement.maximumBatch`.
  package let size: Int
  /// The RFC 9162 inclusion path of the statement's item.
  package let path: [Digest]
}

/// What an author says and signs (protocol/CONSENT-LEDGER.md, section 1). One signature covers a batch: an
/// Ed25519 check costs as much as 250 hashes.
package struct SignedStatement: Hashable, Sendable {
  /// The most statements under one signature.
  package static let maximumBatch = 256

  /// What kind of entry it becomes.
  package let kind: EntryKind
  /// The content's canonical bytes.
  package let content: [UInt8]
  /// Who says it.
  package let signer: VerifyingKey
  /// The signature of the batch.
  package let signature: Signature
  /// Its place in the batch; nil if it is alone.
  package let batch: BatchPosition?

  /// Signs one body.
  package static func sign(_ body: EntryBody, key: SigningKey) throws(LedgerError) -> SignedStatement {
    let content = try body.canonicalContent()
    let root = item(body.kind, content)
    return SignedStatement(
      kind: body.kind, content: content, signer: key.verifyingKey,
      signature: key.sign(message(root: root, count: 1, signer: key.verifyingKey)), batch: nil)
  }

  /// Signs bodies in their order, `batchSize` under one signature. Throws what is wrong with a body as
  /// `refused` with its position.
  package static func sign(
    _ bodies: [EntryBody], key: SigningKey, batchSize: Int = 64
  ) throws(LedgerError) -> [SignedStatement] {
    precondition((1...maximumBatch).contains(batchSize), "a batch has 1 to 256 statements")
    var statements: [SignedStatement] = []
    statements.reserveCapacity(bodies.count)
    for start in stride(from: 0, to: bodies.count, by: batchSize) {
      var contents: [(EntryKind, [UInt8])] = []
      for position in start..<min(start + batchSize, bodies.count) {
        do { contents.append((bodies[position].kind, try bodies[position].canonicalContent())) } catch {
          throw .refused(position: position, reason: error)
        }
      }
      statements += signBatch(contents, key: key)
    }
    return statements
  }

  private static func signBatch(_ contents: [(EntryKind, [UInt8])], key: SigningKey) -> [SignedStatement] {
    var nodes: [NodePosition: Digest] = [:]
    var range = CompactRange()
    for (kind, content) in contents {
      range.append(leafHash: item(kind, content)) { nodes[$0] = $1 }
    }
    let signature = key.sign(message(root: range.root, count: contents.count, signer: key.verifyingKey))
    return contents.enumerated().map { index, content in
      var batch: BatchPosition?
      if contents.count > 1 {
        let proof = InclusionProof(index: UInt64(index), size: range.size) {
          nodes[$0, default: MerkleTree.emptyRoot]
        }
        batch = BatchPosition(index: index, size: contents.count, path: proof.path)
      }
      return SignedStatement(
        kind: content.0, content: content.1, signer: key.verifyingKey, signature: signature, batch: batch)
    }
  }

  static func item(_ kind: EntryKind, _ content: [UInt8]) -> Digest {
    MerkleTree.leafHash(Hash.framed(domain: kind.domain, [content]))
  }

  static func message(root: Digest, count: Int, signer: VerifyingKey) -> [UInt8] {
    let size = withUnsafeBytes(of: UInt64(count).littleEndian) { Array($0) }
    return Hash.framed(domain: "accord ledger batch v2", [signer.bytes, root.bytes, size])
  }

  /// What the signature covers, or nil if the path leads nowhere.
  var signedRoot: Digest? {
    let item = Self.item(kind, content)
    guard let batch else { return item }
    return InclusionProof(
      index: UInt64(batch.index), size: UInt64(batch.size), path: batch.path
    ).root(leafHash: item)
  }

  /// What is said, decoded. The signature is not checked here.
  package func body() throws(LedgerError) -> EntryBody { try EntryBody(kind: kind, content: content) }
}

/// Checks signatures, each batch's once: statements of one batch come one after another.
package struct SignatureCheck: Sendable {
  private struct Verified: Hashable {
    let root: Digest
    let count: Int
    let signer: VerifyingKey
    let signature: Signature
  }
  private var last: Verified?

  package init() {}

  /// Whether the statement's signature is right.
  package mutating func isSigned(_ statement: SignedStatement) -> Bool {
    guard let root = statement.signedRoot else { return false }
    let candidate = Verified(
      root: root, count: statement.batch?.size ?? 1, signer: statement.signer, signature: statement.signature)
    if candidate == last { return true }
    guard
      statement.signer.verifies(
        statement.signature,
        of: SignedStatement.message(root: root, count: candidate.count, signer: statement.signer))
    else { return false }
    last = candidate
    return true
  }
}

// MARK: Bytes

extension SignedStatement {
  private static let maximumPathDigests = 8

  /// The statement as it is sent.
  package var bytes: [UInt8] { encoded(recordedMs: nil) }

  /// The leaf that it becomes when the ledger takes it at this time.
  package func leaf(recordedMs: Int64) throws(LedgerError) -> [UInt8] {
    let leaf = encoded(recordedMs: recordedMs)
    guard leaf.count <= EntryCoding.maximumLeafBytes else {
      throw .entryTooLarge(bytes: leaf.count, maximum: EntryCoding.maximumLeafBytes)
    }
    return leaf
  }

  private func encoded(recordedMs: Int64?) -> [UInt8] {
    var writer = CanonicalWriter(reserving: content.count + 300 + 44 * (batch?.path.count ?? 0))
    writer.raw(Literal.open)
    if let batch {
      writer.raw(Literal.batch)
      writer.integer(Int64(batch.index))
      writer.raw(Literal.path)
      writer.raw(Array(Data(batch.path.flatMap(\.bytes)).base64EncodedString().utf8))
      writer.raw(Literal.size)
      writer.integer(Int64(batch.size))
      writer.raw(Literal.endBatch)
    }
    writer.raw(Literal.content)
    writer.raw(content)
    writer.raw(kind.marker)
    if let recordedMs {
      writer.raw(Literal.recorded)
      writer.integer(recordedMs)
    }
    writer.raw(Literal.signature)
    writer.hex(signature.bytes)
    writer.raw(Literal.signer)
    writer.hex(signer.bytes)
    writer.raw(Literal.close)
    return writer.bytes
  }

  /// Reads a statement strictly. Form only: `SignatureCheck` checks who signed, `body()` what is said.
  package init(parsing bytes: [UInt8]) throws(LedgerError) {
    (self, _) = try SignedStatement.parse(bytes, isLeaf: false)
  }

  /// Reads a leaf strictly: its statement and when the ledger took it.
  package static func parse(leaf: [UInt8]) throws(LedgerError) -> (
    statement: SignedStatement, recordedMs: Int64
  ) {
    try parse(leaf, isLeaf: true)
  }

  private static func parse(
    _ bytes: [UInt8], isLeaf: Bool
  ) throws(LedgerError) -> (statement: SignedStatement, recordedMs: Int64) {
    guard bytes.count <= EntryCoding.maximumLeafBytes else {
      throw .entryTooLarge(bytes: bytes.count, maximum: EntryCoding.maximumLeafBytes)
    }
    var head = CanonicalReader(bytes)
    try head.expect(Literal.open)
    let batch = try readBatch(&head)
    try head.expect(Literal.content)
    // The tail has a known length but for the kind and the digits of the time.
    let tailLength =
      Literal.signature.count + 130 + Literal.signer.count + 66 + Literal.close.count
    let tailStart = bytes.count - tailLength
    guard tailStart > head.position else { throw .notCanonical }
    let (kind, contentEnd, recorded) = try readMiddle(bytes, head.position, tailStart, isLeaf: isLeaf)
    var tail = CanonicalReader(bytes, tailStart..<bytes.count)
    try tail.expect(Literal.signatureHex)
    let signature = try tail.hex(64)
    try tail.expect(Literal.signerHex)
    let signer = try tail.hex(32)
    try tail.expect(Literal.endHex)
    try tail.finish()
    let statement = SignedStatement(
      kind: kind, content: Array(bytes[head.position..<contentEnd]),
      signer: VerifyingKey(unchecked: signer), signature: Signature(unchecked: signature), batch: batch)
    return (statement, recorded)
  }

  /// What stands between the content and the signature, found from its end.
  private static func readMiddle(
    _ bytes: [UInt8], _ start: Int, _ end: Int, isLeaf: Bool
  ) throws(LedgerError) -> (EntryKind, Int, Int64) {
    var recorded: Int64 = 0
    var kindEnd = end
    if isLeaf {
      var digits = end
      while digits > start, bytes[digits - 1] &- 48 < 10 { digits -= 1 }
      kindEnd = digits - Literal.recorded.count
      guard kindEnd > start else { throw .notCanonical }
      var reader = CanonicalReader(bytes, kindEnd..<end)
      try reader.expect(Literal.recorded)
      recorded = try reader.integer()
      try reader.finish()
      guard recorded <= EntryCoding.latestTimeMs else { throw .notCanonical }
    }
    for kind in EntryKind.allCases {
      let contentEnd = kindEnd - kind.marker.count
      guard contentEnd > start else { continue }
      if CanonicalReader(bytes, contentEnd..<kindEnd).isNext(kind.marker) {
        return (kind, contentEnd, recorded)
      }
    }
    throw .notCanonical
  }

  private static func readBatch(_ reader: inout CanonicalReader) throws(LedgerError) -> BatchPosition? {
    guard reader.accept(Literal.batch) else { return nil }
    let index = try reader.integer()
    try reader.expect(Literal.path)
    let text = try reader.text()
    guard let data = Data(base64Encoded: text), data.base64EncodedString() == text,
      data.count.isMultiple(of: 32), data.count <= 32 * maximumPathDigests
    else { throw .notCanonical }
    try reader.expect(Literal.sizeAfterText)
    let size = try reader.integer()
    try reader.expect(Literal.endBatch)
    guard (2...Int64(maximumBatch)).contains(size), index < size else { throw .notCanonical }
    let raw = Array(data)
    let path = stride(from: 0, to: raw.count, by: 32).map { Digest(unchecked: Array(raw[$0..<($0 + 32)])) }
    return BatchPosition(index: Int(index), size: Int(size), path: path)
  }
}

private enum Literal {
  static let open = Array("{".utf8)
  static let batch = Array(#""batch":{"index":"#.utf8)
  static let path = Array(#","path":""#.utf8)
  static let size = Array(#"","size":"#.utf8)
  static let sizeAfterText = Array(#","size":"#.utf8)
  static let endBatch = Array("},".utf8)
  static let content = Array(#""content":"#.utf8)
  static let recorded = Array(#","recorded":"#.utf8)
  static let signature = Array(#","signature":"#.utf8)
  static let signatureHex = Array(#","signature":""#.utf8)
  static let signer = Array(#","signer":"#.utf8)
  static let signerHex = Array(#"","signer":""#.utf8)
  static let close = Array("}".utf8)
  static let endHex = Array(#""}"#.utf8)
}
