import Cryptography
import Testing

@testable import SecureAggregation

/// Messages with random damage: every one is refused with an error or is as good as the original;
/// nothing traps, and the session goes on.
struct HostileMessageTests {
  /// Random damage to bytes and indices.
  struct Damage {
    var random: RandomStream

    mutating func bytes(_ bytes: [UInt8]) -> [UInt8] {
      var bytes = bytes
      switch random.uniform(below: 4) {
      case 0: return Array(bytes.prefix(Int(random.uniform(below: UInt64(bytes.count + 1)))))
      case 1: return bytes + random.bytes(Int(random.uniform(below: 40)) + 1)
      case 2: return random.bytes(bytes.count)
      default:
        guard !bytes.isEmpty else { return [1] }
        bytes[Int(random.uniform(below: UInt64(bytes.count)))] ^= UInt8(1 + random.uniform(below: 255))
        return bytes
      }
    }

    mutating func fixed<Value: FixedBytes>(_ value: inout Value) {
      value = Value(unchecked: bytes(value.bytes))
    }

    mutating func index(_ index: inout Int) {
      let choices = [-1, 0, 1, 2, 3, 4, 200, .max, .min, index &+ 1]
      index = choices[Int(random.uniform(below: UInt64(choices.count)))]
    }

    mutating func list<Element>(_ list: inout [Element]) {
      guard let first = list.first else { return }
      switch random.uniform(below: 4) {
      case 0: list.removeLast()
      case 1: list.append(first)
      case 2: list = []
      default: list.reverse()
      }
    }

    mutating func choose(_ count: UInt64) -> Int { Int(random.uniform(below: count)) }

    mutating func advertisement(_ message: inout Advertisement) {
      switch choose(5) {
      case 0: fixed(&message.id)
      case 1: fixed(&message.shareKey)
      case 2: fixed(&message.maskKey)
      case 3: fixed(&message.seedCommitment)
      default: fixed(&message.signature)
      }
    }

    mutating func upload(_ message: inout ShareUpload) {
      switch choose(6) {
      case 0: fixed(&message.id)
      case 1: fixed(&message.root)
      case 2: list(&message.shares)
      case 3: index(&message.shares[0].recipient)
      case 4: message.shares[1].ciphertext = bytes(message.shares[1].ciphertext)
      default: fixed(&message.signature)
      }
    }

    mutating func delivery(_ message: inout ShareDelivery) {
      switch choose(7) {
      case 0: list(&message.evidence)
      case 1: list(&message.shares)
      case 2: index(&message.evidence[choose(4)].index)
      case 3: fixed(&message.evidence[choose(4)].bundleDigest)
      case 4: fixed(&message.evidence[1].signature)
      case 5: index(&message.shares[1].sender)
      default: message.shares[0].ciphertext = bytes(message.shares[0].ciphertext)
      }
    }

    mutating func unmask(_ message: inout UnmaskShares) {
      switch choose(5) {
      case 0: fixed(&message.id)
      case 1: list(&message.seedShares)
      case 2: index(&message.seedShares[1].index)
      case 3: message.seedShares[0].bytes = bytes(message.seedShares[0].bytes)
      default: swap(&message.seedShares, &message.maskKeyShares)
      }
    }
  }

  /// Applies a damaged message to a copy: an error must be of this module; success is only allowed for a
  /// message that happens to be unchanged, or that only the transport can tell from an honest one.
  private func attempt<Message: Equatable>(
    _ original: Message, _ damaged: Message, mayPass: Bool = false, _ body: () throws -> Void
  ) {
    guard damaged != original else { return }
    do {
      try body()
      #expect(mayPass, "damaged message was taken: \(damaged)")
    } catch {
      #expect(error is AggregationError, "\(error)")
    }
  }

  private let rounds = 40

  @Test(arguments: 0..<4 as Range<UInt64>)
  func `damaged advertisements and rosters never trap and never pass`(seed: UInt64) throws {
    var damage = Damage(random: RandomStream(testSeed: 500 + seed))
    let session = try Session(4, seed: seed)
    let empty = AggregationCoordinator(parameters: session.parameters, isEnrolled: { _ in true })
    for _ in 0..<rounds {
      var message = session.roster.members[0]
      damage.advertisement(&message)
      var coordinator = empty
      attempt(session.roster.members[0], message) { try coordinator.receive(message) }

      var roster = session.roster
      if damage.choose(2) == 0 {
        damage.advertisement(&roster.members[damage.choose(4)])
      } else {
        damage.list(&roster.members)
      }
      var client = session.clients[1]
      attempt(session.roster, roster) { _ = try client.share(roster: roster) { _ in true } }
      let rooted = Roster(
        members: roster.members, root: Roster.root(of: roster.members, sid: session.parameters.sessionID))
      // A smaller cohort with its own root is a roster like any other.
      let isSmaller = rooted.members == Array(session.roster.members.dropLast())
      attempt(session.roster, rooted, mayPass: isSmaller) {
        _ = try client.share(roster: rooted) { _ in true }
      }
    }
  }

  @Test(arguments: 0..<4 as Range<UInt64>)
  func `damaged shares and deliveries never trap and never pass`(seed: UInt64) throws {
    var damage = Damage(random: RandomStream(testSeed: 600 + seed))
    var session = try Session(4, seed: seed)
    let upload = try session.upload(of: 0)
    for _ in 0..<rounds {
      var message = upload
      damage.upload(&message)
      var coordinator = session.coordinator
      attempt(upload, message) { try coordinator.receive(message) }
    }
    try session.share()
    let delivery = try session.delivery(for: 0)
    let input = try session.ring(0)
    for _ in 0..<rounds {
      var message = delivery
      damage.delivery(&message)
      var client = session.clients[0]
      attempt(delivery, message) { _ = try client.mask(input, delivery: message) }
    }
  }

  @Test(arguments: 0..<4 as Range<UInt64>)
  func `damaged notices, signatures and reveals never trap and the session goes on`(seed: UInt64) throws {
    var damage = Damage(random: RandomStream(testSeed: 700 + seed))
    var session = try Session(4, seed: seed)
    try session.share()
    let notice = try session.upload()
    for _ in 0..<rounds {
      var message = notice
      if damage.choose(2) == 0 {
        damage.list(&message.shared)
      } else {
        damage.index(&message.uploaded[damage.choose(4)])
      }
      var client = session.clients[0]
      attempt(notice, message) { _ = try client.confirm(message) }
    }
    let signature = try session.clients[0].confirm(notice)
    for _ in 0..<rounds {
      var message = signature
      if damage.choose(2) == 0 { damage.fixed(&message.id) } else { damage.fixed(&message.signature) }
      var coordinator = session.coordinator
      attempt(signature, message) { try coordinator.receive(message) }
    }
    let quorum = try session.confirm(notice)
    for _ in 0..<rounds {
      var message = quorum
      damage.fixed(&message.signatures[damage.choose(4)].signature)
      var client = session.clients[0]
      attempt(quorum, message) { _ = try client.reveal(message) }
    }
    let reveal = try session.clients[0].reveal(quorum)
    for _ in 0..<rounds {
      var message = reveal
      damage.unmask(&message)
      var coordinator = session.coordinator
      // A wrong but canonical share is found by `finish`, not on arrival.
      attempt(reveal, message, mayPass: true) { try coordinator.receive(message) }
    }
    try session.reveal(quorum, session.everybody)
    #expect(try session.coordinator.finish().centredSum == session.plainSum(session.everybody))
  }
}
