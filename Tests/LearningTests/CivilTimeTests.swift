import Foundation
import Testing

@testable import Learning

@Suite struct CivilTimeTests {
  @Test(
    arguments: [
      ("1970-01-01", 0), ("1969-12-31T23:59:59", -1), ("2011-12-09", 1_323_388_800),
      ("2011-12-09 08:26:00", 1_323_419_160), ("2011-12-09T08:26:00Z", 1_323_419_160),
      ("2011-12-09T08:26", 1_323_419_160), ("2011-12-09T08:26:00.999999999", 1_323_419_160),
      ("2000-02-29", 951_782_400), ("0001-01-01", -62_135_596_800), ("9999-12-31T23:59:59", 253_402_300_799),
    ] as [(String, Int64)])
  func `reads ISO 8601`(text: String, seconds: Int64) {
    #expect(CivilTime(iso8601: text)?.seconds == seconds)
  }

  @Test(arguments: [
    "", "2011", "2011-12", "2011-12-9", "09/12/2011", "2011-13-01", "2011-00-01", "2011-02-29", "1900-02-29",
    "2011-04-31", "2011-12-32", "2011-12-00", "0000-01-01", "20111209", "+2011-12-09", "2011-12-09T",
    "2011-12-09 ",
    " 2011-12-09", "2011-12-09Z", "2011-12-09T8:26", "2011-12-09T24:00:00", "2011-12-09T23:60",
    "2011-12-09T23:59:60",
    "2011-12-09T08:26:00+01:00", "2011-12-09T08:26:00.", "2011-12-09T08:26:00.1234567890", "2011-12-09t08:26",
    "2011-12-09T08:26:00ZZ", "２０１１-12-09", "2011-12-09T08", "2011-12-0:", "12011-12-09",
  ])
  func `refuses what is no such text`(text: String) {
    #expect(CivilTime(iso8601: text) == nil)
  }

  /// Foundation's calendar is another implementation of the same from 1583 on; what was before it is shifted by
  /// whole cycles of 400 years, which are a whole number of weeks.
  @Test func `agrees with another calendar over the whole range`() throws {
    var calendar = Calendar(identifier: .iso8601)
    calendar.timeZone = try #require(TimeZone(secondsFromGMT: 0))
    let cycle = 146_097 * CivilTime.daySeconds
    let reform: CivilTime = try #require(CivilTime(iso8601: "1583-01-01"))
    let range = UInt64(CivilTime.last.seconds - CivilTime.first.seconds)
    var draws = SplitMix64(seed: 3)
    for _ in 0..<2_000 {
      let time: CivilTime = try #require(
        CivilTime(seconds: CivilTime.first.seconds + Int64(draws.next() % (range + 1))))
      #expect(CivilTime(iso8601: time.description) == time)
      let cycles: Int64 = time < reform ? 4 : 0
      let parts = calendar.dateComponents(
        [.year, .month, .day, .weekday, .hour],
        from: Date(timeIntervalSince1970: Double(time.seconds + cycles * cycle)))
      #expect(parts.hour == time.hour && parts.month == time.month)
      // Foundation counts from Sunday 1.
      #expect(parts.weekday.map { ($0 + 5) % 7 } == time.weekday)
      #expect(parts.year.map { $0 - Int(cycles) * 400 } == Int(time.description.prefix(4)))
      #expect(parts.day == Int(time.description.dropFirst(8).prefix(2)))
    }
  }

  @Test func `any bytes are read or refused`() throws {
    var draws = SplitMix64(seed: 8)
    let seed = Array("2011-12-09T08:26:00.5Z".utf8)
    for _ in 0..<20_000 {
      var bytes = seed
      for _ in 0..<1 + draws.next() % 3 {
        bytes[Int(draws.next() % UInt64(bytes.count))] = UInt8(draws.next() & 0x7f)
      }
      bytes.removeLast(Int(draws.next() % UInt64(bytes.count)))
      if let time = CivilTime(iso8601: String(decoding: bytes, as: UTF8.self)) {
        #expect(time >= .first && time <= .last)
      }
    }
  }

  @Test func `counts days, also in part`() throws {
    let noon = try #require(CivilTime(iso8601: "2011-12-09T12:00"))
    let next = try #require(CivilTime(iso8601: "2011-12-10"))
    #expect(next.days(since: noon) == 0.5 && noon.days(since: next) == -0.5)
    #expect(CivilTime(days: 15_317.5) == noon)
    #expect(CivilTime(days: -0.000_01)?.description == "1969-12-31T23:59:59")
    #expect(
      CivilTime(days: 1e300) == nil && CivilTime(days: .nan) == nil && CivilTime(days: 20_111_209) == nil)
  }

  @Test func `travels as text`() throws {
    let times = try ["2011-12-09", "2011-12-09T08:26:05"].map { try #require(CivilTime(iso8601: $0)) }
    let bytes = try JSONEncoder().encode(times)
    #expect(String(decoding: bytes, as: UTF8.self) == #"["2011-12-09","2011-12-09T08:26:05"]"#)
    #expect(try JSONDecoder().decode([CivilTime].self, from: bytes) == times)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode([CivilTime].self, from: Data(#"["tomorrow"]"#.utf8))
    }
  }
}
