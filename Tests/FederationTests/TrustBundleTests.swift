import Cryptography
import Federation
import Foundation
import Testing

@Suite struct TrustBundleTests {
  private var bundle: TrustBundle {
    TrustBundle(
      federation: Fixture.federation, url: "https://localhost:1", certificate: "PEM",
      serverKey: Fixture.identities[0].verifyingKey, operatorKey: Fixture.identities[1].verifyingKey,
      logKey: Fixture.identities[2].verifyingKey, freshnessKey: Fixture.identities[3].verifyingKey)
  }

  private func refuse(_ fragment: String, _ change: (inout TrustBundle) -> Void) throws {
    var changed = bundle
    change(&changed)
    let bytes = try changed.encode()
    expectRefusal("/etc/trust.json", fragment) {
      _ = try TrustBundle.decode(bytes, source: "/etc/trust.json")
    }
  }

  @Test func `a bundle survives its file and names its four keys`() throws {
    let bytes = try bundle.encode()
    #expect(bytes.last == 10)
    let read = try TrustBundle.decode(bytes, source: "trust.json")
    #expect(read == bundle)
    let keys = try read.keys()
    #expect(
      [keys.server, keys.operator, keys.log, keys.freshness]
        == Fixture.identities.prefix(4).map(\.verifyingKey))
  }

  @Test func `a key that is none is refused`() throws {
    try refuse("Ed25519 public key") { $0.serverKey = "zz" }
    try refuse("Ed25519 public key") { $0.operatorKey.removeLast(2) }
    try refuse("Ed25519 public key") { $0.logKey += "00" }
    try refuse("Ed25519 public key") { $0.freshnessKey = "" }
  }

  @Test func `another version and other files are refused`() throws {
    try refuse("is 2 but should be 1") { $0.version = 2 }
    for text in ["", "{}", "[]", "null", "certainly not JSON"] {
      expectRefusal("my.json", "not a trust bundle") {
        _ = try TrustBundle.decode(Array(text.utf8), source: "my.json")
      }
    }
    let bytes = try bundle.encode()
    for count in stride(from: 0, to: bytes.count - 3, by: 11) {
      expectRefusal("my.json") { _ = try TrustBundle.decode(Array(bytes[..<count]), source: "my.json") }
    }
  }
}
