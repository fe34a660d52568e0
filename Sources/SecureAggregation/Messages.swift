package import Cryptography

/// Domain names of every hash and signature of the protocol, version 1.
enum Domain {
  static let advertise = "accord/secagg/1/advertise"
  static let leaf = "accord/secagg/1/roster-leaf"
  static let node = "accord/secagg/1/roster-node"
  static let root = "accord/secagg/1/roster-root"
  static let bundle = "accord/secagg/1/share-bundle"
  static let share = "accord/secagg/1/share"
  static let delivery = "accord/secagg/1/delivery"
  static let indices = "accord/secagg/1/indices"
  static let confirm = "accord/secagg/1/confirm"
  static let quorumLeaf = "accord/secagg/1/quorum-leaf"
  static let quorumNode = "accord/secagg/1/quorum-node"
  static let seedCommitment = "accord/secagg/1/seed-commitment"
  static let selfMask = "accord/secagg/1/self-mask"
  static let maskKey = "accord/secagg/1/mask-key"
  static let pairMask = "accord/secagg/1/pair-mask"
  static let shareKey = "accord/secagg/1/share-key"
  static let shareAdditionalData = "accord/secagg/1/share-additional-data"
  static let inputChunk = "accord/secagg/1/input-chunk"
  static let inputDigest = "accord/secagg/1/input-digest"
  static let transcript = "accord/secagg/1/transcript"
}

/// Canonical bytes of numbers and lists, for hashing.
enum Canonical {
  /// A number as 8 bytes, little endian. Hostile (negative) numbers do not trap.
  static func number(_ value: Int) -> [UInt8] {
    withUnsafeBytes(of: UInt64(bitPattern: Int64(value)).littleEndian) { Array($0) }
  }

  /// A hash of a list of roster indices, 8 bytes each.
  static func digest(indices: [Int]) -> Digest {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(indices.count * 8)
    for index in indices {
      withUnsafeBytes(of: UInt64(bitPattern: Int64(index)).littleEndian) { bytes.append(contentsOf: $0) }
    }
    return Hash.blake2b(domain: Domain.indices, [bytes])
  }
}

/// Step 1: the public keys of a participant for one session, signed with its identity.
package struct Advertisement: Sendable, Hashable {
  /// The sender.
  package var id: ParticipantID
  /// C: the X25519 key to which shares are sealed.
  package var shareKey: AgreementPublicKey
  /// U: the X25519 key from which pairwise masks are agreed; its secret half is shared.
  package var maskKey: AgreementPublicKey
  /// B: commitment to the self-mask seed.
  package var seedCommitment: Digest
  /// Over all of the above and sid.
  package var signature: Signature

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(
    id: ParticipantID, shareKey: AgreementPublicKey, maskKey: AgreementPublicKey, seedCommitment: Digest,
    signature: Signature
  ) {
    self.id = id
    self.shareKey = shareKey
    self.maskKey = maskKey
    self.seedCommitment = seedCommitment
    self.signature = signature
  }

  /// Whether every field has exactly its size, so that it may be handed to the cryptography.
  var isWellSized: Bool {
    id.isWellSized && shareKey.isWellSized && maskKey.isWellSized && seedCommitment.isWellSized
      && signature.isWellSized
  }

  /// What is signed.
  static func signedBytes(
    sid: Digest, id: ParticipantID, shareKey: AgreementPublicKey, maskKey: AgreementPublicKey,
    seedCommitment: Digest
  ) -> [UInt8] {
    Hash.framed(
      domain: Domain.advertise,
      [sid.bytes, id.bytes, shareKey.bytes, maskKey.bytes, seedCommitment.bytes])
  }

  /// Whether sizes and signature are right.
  func isSigned(sid: Digest) -> Bool {
    isWellSized
      && id.verifies(
        signature,
        of: Advertisement.signedBytes(
          sid: sid, id: id, shareKey: shareKey, maskKey: maskKey, seedCommitment: seedCommitment))
  }
}

