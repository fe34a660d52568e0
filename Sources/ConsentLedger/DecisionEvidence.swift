package import Consent
package import Cryptography
package import MerkleLog

/// What a batch's evidence root commits to: one salted leaf a subject, sorted by tag. The root goes into the
/// round's record; this stays on the node, so that an officer can open a single subject and nobody else
/// learns who took part.
package struct DecisionEvidence: Hashable, Sendable {
  /// The decision about one subject.
  package struct Item: Hashable, Sendable {
    /// The subject.
    package let tag: SubjectTag
    /// The decision, with the event that decided.
    package let decision: ConsentDecision
    /// The version of the rules that decided: what was kept has to open under later ones too.
    package var rulesVersion = consentRulesVersion
  }

  /// One subject's leaf, its place and the proof: all that the officer needs beside the root.
  package struct Opening: Hashable, Sendable {
    /// Whose leaf.
    package let item: Item
    /// The salt of this leaf alone: it tells nothing about others.
    package let leafSalt: Digest
    /// The proof under the root.
    package let proof: InclusionProof

    /// Checks that the root commits to this decision about this subject.
    package func verify(root: Digest) throws(MerkleLogError) {
      try proof.verify(leafHash: DecisionEvidence.leafHash(item, salt: leafSalt), root: root)
    }
  }

  /// The decisions in the order of the tags.
  package let items: [Item]
  /// The batch's salt: kept on the node, never sent.
  package let salt: SecretBytes
  /// The Merkle root over the salted leaves.
  package let root: Digest

  init(_ items: [Item], salt: SecretBytes) {
    let sorted = items.sorted { $0.tag < $1.tag }
    var range = CompactRange()
    for item in sorted {
      range.append(leafHash: Self.leafHash(item, salt: Self.leafSalt(item.tag, salt)))
    }
    self.items = sorted
    self.salt = salt
    root = range.root
  }

  /// One evidence for several batches of a session; nil for none. Their subjects must differ.
  package static func merging(_ parts: [DecisionEvidence]) -> DecisionEvidence? {
    guard let first = parts.first else { return nil }
    guard parts.count > 1 else { return first }
    return DecisionEvidence(parts.flatMap(\.items), salt: first.salt)
  }

  /// The root over the roots of many nodes, in ascending order.
  package static func root(over roots: [Digest]) -> Digest {
    var range = CompactRange()
    for root in roots.sorted() { range.append(leafHash: MerkleTree.leafHash(root.bytes)) }
    return range.root
  }

  /// The opening for one subject, or nil if the batch decided nothing about it.
  package func opening(for tag: SubjectTag) -> Opening? {
    guard let index = items.firstIndex(where: { $0.tag == tag }) else { return nil }
    var nodes: [NodePosition: Digest] = [:]
    var range = CompactRange()
    for item in items {
      range.append(leafHash: Self.leafHash(item, salt: Self.leafSalt(item.tag, salt))) { nodes[$0] = $1 }
    }
    // Every complete node was just told above; a missing one would only give a proof that does not verify.
    let proof = InclusionProof(index: UInt64(index), size: range.size) {
      nodes[$0, default: MerkleTree.emptyRoot]
    }
    return Opening(item: items[index], leafSalt: Self.leafSalt(tag, salt), proof: proof)
  }

  package static func == (a: DecisionEvidence, b: DecisionEvidence) -> Bool {
    a.root == b.root && a.items == b.items
  }

  package func hash(into hasher: inout Hasher) { hasher.combine(root) }

  /// An item's leaf, for keeping it without the salt of the others.
  func leaf(of item: Item) -> (hash: Digest, salt: Digest) {
    let salt = Self.leafSalt(item.tag, salt)
    return (Self.leafHash(item, salt: salt), salt)
  }

  private static func leafSalt(_ tag: SubjectTag, _ salt: SecretBytes) -> Digest {
    Hash.blake2b(domain: "accord evidence salt v1", [tag.bytes], key: salt)
  }

  private static func leafHash(_ item: Item, salt: Digest) -> Digest {
    let decidedBy = item.decision.decidedBy.map { String($0.value) } ?? "none"
    let leaf = Hash.framed(
      domain: "accord evidence v1",
      [
        salt.bytes, item.tag.bytes, Array(decidedBy.utf8), Array(item.decision.reason.rawValue.utf8),
        Array(String(item.rulesVersion).utf8),
      ])
    return MerkleTree.leafHash(leaf)
  }
}
