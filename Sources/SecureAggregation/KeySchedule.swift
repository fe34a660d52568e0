import Cryptography

/// Every derivation of the protocol, in one place (design: secure-aggregation.md, "The five steps").
/// All of them are bound to sid.
struct KeySchedule: Sendable {
  let sid: Digest
  let suite: KeyStreamSuite

  /// The mask key pair of a shared scalar z.
  func maskKey(of scalar: Scalar, id: ParticipantID) -> AgreementKey {
    AgreementKey(seed: Hash.derive(domain: Domain.maskKey, [sid.bytes, id.bytes], key: scalar.secretBytes))
  }

  /// B, the commitment to the self-mask seed b.
  func commitment(to seed: Scalar, id: ParticipantID) -> Digest {
    Hash.blake2b(domain: Domain.seedCommitment, [sid.bytes, id.bytes], key: seed.secretBytes)
  }

  /// PRG(b), the self-mask.
  func selfMask(of seed: Scalar, id: ParticipantID) throws(AggregationError) -> KeyStream {
    try stream(Hash.derive(domain: Domain.selfMask, [sid.bytes, id.bytes], key: seed.secretBytes))
  }

  /// PRG(s_ij), the pairwise mask; the same for both ends.
  func pairMask(
    of key: AgreementKey, id: ParticipantID, with peer: AgreementPublicKey, peerID: ParticipantID,
    root: Digest
  ) throws(AggregationError) -> KeyStream {
    let shared = try agree(key, with: peer, peerID: peerID)
    let (low, high) = id < peerID ? (id, peerID) : (peerID, id)
    return try stream(
      Hash.derive(domain: Domain.pairMask, [sid.bytes, root.bytes, low.bytes, high.bytes], key: shared))
  }

  private func stream(_ seed: SecretBytes) throws(AggregationError) -> KeyStream {
    do { return try KeyStream(seed: seed, suite: suite) } catch { throw .suiteUnavailable(suite) }
  }

  /// The key under which two participants seal shares to each other; the same for both ends.
  func shareKey(
    of key: AgreementKey, with peer: AgreementPublicKey, peerID: ParticipantID
  ) throws(AggregationError) -> SecretBytes {
    let shared = try agree(key, with: peer, peerID: peerID)
    let (low, high) = key.publicKey < peer ? (key.publicKey, peer) : (peer, key.publicKey)
    return Hash.derive(domain: Domain.shareKey, [low.bytes, high.bytes, sid.bytes], key: shared)
  }

  /// What a sealed share is bound to: session, roster, sender and recipient.
  func shareAdditionalData(root: Digest, sender: ParticipantID, recipient: ParticipantID) -> [UInt8] {
    Hash.framed(
      domain: Domain.shareAdditionalData, [sid.bytes, root.bytes, sender.bytes, recipient.bytes])
  }

  private func agree(
    _ key: AgreementKey, with peer: AgreementPublicKey, peerID: ParticipantID
  ) throws(AggregationError) -> SecretBytes {
    do { return try key.sharedSecret(with: peer) } catch { throw .unusableKey(peerID) }
  }
}
