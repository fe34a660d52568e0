package import Consent
package import Cryptography
import Foundation
package import MerkleLog

/// What a node hands out about an erasure (protocol/CONSENT-LEDGER.md, "Certificates of erasure"): that the
/// log holds `erased` for a tag, what was deleted, and who agreed. It names no customer: whoever was given
/// the tag before knows whom it is about.
package struct ErasureCertificate: Hashable, Sendable {
  private static let domain = "accord erasure certificate v1"
  /// Longer files are refused, in bytes.
  package static let maximumBytes = 1 << 20

  /// Whose erasure.
  package let subject: SubjectTag
  /// Where the `erased` entry stands.
  package let index: UInt64
  /// The hash of its leaf.
  package let leafHash: Digest
  /// The proof that it is in the log (`.tlog-proof`), with the leaf.
  package let proof: String
  /// Where the approvals stand that it needed; empty if it needed none.
  package let approvals: [UInt64]
  /// What was deleted.
  package let deleted: ErasureCounts
  /// When, ms of UTC since 1970.
  package let timeMs: Int64
  /// The node that erased.
  package let node: VerifyingKey
  /// Its signature.
  package let signature: Signature

  /// Issues a certificate for the entry that the proof carries. Throws when the proof's leaf is not the
  /// `erased` entry of this subject.
  package static func issue(
    subject: SubjectTag, proof: TransparencyProof, approvals: [UInt64], deleted: ErasureCounts, timeMs: Int64,
    key: SigningKey
  ) throws(LedgerError) -> ErasureCertificate {
    guard let leaf = proof.extra else { throw .malformedDocument("the proof does not hold the entry") }
    try requireErasure(of: subject, leaf)
    let content = Content(
      approvals: approvals.sorted(), deleted: deleted, index: proof.index,
      leaf_hash: MerkleTree.leafHash(leaf).hex, node: key.verifyingKey.hex, proof: proof.encoded,
      subject: subject.hex, time: timeMs)
    let bytes = try EntryCoding.encode(content)
    return try ErasureCertificate(content, key.sign(domain: domain, [bytes]))
  }

  /// The certificate as it is stored and handed out.
  package func encoded() throws(LedgerError) -> [UInt8] {
    try EntryCoding.encode(File(certificate: content, signature: signature.hex))
  }

  /// Reads a certificate strictly and checks the node's signature. `verify` checks the rest.
  package init(parsing bytes: [UInt8]) throws(LedgerError) {
    guard bytes.count <= Self.maximumBytes else { throw .malformedDocument("the certificate is too long") }
    self = try LedgerError.ofDocument { () throws(LedgerError) in
      let file = try EntryCoding.decode(File.self, bytes)
      return try ErasureCertificate(
        file.certificate, Signature(unchecked: try Field.bytes(file.signature, 64, "signature")))
    }
    guard node.verifies(signature, domain: Self.domain, [try EntryCoding.encode(content)]) else {
      throw .wrongSignature(signer: node)
    }
  }

  private init(_ content: Content, _ signature: Signature) throws(LedgerError) {
    do { subject = try SubjectTag(hex: content.subject) } catch { throw .content(error) }
    index = content.index
    leafHash = Digest(unchecked: try Field.bytes(content.leaf_hash, 32, "leaf hash"))
    proof = content.proof
    approvals = content.approvals
    deleted = content.deleted
    try Field.check(content.time, "time")
    timeMs = content.time
    node = VerifyingKey(unchecked: try Field.bytes(content.node, 32, "node"))
    self.signature = signature
  }

  /// Checks that the log holds the erasure that the certificate is about.
  /// - Parameter node: the node that should have issued it; nil if any may.
  /// - Returns: The checkpoint that vouches for it.
  @discardableResult
  package func verify(
    _ verifiers: CheckpointVerifiers, node expected: VerifyingKey? = nil
  ) throws(LedgerError) -> SignedCheckpoint {
    if let expected, expected != node { throw .notEnrolled(signer: node) }
    guard node.verifies(signature, domain: Self.domain, [try EntryCoding.encode(content)]) else {
      throw .wrongSignature(signer: node)
    }
    do {
      let proof = try TransparencyProof(parsing: self.proof)
      guard let leaf = proof.extra, proof.index == index, MerkleTree.leafHash(leaf) == leafHash else {
        throw LedgerError.malformedDocument("the certificate's proof is about another entry")
      }
      try Self.requireErasure(of: subject, leaf)
      return try proof.verify(leafHash: leafHash, verifiers: verifiers)
    } catch let error as MerkleLogError {
      throw .log(error)
    } catch let error as LedgerError {
      throw error
    } catch {
      throw .malformedDocument("the certificate's proof cannot be read")
    }
  }

  /// Checks that different officers agreed to this erasure where the certificate says, before it was
  /// appended.
  /// - Parameter leaf: the log's leaf at a position.
  /// - Returns: Who agreed.
  package func verifyApprovals(
    _ leaf: (UInt64) throws(LedgerError) -> [UInt8]
  ) throws(LedgerError) -> [VerifyingKey] {
    var officers: [VerifyingKey] = []
    for position in approvals {
      let entry = try LedgerEntry(leaf: try leaf(position))
      guard case .approval(let record) = entry.body, record.action == .erasure,
        record.target.bytes == subject.bytes, !officers.contains(entry.signer), position < index
      else { throw .malformedDocument("entry \(position) is no approval of this erasure by another officer") }
      officers.append(entry.signer)
    }
    return officers
  }

  private static func requireErasure(of subject: SubjectTag, _ leaf: [UInt8]) throws(LedgerError) {
    guard case .consent(let event) = try LedgerEntry(leaf: leaf).body, event.state == .erased,
      event.subject == subject
    else { throw .malformedDocument("the entry does not erase this subject") }
  }

  private var content: Content {
    Content(
      approvals: approvals, deleted: deleted, index: index, leaf_hash: leafHash.hex, node: node.hex,
      proof: proof, subject: subject.hex, time: timeMs)
  }

  private struct File: Codable {
    let certificate: Content
    let signature: String
  }

  private struct Content: Codable {
    let approvals: [UInt64]
    let deleted: ErasureCounts
    let index: UInt64
    let leaf_hash: String
    let node: String
    let proof: String
    let subject: String
    let time: Int64
  }
}
