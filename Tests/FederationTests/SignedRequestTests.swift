import Cryptography
import Federation
import Foundation
import Messages
import SwiftProtobuf
import Testing

@Suite struct SignedRequestTests {
  private let key = Fixture.identities[0]
  private let sid = Fixture.digest("session")
  private let tolerance = SignedRequest.clockToleranceMilliseconds

  private func request(_ kind: SignedRequest.Kind = .shares, session: Digest? = nil) -> [UInt8] {
    SignedRequest.sign(kind, payload: [1, 2, 3], session: session, nowMilliseconds: Fixture.now, key: key)
  }

  private func read(
    _ bytes: [UInt8], _ kind: SignedRequest.Kind = .shares, now: UInt64 = Fixture.now
  ) throws -> SignedRequest {
    try SignedRequest(bytes, expecting: kind, nowMilliseconds: now)
  }

  private func changed(_ change: (inout WireSignedRequest) -> Void) throws -> [UInt8] {
    var wire = try decodeMessage(WireSignedRequest.self, from: request(session: sid))
    change(&wire)
    return encodeMessage(wire)
  }

  @Test(arguments: SignedRequest.Kind.allCases)
  func `a request is read as it was signed, and as nothing else`(kind: SignedRequest.Kind) throws {
    for session in [sid, nil] {
      let read = try read(request(kind, session: session), kind)
      #expect(read.kind == kind)
      #expect(read.sender == key.verifyingKey)
      #expect(read.sentAtMilliseconds == Fixture.now)
      #expect(read.session == session)
      #expect(read.payload == [1, 2, 3])
    }
    for other in SignedRequest.Kind.allCases where other != kind {
      expectRefusal("the kind of request is \(kind.rawValue) but should be \(other.rawValue)") {
        _ = try self.read(request(kind), other)
      }
    }
  }

  @Test func `every signed field is covered by the signature`() throws {
    let changes: [(inout WireSignedRequest) -> Void] = [
      { $0.sentAtMs += 1 }, { $0.session = Data(count: 32) }, { $0.session = Data() },
      { $0.payload.append(4) }, { $0.payload = Data() }, { $0.signature = Data(count: 64) },
      { $0.sender = Data(Fixture.identities[1].verifyingKey.bytes) },
    ]
    for change in changes {
      expectRefusal("the signature of the shares request does not match") { _ = try read(changed(change)) }
    }
    // A request of another kind cannot be renamed to the expected one.
    var renamed = try decodeMessage(WireSignedRequest.self, from: request(.model))
    renamed.kind = SignedRequest.Kind.shares.rawValue
    expectRefusal("signature") { _ = try read(encodeMessage(renamed)) }
    // Bytes moved from one field to the next.
    expectRefusal("signature") {
      _ = try read(changed { wire in (wire.session, wire.payload) = (Data(), wire.session + wire.payload) })
    }
  }

  @Test func `fields of the wrong length are refused by name`() throws {
    expectRefusal("sender") { _ = try read(changed { $0.sender.removeLast() }) }
    expectRefusal("sender") { _ = try read(changed { $0.sender = Data() }) }
    expectRefusal("signature", "64 bytes") { _ = try read(changed { $0.signature.append(0) }) }
    // A session identifier of the wrong length, well signed.
    var wire = WireSignedRequest()
    wire.kind = "shares"
    wire.sender = Data(key.verifyingKey.bytes)
    wire.sentAtMs = Fixture.now
    wire.session = Data([1, 2, 3])
    let parts: [[UInt8]] = [
      Array("shares".utf8), key.verifyingKey.bytes,
      withUnsafeBytes(of: Fixture.now.littleEndian) { Array($0) }, [1, 2, 3], [],
    ]
    wire.signature = Data(key.sign(domain: "accord/v1/request", parts).bytes)
    expectRefusal("session", "32 bytes") { _ = try read(encodeMessage(wire)) }
  }

  @Test func `a clock may be off by the tolerance and not by a millisecond more`() throws {
    let bytes = request()
    for now in [Fixture.now + tolerance, Fixture.now - tolerance] { _ = try read(bytes, now: now) }
    for now in [Fixture.now + tolerance + 1, Fixture.now - tolerance - 1, 0, .max] {
      expectRefusal("the clock of node \(key.verifyingKey.hex.prefix(12))") { _ = try read(bytes, now: now) }
    }
    let future = SignedRequest.sign(
      .shares, payload: [], session: nil, nowMilliseconds: .max, key: key)
    expectRefusal("the clock") { _ = try read(future, now: 0) }
  }

  @Test func `unknown fields, trailing bytes, cut and oversized requests are refused`() throws {
    let bytes = request(session: sid)
    for count in bytes.indices {
      #expect(throws: FederationError.self) { try read(Array(bytes[..<count])) }
    }
    expectUnknownFieldRefused { _ = try read(bytes + Fixture.unknownField) }
    expectRefusal("a client") { _ = try read(bytes + [0]) }
    expectRefusal("at most 8") {
      _ = try SignedRequest(bytes, expecting: .shares, nowMilliseconds: Fixture.now, limit: 8)
    }
    var random = RandomStream(testSeed: 3)
    for _ in 0..<3_000 {
      var mutated = bytes
      mutated[Int(random.uniform(below: UInt64(bytes.count)))] ^= UInt8(1 + random.uniform(below: 255))
      #expect(throws: FederationError.self) { try read(mutated) }
    }
  }

  @Test func `an unknown kind is refused without being repeated in full`() throws {
    let long = String(repeating: "x", count: 100_000)
    do {
      _ = try read(changed { $0.kind = long })
      Issue.record("an unknown kind was accepted")
    } catch let error as FederationError {
      #expect(error.description.utf8.count < 300)
    }
  }
}
