import Cryptography
import Federation
import Foundation
import Messages
import Privacy
import SecureAggregation
import SwiftProtobuf
import Testing

@Suite struct DescriptorTests {
  private func descriptor() throws -> RoundDescriptor {
    try Fixture.descriptor(Fixture.segments(noiseVariance: 12.5), cohort: 9, corruptPermille: 100) {
      $0.seed = .max
      $0.checkpoint = "accord.test/consent\n12\nAAAA\n\n— signed\n"
      $0.unit = .record
    }
  }

  private func wire(_ change: (inout WireRoundDescriptor) -> Void) throws -> [UInt8] {
    var wire = try decodeMessage(WireRoundDescriptor.self, from: descriptor().encode())
    change(&wire)
    return encodeMessage(wire)
  }

  private func decode(_ bytes: [UInt8]) throws -> RoundDescriptor {
    try RoundDescriptor.decode(bytes, peer: "the server")
  }

  @Test func `a descriptor survives its encoding`() throws {
    let original = try descriptor()
    #expect(try decode(original.encode()) == original)
    for unit in PrivacyUnit.allCases {
      var other = original
      other.unit = unit
      #expect(try decode(other.encode()) == other)
    }
  }

  @Test(arguments: SessionKind.allCases)
  func `a session has the segments of its kind and no others`(kind: SessionKind) throws {
    let allowed: [[SegmentName]] =
      switch kind {
      case .coarseStatistics: [[.coarse]]
      case .fineStatistics: [[.fine]]
      case .training:
        [[.update], [.update, .evaluation], [.update, .clipping], [.update, .clipping, .evaluation]]
      case .evaluation: [[.evaluation]]
      case .statistics: [[.query(0)], [.query(7)], [.query(0), .query(7)]]
      }
    let all: [SegmentName] = [.coarse, .fine, .update, .clipping, .evaluation, .query(0), .query(7)]
    let single = all.map { [$0] }
    let pairs = all.flatMap { first in all.map { [first, $0] } }
    let triples: [[SegmentName]] = [[.update, .clipping, .evaluation], [.update, .evaluation, .clipping]]
    for names in single + pairs + triples where names.count == Set(names).count {
      var descriptor = try descriptor()
      descriptor.kind = kind
      descriptor.segments = names.map { name in
        var segment = Fixture.segments()[0]
        segment.name = name
        return segment
      }
      if allowed.contains(names) {
        #expect(try decode(descriptor.encode()) == descriptor)
      } else {
        expectRefusal("segments", kind.rawValue) { _ = try decode(descriptor.encode()) }
      }
    }
  }

