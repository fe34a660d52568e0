import Crypto
import Foundation
import SwiftASN1
import X509

/// The server's TLS certificate: self-signed, made on first start, pinned by nodes through `trust.json`.
enum TLSIdentity {
  /// A new P-256 key and certificate for `host` and the loopback names, as PEM texts. Ten years: nodes pin
  /// this very certificate, so its end is a configuration change, not a matter of trust.
  static func make(host: String, now: Date) throws -> (certificate: String, privateKey: String) {
    let key = Certificate.PrivateKey(P256.Signing.PrivateKey())
    let name = try DistinguishedName { CommonName("Accord aggregation server") }
    var names: [GeneralName] = [
      .dnsName("localhost"), .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
    ]
    if let address = ipv4(host) {
      if address != [127, 0, 0, 1] {
        names.append(.ipAddress(ASN1OctetString(contentBytes: ArraySlice(address))))
      }
    } else if host != "localhost" {
      names.append(.dnsName(host))
    }
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(), publicKey: key.publicKey,
      notValidBefore: now.addingTimeInterval(-3600),
      notValidAfter: now.addingTimeInterval(10 * 365 * 86_400), issuer: name, subject: name,
      extensions: try Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
        Critical(KeyUsage(digitalSignature: true, keyCertSign: true))
        try ExtendedKeyUsage([.serverAuth])
        SubjectAlternativeNames(names)
      }, issuerPrivateKey: key)
    return (
      try certificate.serializeAsPEM().pemString, try key.serializeAsPEM().pemString
    )
  }

  private static func ipv4(_ host: String) -> [UInt8]? {
    let parts = host.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
    guard parts.count == 4, !parts.contains(nil) else { return nil }
    return parts.compactMap { $0 }
  }
}
