import Foundation

/// What all entries share (protocol/CONSENT-LEDGER.md, section 1).
package enum EntryCoding {
  /// Longer leaves are refused, in bytes: an entry bundle gives a leaf's length 16 bits.
  package static let maximumLeafBytes = 60_000
  /// How far a statement's own time may be ahead of the time at which the ledger takes it.
  package static let allowedClockSkewMs: Int64 = 300_000
  /// The end of the year 9999.
  static let latestTimeMs: Int64 = 253_402_300_799_999

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
    guard try encode(content) == bytes else { throw .notCanonical }
    return content
  }
}

extension EntryKind {
  /// What stands after the content.
  var marker: [UInt8] { EntryKind.markers[self, default: []] }
  /// The domain of the statement's item.
  var domain: String { EntryKind.domains[self, default: ""] }

  private static let markers: [EntryKind: [UInt8]] = Dictionary(
    uniqueKeysWithValues: allCases.map { ($0, Array(#","kind":"\#($0.rawValue)""#.utf8)) })
  private static let domains: [EntryKind: String] = Dictionary(
    uniqueKeysWithValues: allCases.map { ($0, "accord ledger \($0.rawValue) v2") })
}