/// One sealed pair of shares.
package struct SealedShare: Sendable, Hashable {
  /// Bytes of a sealed pair: two scalars, nonce and tag.
  package static let byteCount = 64 + AEAD.overhead
  /// The roster index of the recipient.
  package var recipient: Int
  /// The ciphertext, `byteCount` bytes.
  package var ciphertext: [UInt8]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(recipient: Int, ciphertext: [UInt8]) {
    self.recipient = recipient
    self.ciphertext = ciphertext
  }
}

/// Step 2: the shares of a participant's two secrets, one sealed pair for every other holder.
package struct ShareUpload: Sendable, Hashable {
  /// The sender.
  package var id: ParticipantID
  /// The root of the roster that the shares were made for.
  package var root: Digest
  /// The sealed shares, by ascending recipient.
  package var shares: [SealedShare]
  /// Over sid, root, id and the digest of the shares.
  package var signature: Signature

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(id: ParticipantID, root: Digest, shares: [SealedShare], signature: Signature) {
    self.id = id
    self.root = root
    self.shares = shares
    self.signature = signature
  }

  /// The digest of the sealed shares.
  static func bundleDigest(of shares: [SealedShare]) -> Digest {
    Hash.blake2b(domain: Domain.bundle, shares.flatMap { [Canonical.number($0.recipient), $0.ciphertext] })
  }

  /// What is signed.
  static func signedBytes(sid: Digest, root: Digest, id: ParticipantID, bundle: Digest) -> [UInt8] {
    Hash.framed(domain: Domain.share, [sid.bytes, root.bytes, id.bytes, bundle.bytes])
  }
}

/// That a participant took part in step 2: its signature over the digest of its shares.
package struct ShareEvidence: Sendable, Hashable {
  /// The sharer's roster index.
  package var index: Int
  /// The digest of all its sealed shares.
  package var bundleDigest: Digest
  /// The signature of its `ShareUpload`.
  package var signature: Signature

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(index: Int, bundleDigest: Digest, signature: Signature) {
    self.index = index
    self.bundleDigest = bundleDigest
    self.signature = signature
  }
}

/// A sealed share on its way to its recipient.
package struct DeliveredShare: Sendable, Hashable {
  /// The roster index of the sender.
  package var sender: Int
  /// The ciphertext.
  package var ciphertext: [UInt8]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(sender: Int, ciphertext: [UInt8]) {
    self.sender = sender
    self.ciphertext = ciphertext
  }
}

/// Step 3, from the server: which holders of a participant's shares are alive, with evidence, and the
/// shares addressed to the participant.
package struct ShareDelivery: Sendable, Hashable {
  /// Ascending: the participant itself and those of its out-neighbours that are in U2. On the complete
  /// graph that is U2.
  package var evidence: [ShareEvidence]
  /// One sealed share from every member of U2 that dealt one to the participant, ascending by sender.
  package var shares: [DeliveredShare]
  /// The advertisements of the senders that the participant did not draw itself; empty on the complete
  /// graph.
  package var opening: RosterOpening

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(evidence: [ShareEvidence], shares: [DeliveredShare], opening: RosterOpening = .empty) {
    self.evidence = evidence
    self.shares = shares
    self.opening = opening
  }

  var digest: Digest {
    Hash.blake2b(
      domain: Domain.delivery,
      evidence.flatMap { [Canonical.number($0.index), $0.bundleDigest.bytes, $0.signature.bytes] }
        + [[]] + shares.flatMap { [Canonical.number($0.sender), $0.ciphertext] }
        + [[]] + opening.indices.map(Canonical.number) + opening.members.map(\.signature.bytes))
  }
}

