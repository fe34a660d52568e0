import Consent

/// The numbers and identities of a consent, as the index has them.
struct ScannedEvent {
  var eventID = [UInt8](repeating: 0, count: 16)
  var subject = [UInt8](repeating: 0, count: 32)
  var state = 0
  var time: Int64 = 0
  var expires: Int64?
  var notBefore: Int64?
  var askAgain: Int64?
  var steps: Int64?
  var duration: Int64?
  /// Which form of the scanner it has.
  var form = 0

  init() {}

  init(_ event: ConsentEvent) {
    eventID = event.eventID.bytes
    subject = event.subject.bytes
    state = event.state.code
    time = event.eventTimeMs
    expires = event.expiresAtMs
    notBefore = event.notBeforeMs
    askAgain = event.askAgainAtMs
    steps = event.steps.map { Int64($0) }
    duration = event.durationMs
  }
}

/// Where the parts of a leaf stand, found without decoding them. Nil for what is not in the form; nil decides
/// nothing, `SignedStatement` reads it again and says why.
struct LeafFrame {
  /// Place, size and path of the batch; size 1 without a batch.
  private(set) var batchIndex = 0
  private(set) var batchSize = 1
  /// The base64 of the path.
  private(set) var path = 0..<0
  let content: Range<Int>
  let isConsent: Bool
  let recordedMs: Int64
  /// Hexadecimal.
  let signature: Range<Int>
  /// Hexadecimal.
  let signer: Range<Int>

  init?(_ bytes: [UInt8]) {
    var cursor = ByteCursor(bytes.count)
    guard bytes.count <= EntryCoding.maximumLeafBytes, cursor.accept(bytes, Mark.open) else { return nil }
    if cursor.accept(bytes, Mark.batch) {
      guard let index = cursor.integer(bytes), cursor.accept(bytes, Mark.path) else { return nil }
      let start = cursor.position
      guard let end = cursor.moveToQuote(bytes), cursor.accept(bytes, Mark.size),
        let size = cursor.integer(bytes), cursor.accept(bytes, Mark.endBatch),
        (2...Int64(SignedStatement.maximumBatch)).contains(size), index < size
      else { return nil }
      batchIndex = Int(index)
      batchSize = Int(size)
      path = start..<end
    }
    guard cursor.accept(bytes, Mark.content) else { return nil }
    let contentStart = cursor.position
    // From the end: everything there has a known length but the digits of the time.
    let signerEnd = bytes.count - Mark.end.count
    signer = (signerEnd - 64)..<signerEnd
    let signatureEnd = signer.lowerBound - Mark.signer.count
    signature = (signatureEnd - 128)..<signatureEnd
    var place = signature.lowerBound - Mark.signature.count
    guard place > contentStart, ByteCursor.matches(bytes, place, Mark.signature),
      ByteCursor.matches(bytes, signatureEnd, Mark.signer), ByteCursor.matches(bytes, signerEnd, Mark.end)
    else { return nil }
    let digitsEnd = place
    while place > contentStart, bytes[place - 1] &- 48 < 10 { place -= 1 }
    var digits = ByteCursor(digitsEnd, from: place)
    place -= Mark.recorded.count
    guard let recorded = digits.integer(bytes), digits.position == digitsEnd,
      recorded <= EntryCoding.latestTimeMs, place > contentStart,
      ByteCursor.matches(bytes, place, Mark.recorded)
    else { return nil }
    recordedMs = recorded
    let contentEnd = place - Mark.consent.count
    isConsent = contentEnd > contentStart && ByteCursor.matches(bytes, contentEnd, Mark.consent)
    content = contentStart..<max(contentStart, contentEnd)
  }

