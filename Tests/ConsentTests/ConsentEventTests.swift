import Consent
import Testing

private func valid() -> ConsentEvent {
  Make.event(.given, time: 1000, expires: 2000)
}

@Test func `accepts a complete record`() throws {
  try valid().validate()
}

@Test(arguments: [
  "empty purpose", "long channel", "control character", "version zero", "negative time", "late time",
  "short notice hash", "upper-case notice hash", "grant for every purpose", "grant under a prohibition",
  "expiry of a withdrawal", "expiry before the event",
])
func `refuses a record with`(fault: String) throws {
  var event = valid()
  switch fault {
  case "empty purpose": event.purpose = Purpose(id: "", version: 1)
  case "long channel": event.channel = String(repeating: "x", count: 65)
  case "control character": event.recorder = "a\nb"
  case "version zero": event.purpose = Purpose(id: "p", version: 0)
  case "negative time": event.eventTimeMs = -1
  case "late time": event.eventTimeMs = ConsentEvent.latestTimeMs + 1
  case "short notice hash": event.noticeHash = "abcd"
  case "upper-case notice hash": event.noticeHash = String(repeating: "AB", count: 32)
  case "grant for every purpose": event.purpose = .every
  case "grant under a prohibition": event.regime = .prohibited
  case "expiry of a withdrawal": event.state = .withdrawn
  default: event.expiresAtMs = 999
  }
  #expect(throws: ConsentError.self) { try event.validate() }
}

@Test func `reads tags and identifiers only in their one form`() throws {
  let text = String(repeating: "0f", count: 32)
  #expect(try SubjectTag(hex: text).hex == text)
  #expect(throws: ConsentError.malformedText(field: "subject tag")) {
    try SubjectTag(hex: text.uppercased())
  }
  #expect(throws: ConsentError.wrongLength(field: "subject tag", expected: 32, actual: 31)) {
    try SubjectTag(hex: String(text.dropLast(2)))
  }
  #expect(throws: ConsentError.malformedText(field: "event id")) { try EventID(hex: "abc") }
}
