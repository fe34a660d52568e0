import Foundation

/// A list of events as a file: what `accord privacy account --events FILE.json` reads.
///
///     {
///       "unit": "customer", "relation": "add/remove", "trustMode": "central",
///       "events": [
///         {"mechanism": {"kind": "gaussian", "noiseMultiplier": 1.1},
///          "sampling": {"kind": "poisson", "rate": 0.01}, "count": 1000},
///         {"mechanism": {"kind": "laplace", "noiseMultiplier": 20}}
///       ]
///     }
///
/// `events` alone is needed: the unit is a customer, the relation add/remove and the trust mode central
/// unless they are given. An event's `sampling` is none and its `count` 1 unless they are given. A file that
/// is an array is its events. A field that is not known is a mistake here, where a person wrote it, and so
/// is an event of an unknown kind: both are refused with their place.
package struct EventList: Sendable, Hashable {
  /// Whose whole contribution is hidden.
  package var unit: PrivacyUnit
  /// The neighbours that the events' sensitivities are for.
  package var relation: NeighbouringRelation
  /// Who adds the noise.
  package var trustMode: TrustMode
  /// What happened, in order.
  package var events: [PrivacyEvent]

  /// The largest file, in bytes.
  package static let maximumSize = 16 << 20

  /// A list of events; nothing is checked before they are accounted.
  package init(
    events: [PrivacyEvent], unit: PrivacyUnit = .customer, relation: NeighbouringRelation = .addRemove,
    trustMode: TrustMode = .central
  ) {
    self.events = events
    self.unit = unit
    self.relation = relation
    self.trustMode = trustMode
  }

  /// Reads the form above.
  ///
  /// Throws: `malformedEventList` with the place of the first mistake.
  package init(json: [UInt8]) throws(PrivacyError) {
    guard json.count <= Self.maximumSize else {
      throw .malformedEventList(place: "the file", reason: "it is larger than \(Self.maximumSize) bytes")
    }
    do {
      let data = Data(json)
      let first = json.first { ![0x20, 0x09, 0x0a, 0x0d].contains($0) }
      let list: Written
      if first == UInt8(ascii: "[") {
        list = Written(events: try JSONDecoder().decode([WrittenEvent].self, from: data))
      } else {
        list = try JSONDecoder().decode(Written.self, from: data)
      }
      unit = list.unit ?? .customer
      relation = list.relation ?? .addRemove
      trustMode = list.trustMode ?? .central
      events = list.events.map(\.event)
    } catch let error as DecodingError {
      throw Self.describe(error, in: json)
    } catch {
      throw .malformedEventList(place: "the file", reason: "it cannot be read as JSON")
    }
    for (index, event) in events.enumerated() { try Self.refuseUnknown(event, index) }
    guard !events.isEmpty else {
      throw .malformedEventList(place: "events", reason: "there are none")
    }
  }

  private static func refuseUnknown(_ event: PrivacyEvent, _ index: Int) throws(PrivacyError) {
    if case .unsupported(let name) = event.mechanism {
      throw .malformedEventList(
        place: "events[\(index)].mechanism", reason: "\"\(name)\" is not known to this version")
    }
    if case .unsupported(let name) = event.sampling {
      throw .malformedEventList(
        place: "events[\(index)].sampling", reason: "\"\(name)\" is not known to this version")
    }
    guard event.count >= 1 else {
      throw .malformedEventList(place: "events[\(index)].count", reason: "it must be at least 1")
    }
  }

  /// Where and why, from the decoder's own report.
  private static func describe(_ error: DecodingError, in json: [UInt8]) -> PrivacyError {
    let (context, missing): (DecodingError.Context, (any CodingKey)?) =
      switch error {
      case .keyNotFound(let key, let context): (context, key)
      case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
        (context, nil)
      @unknown default: (DecodingError.Context(codingPath: [], debugDescription: "it cannot be read"), nil)
      }
    var place = ""
    for key in context.codingPath + (missing.map { [$0] } ?? []) {
      if let index = key.intValue {
        place += place.isEmpty ? "events[\(index)]" : "[\(index)]"
      } else {
        place += place.isEmpty ? key.stringValue : ".\(key.stringValue)"
      }
    }
    var reason = missing == nil ? context.debugDescription : "it is missing"
    if context.codingPath.isEmpty, missing == nil { reason = syntaxError(json) ?? reason }
    while reason.hasSuffix(".") { reason.removeLast() }
    return .malformedEventList(place: place.isEmpty ? "the file" : place, reason: reason)
  }

  /// Where the text is not JSON, in the words of the older parser, which tells the line and the column; nil
  /// if it is JSON, so that a number did not fit its field.
  private static func syntaxError(_ json: [UInt8]) -> String? {
    do { _ = try JSONSerialization.jsonObject(with: Data(json), options: .fragmentsAllowed) } catch {
      return (error as NSError).userInfo["NSDebugDescription"] as? String
    }
    return nil
  }

  /// What an accountant makes of the list.
  ///
  /// Throws: `eventRefused` with the position of the event that it has no theorem for.
  package func account(_ kind: AccountantKind) throws(PrivacyError) -> any PrivacyAccountant {
    var accountant = kind.makeAccountant(relation: relation)
    try accountant.compose(all: events)
    return accountant
  }

  /// The mechanisms' names in order of first appearance, as a statement shows them.
  package var mechanismNames: String {
    var names: [String] = []
    for event in events where !names.contains(event.mechanism.name) { names.append(event.mechanism.name) }
    return names.joined(separator: " + ")
  }
}

