import Cryptography

@testable import SecureAggregation

/// A message of the protocol, or the server's closing of a step, as it stands in a vector file.
enum VectorMessage: Sendable {
  case advertisement(Advertisement)
  case roster(Roster)
  case commitment(RosterCommitment)
  case request(NeighbourRequest)
  case opening(RosterOpening)
  case upload(ShareUpload)
  case delivery(ShareDelivery)
  /// The packed masked input.
  case input([UInt8])
  case notice(SurvivorNotice)
  case confirmation(ConsistencySignature)
  case claim(QuorumClaim)
  /// The signers whose signatures a participant asks for.
  case choice([Int])
  case quorum(Quorum)
  case reveal(UnmaskShares)
  case close(AggregationStep)

  var kind: String {
    switch self {
    case .advertisement: "advertisement"
    case .roster: "roster"
    case .commitment: "roster_commitment"
    case .request: "neighbour_request"
    case .opening: "roster_opening"
    case .upload: "share_upload"
    case .delivery: "share_delivery"
    case .input: "masked_input"
    case .notice: "survivor_notice"
    case .confirmation: "consistency_signature"
    case .claim: "quorum_claim"
    case .choice: "quorum_request"
    case .quorum: "quorum"
    case .reveal: "unmask_shares"
    case .close: "close"
    }
  }

  var step: AggregationStep {
    switch self {
    case .advertisement: .advertise
    case .roster, .commitment, .request, .opening, .upload: .share
    case .delivery, .input: .mask
    case .notice, .confirmation: .confirm
    case .claim, .choice, .quorum, .reveal: .unmask
    case .close(let step): step
    }
  }

  // MARK: Encoding

  var json: JSON {
    switch self {
    case .advertisement(let message): VectorMessage.json(message)
    case .roster(let roster):
      ["root": .hex(roster.root), "members": .list(roster.members.map(VectorMessage.json))]
    case .commitment(let commitment):
      ["ids": .list(commitment.ids.map { .hex($0) }), "top": .hex(commitment.top)]
    case .request(let request):
      ["id": .hex(request.id), "root": .hex(request.root), "neighbours": .ints(request.neighbours)]
    case .opening(let opening): VectorMessage.json(opening)
    case .upload(let upload):
      [
        "id": .hex(upload.id), "root": .hex(upload.root),
        "shares": .list(
          upload.shares.map { ["recipient": .int($0.recipient), "ciphertext": .hex($0.ciphertext)] }),
        "signature": .hex(upload.signature),
      ]
    case .delivery(let delivery): VectorMessage.json(delivery)
    case .input(let bytes): ["packed": .hex(bytes)]
    case .notice(let notice): ["shared": .ints(notice.shared), "uploaded": .ints(notice.uploaded)]
    case .confirmation(let message): VectorMessage.json(message)
    case .claim(let claim): ["signers": .ints(claim.signers), "top": .hex(claim.top)]
    case .choice(let signers): ["signers": .ints(signers)]
    case .quorum(let quorum):
      [
        "signatures": .list(quorum.signatures.map(VectorMessage.json)),
        "hashes": .list(quorum.hashes.map { .hex($0) }),
      ]
    case .reveal(let message):
      [
        "id": .hex(message.id), "seed_shares": VectorMessage.json(message.seedShares),
        "mask_key_shares": VectorMessage.json(message.maskKeyShares),
      ]
    case .close: [:]
    }
  }

  private static func json(_ message: Advertisement) -> JSON {
    [
      "id": .hex(message.id), "share_key": .hex(message.shareKey), "mask_key": .hex(message.maskKey),
      "seed_commitment": .hex(message.seedCommitment), "signature": .hex(message.signature),
    ]
  }

  private static func json(_ opening: RosterOpening) -> JSON {
    [
      "indices": .ints(opening.indices), "members": .list(opening.members.map(VectorMessage.json)),
      "hashes": .list(opening.hashes.map { .hex($0) }),
    ]
  }

  private static func json(_ delivery: ShareDelivery) -> JSON {
    [
      "evidence": .list(
        delivery.evidence.map {
          [
            "index": .int($0.index), "bundle_digest": .hex($0.bundleDigest), "signature": .hex($0.signature),
          ]
        }),
      "shares": .list(
        delivery.shares.map { ["sender": .int($0.sender), "ciphertext": .hex($0.ciphertext)] }),
      "opening": json(delivery.opening),
    ]
  }

