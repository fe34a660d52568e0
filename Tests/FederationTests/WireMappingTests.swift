import Cryptography
import Federation
import Foundation
import Messages
import SecureAggregation
import SwiftProtobuf
import Testing

@Suite struct WireMappingTests {
  private static func scalar(_ fill: UInt8) -> [UInt8] { [UInt8](repeating: fill, count: 31) + [0] }

  /// Real messages of a session in which one of four nodes dropped out, as bytes.
  private static func messages() throws -> [(
    name: String, bytes: [UInt8], decode: ([UInt8]) throws -> [UInt8]
  )] {
    var session = try Session(Fixture.descriptor(cohort: 4), nodes: 4)
    let advertisement = try session.advertisement(0)
    try session.advertise()
    let zeros = [[Int64]](repeating: [Int64](repeating: 0, count: 11), count: 4)
    let shares = try session.shareUpload(0)
    try session.share()
    try session.handle(.debited)
    let delivery = try #require(session.coordinator.delivery(for: session.id(0)))
    try session.upload(zeros, [0, 1, 2])
    let confirmation = try session.confirmation(0)
    try session.confirm([0, 1, 2])
    let reveal = try session.reveal(0)
    func entry<Message: WireRepresentable & Equatable>(
      _ message: Message
    ) throws -> (name: String, bytes: [UInt8], decode: ([UInt8]) throws -> [UInt8]) {
      let copy = try Message(wireBytes: message.wireBytes, peer: "node x")
      #expect(copy == message)
      return (
        "\(Message.self)", message.wireBytes,
        { try Message(wireBytes: $0, peer: "node x").wireBytes }
      )
    }
    return [
      try entry(#require(session.coordinator.roster(for: session.id(0)))), try entry(advertisement),
      try entry(shares),
      try entry(delivery), try entry(#require(session.coordinator.notice(for: session.id(0)))),
      try entry(confirmation),
      try entry(#require(session.coordinator.quorum(for: session.id(0)))), try entry(reveal),
    ]
  }

  @Test func `every message survives the wire and refuses cut, extended and oversized bytes`() throws {
    for message in try Self.messages() {
      #expect(try message.decode(message.bytes) == message.bytes)
      let step = max(1, message.bytes.count / 300)
      for count in stride(from: 0, to: message.bytes.count, by: step) {
        // A list cut between two items is a shorter list; the fixed fields catch all else.
        if let shorter = try? message.decode(Array(message.bytes[..<count])) {
          #expect(shorter == Array(message.bytes[..<count]), "\(message.name)")
        }
      }
      expectRefusal("node x", message.name) { _ = try message.decode(message.bytes + [0xff]) }
      expectUnknownFieldRefused { _ = try message.decode(message.bytes + Fixture.unknownField) }
      expectRefusal("node x", "at most \(MessageLimits.control)") {
        _ = try message.decode([UInt8](repeating: 0, count: MessageLimits.control + 1))
      }
    }
  }

  @Test func `mutated bytes never trap, and what is accepted has one encoding`() throws {
    var random = RandomStream(testSeed: 12)
    for message in try Self.messages() {
      for _ in 0..<400 {
        var bytes = message.bytes
        switch random.uniform(below: 3) {
        case 0: bytes[Int(random.uniform(below: UInt64(bytes.count)))] ^= UInt8(1 << random.uniform(below: 8))
        case 1: bytes.remove(at: Int(random.uniform(below: UInt64(bytes.count))))
        default:
          bytes.insert(UInt8(random.uniform(below: 256)), at: Int(random.uniform(below: UInt64(bytes.count))))
        }
        if let decoded = try? message.decode(bytes) {
          #expect(firstDifference(decoded, bytes) == nil, "\(message.name)")
        }
      }
      for count in [1, 7, 64, 500] { _ = try? message.decode(random.bytes(count)) }
    }
  }

  @Test func `an unknown field inside a nested message is refused`() throws {
    var session = try Session(Fixture.descriptor(cohort: 2), nodes: 2)
    let advertisement = try session.advertisement(0)
    try session.advertise()
    var wire = try #require(session.coordinator.roster(for: session.id(0))).wire
    wire.members[0] = try WireAdvertisement(
      serializedBytes: advertisement.wireBytes + Fixture.unknownField)
    expectUnknownFieldRefused { _ = try Roster(wireBytes: encodeMessage(wire), peer: "the server") }
  }

  @Test func `fields of the wrong length are refused by name`() throws {
    var session = try Session(Fixture.descriptor(cohort: 2), nodes: 2)
    let advertisement = try session.advertisement(0).wire
    let fields: [(String, WritableKeyPath<WireAdvertisement, Data>)] = [
      ("id", \.id), ("share_key", \.shareKey), ("mask_key", \.maskKey), ("seed_commitment", \.seedCommitment),
      ("signature", \.signature),
    ]
    for (name, path) in fields {
      for change in [{ (data: inout Data) in data.removeLast() }, { $0.append(0) }, { $0 = Data() }] {
        var wire = advertisement
        change(&wire[keyPath: path])
        expectRefusal("node x", "the field \(name) of the Advertisement") {
          _ = try Advertisement(wire: wire, peer: "node x")
        }
      }
    }
    var sealed = WireSealedShare()
    sealed.ciphertext = Data(count: SealedShare.byteCount - 1)
    var upload = WireShareUpload()
    upload.shares = [sealed]
    expectRefusal("ciphertext") { _ = try ShareUpload(wire: upload, peer: "node x") }
    var delivery = WireShareDelivery()
    delivery.shares = [sealed]
    expectRefusal("ciphertext") { _ = try ShareDelivery(wire: delivery, peer: "node x") }
    delivery = WireShareDelivery()
    delivery.evidence = [WireShareEvidence()]
    expectRefusal("bundle_digest") { _ = try ShareDelivery(wire: delivery, peer: "node x") }
    var share = WireIndexedShare()
    share.share = Data(count: 31)
    var reveal = WireUnmaskShares()
    reveal.id = Data(count: 32)
    reveal.seedShares = [share]
    expectRefusal("seed_shares", "32 bytes") { _ = try UnmaskShares(wire: reveal, peer: "node x") }
    reveal.seedShares = []
    reveal.maskKeyShares = [share]
    expectRefusal("mask_key_shares") { _ = try UnmaskShares(wire: reveal, peer: "node x") }
    expectRefusal("id") { _ = try ConsistencySignature(wire: WireConsistencySignature(), peer: "node x") }
    expectRefusal("root") { _ = try Roster(wire: WireRoster(), peer: "node x") }
  }

  @Test func `lists longer than a cohort are refused before their items are read`() {
    let tooMany = MessageLimits.cohort + 1
    var roster = WireRoster()
    roster.members = Array(repeating: WireAdvertisement(), count: MessageLimits.completeGraph + 1)
    expectRefusal("members", "201", "200") { _ = try Roster(wire: roster, peer: "node x") }
    var commitment = WireRosterCommitment()
    commitment.ids = Data(count: 32 * tooMany)
    expectRefusal("ids", "16385") { _ = try RosterCommitment(wire: commitment, peer: "node x") }
    commitment.ids = Data(count: 33)
    expectRefusal("ids", "multiple of 32") { _ = try RosterCommitment(wire: commitment, peer: "node x") }
    var request = WireNeighbourRequest()
    request.neighbours = Array(repeating: 0, count: tooMany)
    expectRefusal("neighbours", "16385") { _ = try NeighbourRequest(wire: request, peer: "node x") }
    var opening = WireRosterOpening()
    opening.indices = Array(repeating: 0, count: tooMany)
    expectRefusal("indices", "16385") { _ = try RosterOpening(wire: opening, peer: "node x") }
    var upload = WireShareUpload()
    upload.shares = Array(repeating: WireSealedShare(), count: tooMany)
    expectRefusal("shares", "16385") { _ = try ShareUpload(wire: upload, peer: "node x") }
    var delivery = WireShareDelivery()
    delivery.evidence = Array(repeating: WireShareEvidence(), count: tooMany)
    expectRefusal("evidence", "16385") { _ = try ShareDelivery(wire: delivery, peer: "node x") }
    var quorum = WireQuorum()
    quorum.signatures = Array(repeating: WireConsistencySignature(), count: tooMany)
    expectRefusal("signatures", "16385") { _ = try Quorum(wire: quorum, peer: "node x") }
    var reveal = WireUnmaskShares()
    reveal.seedShares = Array(repeating: WireIndexedShare(), count: tooMany)
    reveal.id = Data(count: 32)
    expectRefusal("seed_shares", "16385") { _ = try UnmaskShares(wire: reveal, peer: "node x") }
  }

  @Test func `sets of indices have one encoding and a limit`() throws {
    for indices in [[], [0], [7], [8], [0, 1, 2, 3, 15, 16, 999], [16_383]] {
      let notice = SurvivorNotice(shared: indices, uploaded: indices)
      #expect(try SurvivorNotice(wireBytes: notice.wireBytes, peer: "node x") == notice)
      let claim = QuorumClaim(signers: indices, top: Fixture.digest("top"))
      #expect(try QuorumClaim(wireBytes: claim.wireBytes, peer: "node x") == claim)
      let challenge = QuorumChallenge(signers: indices)
      #expect(try QuorumChallenge(wireBytes: challenge.wireBytes, peer: "node x") == challenge)
    }
    var notice = WireSurvivorNotice()
    notice.shared = Data([1, 0])
    expectRefusal("shared", "zero byte") { _ = try SurvivorNotice(wire: notice, peer: "node x") }
    notice.shared = Data(repeating: 255, count: MessageLimits.cohort / 8 + 1)
    expectRefusal("shared", "2049") { _ = try SurvivorNotice(wire: notice, peer: "node x") }
  }
}
