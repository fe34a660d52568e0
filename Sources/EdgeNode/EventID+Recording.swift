package import Consent
package import Cryptography

extension PolicyPurpose {
  /// The notice in a language, or the only one there is.
  func notice(in language: String?) -> PolicyNotice? {
    guard let language else { return notices.count == 1 ? notices.first : nil }
    return notices.first { $0.language == language }
  }
}

extension EventID {
  /// An identifier that sorts by time, so that indexes grow at their end: 48 bits of the time in milliseconds,
  /// then 80 random bits (the layout of RFC 9562's UUID version 7 without its version bits).
  package static func ordered(timeMs: Int64, using random: inout RandomStream) throws(ConsentError) -> EventID
  {
    let time = withUnsafeBytes(of: UInt64(bitPattern: timeMs).bigEndian) { Array($0) }
    return try EventID(Array(time.suffix(6)) + random.bytes(10))
  }

  /// The consent record of a subject and purpose.
  package static func record(of tag: SubjectTag, purpose: String) -> EventID {
    let digest = Hash.blake2b(domain: "accord consent record v1", [tag.bytes, Array(purpose.utf8)])
    // 16 bytes are what an identifier has.
    guard let id = try? EventID(Array(digest.bytes.prefix(byteCount))) else {
      preconditionFailure("an identifier has 16 bytes")
    }
    return id
  }
}