  private static func json(_ message: ConsistencySignature) -> JSON {
    ["id": .hex(message.id), "signature": .hex(message.signature)]
  }

  private static func json(_ shares: [RevealedShare]) -> JSON {
    .list(shares.map { ["index": .int($0.index), "share": .hex($0.bytes)] })
  }

  // MARK: Decoding

  init(kind: String, step: String, _ json: JSON) throws {
    switch kind {
    case "advertisement": self = .advertisement(try VectorMessage.advertisement(json))
    case "roster":
      self = .roster(
        Roster(
          members: try json["members"].elements.map(VectorMessage.advertisement),
          root: try json["root"].fixed()))
    case "roster_commitment":
      self = .commitment(
        RosterCommitment(ids: try json["ids"].elements.map { try $0.fixed() }, top: try json["top"].fixed()))
    case "neighbour_request":
      self = .request(
        NeighbourRequest(
          id: try json["id"].fixed(), root: try json["root"].fixed(),
          neighbours: try json["neighbours"].integers))
    case "roster_opening": self = .opening(try VectorMessage.opening(json))
    case "share_upload": self = .upload(try VectorMessage.upload(json))
    case "share_delivery": self = .delivery(try VectorMessage.delivery(json))
    case "masked_input": self = .input(try json["packed"].bytes)
    case "survivor_notice":
      self = .notice(
        SurvivorNotice(shared: try json["shared"].integers, uploaded: try json["uploaded"].integers))
    case "consistency_signature": self = .confirmation(try VectorMessage.confirmation(json))
    case "quorum_claim":
      self = .claim(QuorumClaim(signers: try json["signers"].integers, top: try json["top"].fixed()))
    case "quorum_request": self = .choice(try json["signers"].integers)
    case "quorum":
      self = .quorum(
        Quorum(
          signatures: try json["signatures"].elements.map(VectorMessage.confirmation),
          hashes: try json["hashes"].elements.map { try $0.fixed() }))
    case "unmask_shares":
      self = .reveal(
        UnmaskShares(
          id: try json["id"].fixed(), seedShares: try VectorMessage.revealed(json["seed_shares"]),
          maskKeyShares: try VectorMessage.revealed(json["mask_key_shares"])))
    case "close":
      guard let step = AggregationStep(rawValue: step) else { throw JSON.Missing(name: "a step") }
      self = .close(step)
    default: throw JSON.Missing(name: "a known kind of message")
    }
  }

  private static func advertisement(_ json: JSON) throws -> Advertisement {
    Advertisement(
      id: try json["id"].fixed(), shareKey: try json["share_key"].fixed(),
      maskKey: try json["mask_key"].fixed(), seedCommitment: try json["seed_commitment"].fixed(),
      signature: try json["signature"].fixed())
  }

  private static func opening(_ json: JSON) throws -> RosterOpening {
    RosterOpening(
      indices: try json["indices"].integers, members: try json["members"].elements.map(advertisement),
      hashes: try json["hashes"].elements.map { try $0.fixed() })
  }

  private static func upload(_ json: JSON) throws -> ShareUpload {
    ShareUpload(
      id: try json["id"].fixed(), root: try json["root"].fixed(),
      shares: try json["shares"].elements.map {
        SealedShare(recipient: try $0["recipient"].integer, ciphertext: try $0["ciphertext"].bytes)
      }, signature: try json["signature"].fixed())
  }

  private static func delivery(_ json: JSON) throws -> ShareDelivery {
    ShareDelivery(
      evidence: try json["evidence"].elements.map {
        ShareEvidence(
          index: try $0["index"].integer, bundleDigest: try $0["bundle_digest"].fixed(),
          signature: try $0["signature"].fixed())
      },
      shares: try json["shares"].elements.map {
        DeliveredShare(sender: try $0["sender"].integer, ciphertext: try $0["ciphertext"].bytes)
      }, opening: try opening(json["opening"]))
  }

  private static func confirmation(_ json: JSON) throws -> ConsistencySignature {
    ConsistencySignature(id: try json["id"].fixed(), signature: try json["signature"].fixed())
  }

  private static func revealed(_ json: JSON) throws -> [RevealedShare] {
    try json.elements.map { RevealedShare(index: try $0["index"].integer, bytes: try $0["share"].bytes) }
  }
}
