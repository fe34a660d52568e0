package import Cryptography
import Foundation

/// The canonical form of entries: UTF-8 JSON, keys sorted, no spaces,
/// `{"content":…,"kind":"…","signature":"…","signer":"…"}`. The leaf's bytes are stored and hashed verbatim;
/// what does not encode back to the same bytes is refused, so one entry has one form. The signature is over
/// the bytes of `content` as they stand in the leaf, framed with the kind and the signer's key.
package enum EntryCoding {
  /// Longer leaves are refused, in bytes.
  package static let maximumLeafBytes = 16_384

  /// What is signed for a content of a kind.
  package static func signingBytes(_ kind: EntryKind, _ signer: VerifyingKey, _ content: [UInt8]) -> [UInt8] {
    Hash.framed(domain: "accord ledger \(kind.rawValue) v1", [signer.bytes, content])
  }

  static func leaf(
    content: [UInt8], kind: EntryKind, signature: Signature, signer: VerifyingKey
  ) throws(LedgerError) -> [UInt8] {
    let leaf =
      head + content + marker(kind) + Array(signature.hex.utf8) + middle + Array(signer.hex.utf8) + tail
    guard leaf.count <= maximumLeafBytes else {
      throw .entryTooLarge(bytes: leaf.count, maximum: maximumLeafBytes)
    }
    return leaf
  }

  /// Takes a leaf apart at the fixed places of the canonical form.
  static func parse(_ leaf: [UInt8]) throws(LedgerError) -> Envelope {
    guard leaf.count <= maximumLeafBytes else {
      throw .entryTooLarge(bytes: leaf.count, maximum: maximumLeafBytes)
    }
    let endOfContent = leaf.count - tail.count - 64 - middle.count - 128
    guard leaf.starts(with: head), leaf.suffix(tail.count).elementsEqual(tail) else { throw .noEnvelope }
    for kind in EntryKind.allCases {
      let marker = marker(kind)
      let start = endOfContent - marker.count
      guard start > head.count, leaf[start..<endOfContent].elementsEqual(marker) else { continue }
      let endOfSignature = endOfContent + 128
      let signer = endOfSignature + middle.count
      guard leaf[endOfSignature..<signer].elementsEqual(middle),
        let signatureBytes = lowerHex(leaf[endOfContent..<endOfSignature]),
        let signerBytes = lowerHex(leaf[signer..<(signer + 64)])
      else { throw .noEnvelope }
      return Envelope(
        content: Array(leaf[head.count..<start]), kind: kind, signature: Signature(unchecked: signatureBytes),
        signer: VerifyingKey(unchecked: signerBytes))
    }
    throw .noEnvelope
  }

  struct Envelope {
    let content: [UInt8]
    let kind: EntryKind
    let signature: Signature
    let signer: VerifyingKey

    var isSigned: Bool {
      signer.verifies(signature, of: EntryCoding.signingBytes(kind, signer, content))
    }
  }

  static func encode(_ content: some Encodable) throws(LedgerError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(content))
    } catch {
      throw .malformedEntry("a number is not finite or a text cannot be encoded")
    }
  }

  static func decode<Content: Codable>(_ type: Content.Type, _ bytes: [UInt8]) throws(LedgerError) -> Content
  {
    let content: Content
    do {
      content = try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw .malformedEntry("a field is missing or of the wrong type")
    }
    // Unknown and repeated fields, spaces, other orders and other spellings of a number all end here.
    guard try encode(content) == bytes else { throw .malformedEntry("it is not in the canonical form") }
    return content
  }

  private static let head = Array(#"{"content":"#.utf8)
  private static let middle = Array(#"","signer":""#.utf8)
  private static let tail = Array(#""}"#.utf8)
  private static let markers: [EntryKind: [UInt8]] = Dictionary(
    uniqueKeysWithValues: EntryKind.allCases.map {
      ($0, Array(#","kind":"\#($0.rawValue)","signature":""#.utf8))
    })

  private static func marker(_ kind: EntryKind) -> [UInt8] { markers[kind, default: []] }

  private static func lowerHex(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    guard text.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else { return nil }
    return Hex.decode(String(decoding: text, as: UTF8.self))
  }
}

extension LedgerError {
  fileprivate static var noEnvelope: LedgerError {
    .malformedEntry("it is not content, kind, signature and signer in the canonical form")
  }
}

extension LedgerEntry {
  /// What the signer signed.
  package func signingBytes() throws(LedgerError) -> [UInt8] {
    EntryCoding.signingBytes(kind, signer, try canonicalContent())
  }

  /// The leaf. Throws when a field is out of range or the leaf would be too long.
  package func leafBytes() throws(LedgerError) -> [UInt8] {
    try EntryCoding.leaf(
      content: try canonicalContent(), kind: kind, signature: signature, signer: signer)
  }

  /// Reads a leaf strictly, checks every field and the signature. Whether the signer may sign is not
  /// decided here.
  package init(leaf: [UInt8]) throws(LedgerError) {
    let envelope = try EntryCoding.parse(leaf)
    self = try LedgerEntry(envelope: envelope)
    guard envelope.isSigned else { throw .wrongSignature(signer: envelope.signer) }
  }

  init(envelope: EntryCoding.Envelope) throws(LedgerError) {
    let content = envelope.content
    switch envelope.kind {
    case .consent:
      let event = try EntryCoding.decode(ConsentContent.self, content).event()
      self = .consent(event, recorder: envelope.signer, signature: envelope.signature)
    case .enrolment:
      let wire = try EntryCoding.decode(EnrolmentContent.self, content)
      self = .enrolment(try wire.record(envelope.signer, envelope.signature))
    case .round:
      let record = try EntryCoding.decode(RoundContent.self, content).record()
      self = .round(record, server: envelope.signer, signature: envelope.signature)
    case .notice:
      let record = try EntryCoding.decode(NoticeContent.self, content).record()
      self = .notice(record, author: envelope.signer, signature: envelope.signature)
    }
  }

  func canonicalContent() throws(LedgerError) -> [UInt8] {
    switch self {
    case .consent(let event, _, _): try event.canonicalContent()
    case .enrolment(let record): try record.canonicalContent()
    case .round(let record, _, _): try record.canonicalContent()
    case .notice(let record, _, _): try record.canonicalContent()
    }
  }
}