/// The file as it is written.
private struct Written: Decodable {
  var unit: PrivacyUnit?
  var relation: NeighbouringRelation?
  var trustMode: TrustMode?
  var events: [WrittenEvent]

  init(events: [WrittenEvent]) { self.events = events }

  init(from decoder: any Decoder) throws {
    try WrittenKey.refuseOthers(than: ["unit", "relation", "trustMode", "events"], in: decoder)
    let fields = try decoder.container(keyedBy: WrittenKey.self)
    unit = try fields.decodeIfPresent(PrivacyUnit.self, forKey: WrittenKey("unit"))
    relation = try fields.decodeIfPresent(NeighbouringRelation.self, forKey: WrittenKey("relation"))
    trustMode = try fields.decodeIfPresent(TrustMode.self, forKey: WrittenKey("trustMode"))
    events = try fields.decode([WrittenEvent].self, forKey: WrittenKey("events"))
  }
}

/// An event as a person writes it, with defaults.
private struct WrittenEvent: Decodable {
  let event: PrivacyEvent

  init(from decoder: any Decoder) throws {
    try WrittenKey.refuseOthers(than: ["mechanism", "sampling", "count"], in: decoder)
    let fields = try decoder.container(keyedBy: WrittenKey.self)
    event = PrivacyEvent(
      mechanism: try fields.decode(PrivacyMechanism.self, forKey: WrittenKey("mechanism")),
      sampling: try fields.decodeIfPresent(PrivacySampling.self, forKey: WrittenKey("sampling")) ?? .none,
      count: try Self.count(fields))
  }

  /// A whole number; the decoder would not tell where one that is not stands.
  private static func count(_ fields: KeyedDecodingContainer<WrittenKey>) throws -> Int {
    let key = WrittenKey("count")
    guard let written = try fields.decodeIfPresent(Double.self, forKey: key) else { return 1 }
    guard let count = Int(exactly: written) else {
      throw DecodingError.dataCorruptedError(
        forKey: key, in: fields, debugDescription: "it must be a whole number")
    }
    return count
  }
}

private struct WrittenKey: CodingKey {
  let stringValue: String
  var intValue: Int? { nil }
  init(_ name: String) { stringValue = name }
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { nil }

  /// A misspelt field would otherwise be a default.
  static func refuseOthers(than known: Set<String>, in decoder: any Decoder) throws {
    let fields = try decoder.container(keyedBy: WrittenKey.self)
    guard let other = fields.allKeys.map(\.stringValue).filter({ !known.contains($0) }).min() else { return }
    throw DecodingError.dataCorrupted(
      .init(
        codingPath: decoder.codingPath + [WrittenKey(other)],
        debugDescription: "no such field; there are \(known.sorted().joined(separator: ", "))"))
  }
}