  private enum Mark {
    static let open = Array("{".utf8)
    static let batch = Array(#""batch":{"index":"#.utf8)
    static let path = Array(#","path":""#.utf8)
    static let size = Array(#"","size":"#.utf8)
    static let endBatch = Array("},".utf8)
    static let content = Array(#""content":"#.utf8)
    static let consent = EntryKind.consent.marker
    static let recorded = Array(#","recorded":"#.utf8)
    static let signature = Array(#","signature":""#.utf8)
    static let signer = Array(#"","signer":""#.utf8)
    static let end = Array(#""}"#.utf8)
  }
}

/// A place in bytes that moves forwards.
struct ByteCursor {
  private(set) var position: Int
  private let end: Int

  init(_ end: Int, from position: Int = 0) {
    self.position = position
    self.end = end
  }

  static func matches(_ bytes: [UInt8], _ start: Int, _ literal: [UInt8]) -> Bool {
    guard start >= 0, start + literal.count <= bytes.count else { return false }
    for offset in literal.indices where bytes[start &+ offset] != literal[offset] { return false }
    return true
  }

  mutating func accept(_ bytes: [UInt8], _ literal: [UInt8]) -> Bool {
    guard position + literal.count <= end, Self.matches(bytes, position, literal) else { return false }
    position += literal.count
    return true
  }

  /// A number as `CanonicalReader` takes it.
  mutating func integer(_ bytes: [UInt8]) -> Int64? {
    let start = position
    var value: Int64 = 0
    while position < end, case let digit = bytes[position] &- 48, digit < 10 {
      guard position - start < 18 else { return nil }
      value = value &* 10 &+ Int64(digit)
      position += 1
    }
    guard position > start, bytes[start] != 48 || position == start + 1 else { return nil }
    return value
  }

  /// Moves to the next quotation mark; its place.
  mutating func moveToQuote(_ bytes: [UInt8]) -> Int? {
    while position < end {
      if bytes[position] == 0x22 { return position }
      position += 1
    }
    return nil
  }

  /// Skips a text with escapes after its opening quotation mark, and its closing one.
  mutating func skipText(_ bytes: [UInt8]) -> Bool {
    while position < end {
      switch bytes[position] {
      case 0x22:
        position += 1
        return true
      case 0x5c: position += 2
      default: position += 1
      }
    }
    return false
  }

  /// Decodes lower-case hexadecimal into the front of a buffer, and skips the closing quotation mark.
  mutating func hex(_ bytes: [UInt8], count: Int, into output: inout [UInt8]) -> Bool {
    guard position + 2 * count < end, bytes[position + 2 * count] == 0x22 else { return false }
    var place = position
    for byte in 0..<count {
      let high = hexValues[Int(bytes[place])]
      let low = hexValues[Int(bytes[place &+ 1])]
      guard high | low < 16 else { return false }
      output[byte] = high &<< 4 | low
      place &+= 2
    }
    position = place + 1
    return true
  }
}

/// The value of a hexadecimal digit, 255 for other bytes.
let hexValues: [UInt8] = (0..<256).map { byte -> UInt8 in
  switch UInt8(byte) {
  case 48...57: UInt8(byte) - 48
  case 97...102: UInt8(byte) - 87
  default: 255
  }
}

/// Reads a consent's content in place.
struct ConsentText {
  /// The bytes that belong to the form, in pieces.
  private(set) var pieces: [Range<Int>] = []
  /// Which optional fields outside the form are there.
  private(set) var present: UInt32 = 0
  private var scratch = [UInt8](repeating: 0, count: 32)

  init() { pieces.reserveCapacity(24) }

  private enum Shape {
    /// Part of the form: a text, or the purpose's version.
    case text, number
    /// Outside the form.
    case identity, subject, digest, time
  }

  private struct Field {
    let literal: [UInt8]
    let shape: Shape
    let isOptional: Bool
    let name: String

    init(_ name: String, _ shape: Shape, optional: Bool = false) {
      self.name = name
      self.shape = shape
      isOptional = optional
      let quote = shape == .number || shape == .time ? "" : "\""
      literal = Array("\(name == "actor" ? "{" : ",")\"\(name)\":\(quote)".utf8)
    }
  }

  private static let fields = [
    Field("actor", .text), Field("age_band", .text), Field("ask_again", .time, optional: true),
    Field("channel", .text), Field("commitment", .digest, optional: true), Field("consent_type", .text),
    Field("duration_ms", .time, optional: true), Field("event_id", .identity),
    Field("expires_at", .time, optional: true), Field("jurisdiction", .text),
    Field("language", .text, optional: true), Field("legal_basis", .text), Field("method", .text),
    Field("not_before", .time, optional: true), Field("notice", .text, optional: true),
    Field("policy", .text, optional: true), Field("previous", .identity, optional: true),
    Field("purpose", .text), Field("purpose_version", .number), Field("record_id", .identity),
    Field("recorder", .text), Field("regime", .text), Field("screen", .digest, optional: true),
    Field("state", .text), Field("steps", .time, optional: true), Field("subject", .subject),
    Field("time", .time),
  ]
  private static let states: [[UInt8]] = ConsentState.allCases.map { Array($0.rawValue.utf8) }
  private enum Place {
    static let askAgain = 2
    static let duration = 6
    static let eventID = 7
    static let expires = 8
    static let notBefore = 13
    static let state = 23
    static let steps = 24
    static let time = 26
  }

  /// Whether the content has the form of a consent. What belongs to the form is found but not judged.
  mutating func read(_ bytes: [UInt8], _ frame: LeafFrame, into event: inout ScannedEvent) -> Bool {
    pieces.removeAll(keepingCapacity: true)
    present = 0
    event.expires = nil
    event.notBefore = nil
    event.askAgain = nil
    event.steps = nil
    event.duration = nil
    var cursor = ByteCursor(frame.content.upperBound, from: frame.content.lowerBound)
    var pieceStart = cursor.position
    for place in Self.fields.indices {
      let start = cursor.position
      if !cursor.accept(bytes, Self.fields[place].literal) {
        guard Self.fields[place].isOptional else { return false }
        continue
      }
      switch Self.fields[place].shape {
      case .text:
        let text = cursor.position
        guard cursor.skipText(bytes) else { return false }
        if place == Place.state {
          guard let state = Self.state(bytes, text..<(cursor.position - 1)) else { return false }
          event.state = state
        }
        continue
      case .number:
        guard cursor.integer(bytes) != nil else { return false }
        continue
      case .identity:
        guard cursor.hex(bytes, count: 16, into: &scratch) else { return false }
        if place == Place.eventID { for byte in 0..<16 { event.eventID[byte] = scratch[byte] } }
      case .subject: guard cursor.hex(bytes, count: 32, into: &event.subject) else { return false }
      case .digest: guard cursor.hex(bytes, count: 32, into: &scratch) else { return false }
      case .time:
        guard let value = cursor.integer(bytes) else { return false }
        switch place {
        case Place.askAgain: event.askAgain = value
        case Place.duration: event.duration = value
        case Place.expires: event.expires = value
        case Place.notBefore: event.notBefore = value
        case Place.steps: event.steps = value
        default: event.time = value
        }
      }
      if Self.fields[place].isOptional { present |= 1 << UInt32(place) }
      if start > pieceStart { pieces.append(pieceStart..<start) }
      pieceStart = cursor.position
    }
    // The closing brace, and nothing after it.
    return cursor.position == frame.content.upperBound - 1 && bytes[cursor.position] == 0x7d
  }

  private static func state(_ bytes: [UInt8], _ range: Range<Int>) -> Int? {
    states.firstIndex { $0.count == range.count && ByteCursor.matches(bytes, range.lowerBound, $0) }
  }
}