/// Step 4, from the server: who shared and whose input counts.
package struct SurvivorNotice: Sendable, Hashable {
  /// U2, roster indices, ascending.
  package var shared: [Int]
  /// U3 ⊆ U2, roster indices, ascending.
  package var uploaded: [Int]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(shared: [Int], uploaded: [Int]) {
    self.shared = shared
    self.uploaded = uploaded
  }

  /// What is signed: (sid, root, H(U2), H(U3)).
  func signedBytes(sid: Digest, root: Digest) -> [UInt8] {
    Hash.framed(
      domain: Domain.confirm,
      [
        sid.bytes, root.bytes, Canonical.digest(indices: shared).bytes,
        Canonical.digest(indices: uploaded).bytes,
      ])
  }
}

/// Step 4: a participant's signature on the survivor notice.
package struct ConsistencySignature: Sendable, Hashable {
  /// The signer.
  package var id: ParticipantID
  /// Over sid, root, H(U2) and H(U3).
  package var signature: Signature

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(id: ParticipantID, signature: Signature) {
    self.id = id
    self.signature = signature
  }
}

/// Step 5, from the server: the signatures that show that one survivor list was shown to a quorum.
package struct Quorum: Sendable, Hashable {
  /// Signatures of distinct survivors.
  package var signatures: [ConsistencySignature]
  /// In the answer to a challenge: the hashes that prove the signatures to belong to the claim, level by
  /// level from the leaves, left to right.
  package var hashes: [Digest]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(signatures: [ConsistencySignature], hashes: [Digest] = []) {
    self.signatures = signatures
    self.hashes = hashes
  }
}

/// Step 5 in a large cohort, from the server: who signed the survivor list. A participant checks the
/// signatures of a sample of its own choice, small but large enough to notice a claim that lacks a true
/// quorum (`AggregationClient.challenge`).
package struct QuorumClaim: Sendable, Hashable {
  /// Roster indices, ascending.
  package var signers: [Int]
  /// The top of a Merkle tree over their signatures (`QuorumTree`): the server has to have them all before it
  /// knows which ones are asked for.
  package var top: Digest

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(signers: [Int], top: Digest) {
    self.signers = signers
    self.top = top
  }
}

/// The Merkle tree over the signatures of a quorum.
enum QuorumTree {
  /// For signers in the order of their roster indices.
  static func tree(signers: [Int], signatures: [Signature]) -> DigestTree {
    DigestTree(leaves: zip(signers, signatures).map(leaf), nodeDomain: Domain.quorumNode)
  }

  /// One leaf: the signer's roster index and its signature.
  static func leaf(signer: Int, signature: Signature) -> Digest {
    Hash.blake2b(domain: Domain.quorumLeaf, [Canonical.number(signer), signature.bytes])
  }
}

/// A revealed Shamir share.
package struct RevealedShare: Sendable, Hashable {
  /// The roster index of the participant whose secret this is a share of.
  package var index: Int
  /// The share: 32 bytes, a canonical scalar.
  package var bytes: [UInt8]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(index: Int, bytes: [UInt8]) {
    self.index = index
    self.bytes = bytes
  }
}

/// Step 5: for every survivor the share of its self-mask seed, for every participant that dropped between
/// sharing and uploading the share of its mask key. Never both of one participant.
package struct UnmaskShares: Sendable, Hashable {
  /// The sender.
  package var id: ParticipantID
  /// Shares of the self-mask seeds of U3, ascending.
  package var seedShares: [RevealedShare]
  /// Shares of the mask keys of U2 \ U3, ascending.
  package var maskKeyShares: [RevealedShare]

  /// Assembles a message as it came from the wire; the receiver checks it.
  package init(id: ParticipantID, seedShares: [RevealedShare], maskKeyShares: [RevealedShare]) {
    self.id = id
    self.seedShares = seedShares
    self.maskKeyShares = maskKeyShares
  }
}

extension FixedBytes {
  /// Whether the value has its size even though it was made by `init(unchecked:)`.
  var isWellSized: Bool { bytes.count == Self.byteCount }
}