  @Test func `a segment's name reads as it is written, and nothing else does`() throws {
    let names: [SegmentName] = [.coarse, .fine, .update, .clipping, .evaluation, .query(0), .query(63)]
    for name in names { #expect(SegmentName(rawValue: name.rawValue) == name) }
    for text in ["", "query", "query-", "query-64", "query--1", "query-01", "query-+1", "Update"] {
      #expect(SegmentName(rawValue: text) == nil)
    }
  }

  @Test func `counted bounds survive the encoding, and impossible ones are refused`() throws {
    var original = try descriptor()
    original.segments[1].sensitivity = StatisticsSensitivity(l1: 6, l2Squared: 12, lInfinity: 2)
    #expect(try decode(original.encode()) == original)
    #expect(original.encode() != (try descriptor()).encode())
    for (l1, l2Squared, lInfinity) in [(0, 1, 1), (1, 0, 1), (1, 1, 0), (1 << 41, 1, 1), (1, 1 << 63, 1)] {
      let bytes = try wire {
        $0.segments[0].l1 = UInt64(l1)
        $0.segments[0].l2Squared = UInt64(bitPattern: Int64(truncatingIfNeeded: l2Squared))
        $0.segments[0].lInfinity = UInt64(lInfinity)
      }
      expectRefusal("segments", "out of range") { _ = try decode(bytes) }
    }
  }

  @Test func `sid depends on every field`() throws {
    let original = try descriptor()
    var variants = [original]
    func add(_ change: (inout RoundDescriptor) -> Void) {
      var other = original
      change(&other)
      variants.append(other)
    }
    add { $0.federation += "x" }
    add { $0.sessionNumber += 1 }
    add { $0.kind = .evaluation }
    add { $0.round += 1 }
    add { $0.taskDigest = Fixture.digest("other") }
    add { $0.modelDigest = Fixture.digest("other") }
    add { $0.seed -= 1 }
    add { $0.segments[0].length += 1 }
    add { $0.segments[0].population = .heldOut }
    add { $0.segments[0].clipNorm += 1 }
    add { $0.segments[0].scale *= 2 }
    add { $0.segments[0].noiseVariance *= 2 }
    add { $0.segments.swapAt(0, 1) }
    add { $0.ringBits = 24 }
    add { $0.minimumCohort += 1 }
    add { $0.minimumSurvivors += 1 }
    add { $0.corruptPermille += 1 }
    add { $0.dropoutPermille += 1 }
    add { $0.maximumContributors += 1 }
    add { $0.stepDeadlineMilliseconds += 1 }
    add { $0.trainingDeadlineMilliseconds += 1 }
    add { $0.checkpoint += "x" }
    add { $0.issuedAtMilliseconds += 1 }
    add { $0.uploadKey = AgreementPublicKey(unchecked: [UInt8](repeating: 9, count: 32)) }
    add { $0.unit = .node }
    let identifiers = variants.map { SignedDescriptor($0, key: Fixture.serverKey).sessionID }
    #expect(Set(identifiers).count == variants.count)
  }

  @Test func `fields out of range are refused by name`() throws {
    typealias Case = (String, (inout WireRoundDescriptor) -> Void)
    let cases: [Case] = [
      ("protocol version", { $0.protocolVersion = 2 }), ("key stream", { $0.keyStream = "aes" }),
      ("kind", { $0.kind = "gossip" }), ("unit", { $0.unit = "planet" }),
      ("segments", { $0.segments = [] }),
      ("segments", { $0.segments = Array(repeating: $0.segments[0], count: 9) }),
      ("repeats a name", { $0.segments[1].name = $0.segments[0].name }),
      ("out of range", { $0.segments[0].name = "secrets" }),
      ("out of range", { $0.segments[0].population = "everybody" }),
      ("out of range", { $0.segments[0].length = 0 }),
      ("out of range", { $0.segments[0].length = .max }),
      ("too long", { for index in 0..<2 { $0.segments[index].length = 1 << 26 } }),
      ("out of range", { $0.segments[0].clipNorm = 0 }), ("out of range", { $0.segments[0].clipNorm = -1 }),
      ("out of range", { $0.segments[0].clipNorm = .nan }),
      ("out of range", { $0.segments[0].clipNorm = .infinity }),
      ("out of range", { $0.segments[0].scale = 0 }), ("out of range", { $0.segments[0].scale = .nan }),
      ("out of range", { $0.segments[0].scale = 1e13 }),
      ("out of range", { $0.segments[0].noiseVariance = -1 }),
      ("out of range", { $0.segments[0].noiseVariance = .nan }),
      ("out of range", { $0.segments[0].noiseVariance = .infinity }),
      ("task_digest", { $0.taskDigest.removeLast() }), ("task_digest", { $0.taskDigest.append(0) }),
      ("model_digest", { $0.modelDigest = Data() }), ("upload_key", { $0.uploadKey = Data([1]) }),
      ("size", { $0.federation = String(repeating: "x", count: 257) }),
      ("size", { $0.checkpoint = String(repeating: "x", count: 16_385) }),
    ]
    for (name, change) in cases { expectRefusal(name) { _ = try decode(wire(change)) } }
  }

  @Test func `unknown fields, trailing bytes and cut messages are refused`() throws {
    let bytes = try descriptor().encode()
    for count in 0..<bytes.count {
      #expect(throws: FederationError.self) { try decode(Array(bytes[..<count])) }
    }
    expectRefusal("the server", "RoundDescriptor") { _ = try decode(bytes + [0]) }
    expectUnknownFieldRefused { _ = try decode(bytes + Fixture.unknownField) }
    // Field 2 again: the last one wins in protobuf, so two encodings would mean the same.
    expectRefusal("non-canonical") { _ = try decode([0x12, 0x01, 0x41] + bytes) }
    expectRefusal("at most") { _ = try decode([UInt8](repeating: 0, count: MessageLimits.control + 1)) }
  }

  @Test func `mutated bytes never trap and never pass the signature`() throws {
    let signed = SignedDescriptor(try descriptor(), key: Fixture.serverKey)
    let serverKey = Fixture.serverKey.verifyingKey
    var random = RandomStream(testSeed: 5)
    for _ in 0..<4_000 {
      var bytes = signed.bytes
      for _ in 0...random.uniform(below: 3) {
        bytes[Int(random.uniform(below: UInt64(bytes.count)))] = UInt8(random.uniform(below: 256))
      }
      guard bytes != signed.bytes else { continue }
      if let decoded = try? decode(bytes) {
        #expect(firstDifference(decoded.encode(), bytes) == nil, "two encodings of one descriptor")
      }
    }
    for position in signed.bytes.indices {
      var bytes = signed.bytes
      bytes[position] ^= 1
      expectRefusal("the signature of the round descriptor") {
        _ = try SignedDescriptor(verifying: bytes, signature: signed.signature, serverKey: serverKey)
      }
    }
  }

  @Test func `only the server's signature over exactly these bytes counts`() throws {
    let signed = SignedDescriptor(try descriptor(), key: Fixture.serverKey)
    let read = try SignedDescriptor(
      verifying: signed.bytes, signature: signed.signature, serverKey: Fixture.serverKey.verifyingKey)
    #expect(read.descriptor == signed.descriptor)
    #expect(read.sessionID == signed.sessionID)
    #expect(read.bytes == signed.bytes)
    func refuse(_ bytes: [UInt8], _ signature: Signature, _ key: VerifyingKey) {
      expectRefusal("signature", "the server") {
        _ = try SignedDescriptor(verifying: bytes, signature: signature, serverKey: key)
      }
    }
    let server = Fixture.serverKey.verifyingKey
    refuse(signed.bytes, signed.signature, Fixture.identities[0].verifyingKey)
    refuse(signed.bytes, Fixture.identities[0].sign(domain: RoundDescriptor.domain, [signed.bytes]), server)
    refuse(signed.bytes, Fixture.serverKey.sign(domain: "accord/v1/task", [signed.bytes]), server)
    refuse(signed.bytes, Signature(unchecked: [UInt8](repeating: 0, count: 64)), server)
    refuse([], signed.signature, server)
    // Well signed nonsense is no descriptor either.
    let nonsense: [UInt8] = [1, 2, 3]
    expectRefusal("the server", "not a RoundDescriptor") {
      _ = try SignedDescriptor(
        verifying: nonsense, signature: Fixture.serverKey.sign(domain: RoundDescriptor.domain, [nonsense]),
        serverKey: server)
    }
  }
}
