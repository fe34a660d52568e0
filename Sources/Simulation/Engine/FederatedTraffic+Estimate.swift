import Cryptography
import Federation
import Foundation
import SecureAggregation

extension FederatedTraffic {
  /// What the steps of a session cost one node that finishes, from messages of the right sizes without content:
  /// exact on the complete graph; on the sparse one, where sizes depend on the draws, an expectation.
  static func steps(
    _ signed: SignedDescriptor, cohort: Int, survivors: Int
  ) throws(FederationError) -> Bill {
    let descriptor = signed.descriptor
    let messages = BlankMessages(cohort: cohort, survivors: survivors)
    var bill = Bill()
    _ = bill.request(.advertise, messages.advertisement)
    switch descriptor.graph {
    case .complete: messages.addComplete(to: &bill)
    case .sparse(let degree, _):
      let parameters = try descriptor.aggregationParameters(sessionID: signed.sessionID)
      messages.addSparse(
        to: &bill, degree: degree,
        challenge: parameters.challengeSize(claimed: survivors, cohort: cohort))
    }
    bill.input(
      packedBytes: RingVector.packedByteCount(
        dimension: descriptor.dimension, ringBits: descriptor.ringBits))
    _ = bill.answer(SurvivorNotice(shared: messages.everybody, uploaded: messages.finishing))
    _ = bill.request(.consistency, messages.confirmation)
    bill.outcome()
    return bill
  }
}

/// Messages without content.
private struct BlankMessages {
  let everybody: [Int]
  let finishing: [Int]
  private let id = VerifyingKey(unchecked: [UInt8](repeating: 0, count: VerifyingKey.byteCount))
  private let digest = Digest(unchecked: [UInt8](repeating: 0, count: Digest.byteCount))
  private let signature = Signature(unchecked: [UInt8](repeating: 0, count: Signature.byteCount))
  private let ciphertext = [UInt8](repeating: 0, count: SealedShare.byteCount)

  /// The last members are those that drop out.
  init(cohort: Int, survivors: Int) {
    everybody = Array(0..<cohort)
    finishing = Array(0..<survivors)
  }

  var advertisement: Advertisement {
    let key = AgreementPublicKey(
      unchecked: [UInt8](repeating: 0, count: AgreementPublicKey.byteCount))
    return Advertisement(
      id: id, shareKey: key, maskKey: key, seedCommitment: digest, signature: signature)
  }

  var confirmation: ConsistencySignature { ConsistencySignature(id: id, signature: signature) }

  private func upload(_ recipients: [Int]) -> ShareUpload {
    ShareUpload(
      id: id, root: digest,
      shares: recipients.map { SealedShare(recipient: $0, ciphertext: ciphertext) }, signature: signature)
  }

  private func delivery(evidence: [Int], shares: [Int], opening: RosterOpening) -> ShareDelivery {
    ShareDelivery(
      evidence: evidence.map { ShareEvidence(index: $0, bundleDigest: digest, signature: signature) },
      shares: shares.map { DeliveredShare(sender: $0, ciphertext: ciphertext) }, opening: opening)
  }

  private func reveal(_ dealers: [Int]) -> UnmaskShares {
    let share = [UInt8](repeating: 0, count: 32)
    func list(_ indices: some Sequence<Int>) -> [RevealedShare] {
      indices.map { RevealedShare(index: $0, bytes: share) }
    }
    return UnmaskShares(
      id: id, seedShares: list(dealers.filter { $0 < finishing.count }),
      maskKeyShares: list(dealers.filter { $0 >= finishing.count }))
  }

  func addComplete(to bill: inout FederatedTraffic.Bill) {
    _ = bill.answer(Roster(members: everybody.map { _ in advertisement }, root: digest))
    let others = Array(everybody.dropFirst())
    _ = bill.request(.shares, upload(others))
    _ = bill.answer(delivery(evidence: everybody, shares: others, opening: .empty))
    _ = bill.answer(Quorum(signatures: finishing.map { _ in confirmation }))
    _ = bill.sealed(.unmask, reveal(everybody))
  }

  func addSparse(to bill: inout FederatedTraffic.Bill, degree: Int, challenge: Int) {
    let count = everybody.count
    let drawn = spread(degree, over: count)
    _ = bill.answer(RosterCommitment(ids: everybody.map { _ in id }, top: digest))
    _ = bill.request(.neighbours, NeighbourRequest(id: id, root: digest, neighbours: drawn))
    _ = bill.answer(opening(drawn))
    _ = bill.request(.shares, upload(drawn))
    // As many draw a node as it draws; those that it drew itself it knows already.
    let strangers = spread(degree - degree * degree / count, over: count)
    _ = bill.answer(
      delivery(evidence: spread(degree + 1, over: count), shares: drawn, opening: opening(strangers)))
    _ = bill.answer(QuorumClaim(signers: finishing, top: digest))
    let challenged = spread(challenge, over: finishing.count)
    _ = bill.request(.quorum, QuorumChallenge(signers: challenged))
    _ = bill.answer(
      Quorum(
        signatures: challenged.map { _ in confirmation },
        hashes: hashes(proving: challenge, of: finishing.count)))
    _ = bill.sealed(.unmask, reveal(drawn))
  }

  private func opening(_ indices: [Int]) -> RosterOpening {
    RosterOpening(
      indices: indices, members: indices.map { _ in advertisement },
      hashes: hashes(proving: indices.count, of: everybody.count))
  }

  /// The inner hashes that prove so many random leaves of a tree: about log2(n / m) for each.
  private func hashes(proving count: Int, of leaves: Int) -> [Digest] {
    guard count > 0, count < leaves else { return [] }
    // The expectation, level by level: a sibling is needed if its subtree holds none of the leaves, the node's
    // does.
    var total = 0.0
    var width = 1.0
    let chosen = Double(count) / Double(leaves)
    while width < Double(leaves) {
      let empty = pow(1 - chosen, width)
      total += Double(leaves) / width * empty * (1 - empty)
      width *= 2
    }
    return [Digest](repeating: digest, count: Int(total.rounded()))
  }

  /// Indices at equal distances.
  private func spread(_ count: Int, over total: Int) -> [Int] {
    guard count > 0 else { return [] }
    return (0..<min(count, total)).map { $0 * total / min(count, total) }
  }
}
