/// A second of the proleptic Gregorian calendar from the year 1 to 9999, without a time zone: what the clock on
/// the shop's wall says. Leap seconds do not exist.
package struct CivilTime: Comparable, Hashable, Sendable {
  /// The seconds of a day.
  package static let daySeconds: Int64 = 86_400
  /// 0001-01-01 00:00:00.
  package static let first = CivilTime(unchecked: -62_135_596_800)
  /// 9999-12-31 23:59:59.
  package static let last = CivilTime(unchecked: 253_402_300_799)

  /// Seconds since 1970-01-01 00:00:00.
  package let seconds: Int64

  private init(unchecked seconds: Int64) { self.seconds = seconds }

  /// The moment so many seconds after 1970-01-01 00:00:00; nil outside of `first` … `last`.
  package init?(seconds: Int64) {
    guard (Self.first.seconds...Self.last.seconds).contains(seconds) else { return nil }
    self.init(unchecked: seconds)
  }

  /// The moment so many days, also in part, after 1970-01-01 00:00:00, to the nearest second; nil outside of
  /// `first` … `last` and for what is not finite.
  package init?(days: Double) {
    let seconds = (days * Double(Self.daySeconds)).rounded()
    guard let whole = Int64(exactly: seconds) else { return nil }
    self.init(seconds: whole)
  }

  /// Reads ISO 8601's extended format: `2011-12-09`, `2011-12-09T08:26`, `2011-12-09 08:26:00`, each time also
  /// with a fraction of a second, which is cut off, and with a `Z`, which says nothing here. Nil for everything
  /// else: other orders, other lengths, days and times that do not exist, and offsets from UTC, which would
  /// make another clock of it.
  package init?(iso8601 text: String) {
    var text = text
    let seconds = text.withUTF8 { bytes -> Int64? in
      var reader = Reader(bytes: bytes)
      return reader.seconds()
    }
    guard let seconds else { return nil }
    self.init(unchecked: seconds)
  }

  package static func < (left: CivilTime, right: CivilTime) -> Bool { left.seconds < right.seconds }

  /// The day, counted from 1970-01-01.
  package var day: Int64 {
    // Rounded down, also before 1970.
    let quotient = seconds / Self.daySeconds
    return seconds % Self.daySeconds < 0 ? quotient - 1 : quotient
  }

  /// The hour, 0 … 23.
  package var hour: Int { Int((seconds - day * Self.daySeconds) / 3_600) }

  /// The day of the week, Monday 0 … Sunday 6 (ISO 8601's number less one).
  package var weekday: Int {
    // 1970-01-01 was a Thursday; the sum is not negative from the year 1 on.
    Int((day + 3 + 7 * 110_000) % 7)
  }

  /// The month, 1 … 12.
  package var month: Int { Self.date(ofDay: day).month }

  /// The days from another moment to this one, negative if it is later.
  package func days(since other: CivilTime) -> Double {
    Double(seconds - other.seconds) / Double(Self.daySeconds)
  }

  /// The date of a day (Howard Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
  private static func date(ofDay day: Int64) -> (year: Int64, month: Int, day: Int64) {
    // Years from March on, in eras of 400; days of the calendar here are never before the first era.
    let shifted = day + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shiftedMonth = (5 * dayOfYear + 2) / 153
    let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
    return (
      yearOfEra + era * 400 + (month <= 2 ? 1 : 0), Int(month), dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
    )
  }

  /// The day of a date that exists (`days_from_civil` of the same source).
  private static func day(year: Int64, month: Int64, day: Int64) -> Int64 {
    let shiftedYear = month <= 2 ? year - 1 : year
    let era = shiftedYear / 400
    let yearOfEra = shiftedYear - era * 400
    let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  /// Reads bytes from the left.
  private struct Reader {
    let bytes: UnsafeBufferPointer<UInt8>
    var position = 0

    var isAtEnd: Bool { position == bytes.count }

    mutating func take(_ allowed: UInt8...) -> Bool {
      guard position < bytes.count, allowed.contains(bytes[position]) else { return false }
      position += 1
      return true
    }

    mutating func number(digits: Int, in range: ClosedRange<Int64>) -> Int64? {
      guard bytes.count - position >= digits else { return nil }
      var value: Int64 = 0
      for _ in 0..<digits {
        let digit = bytes[position] &- 0x30
        guard digit < 10 else { return nil }
        value = value * 10 + Int64(digit)
        position += 1
      }
      return range.contains(value) ? value : nil
    }

    mutating func seconds() -> Int64? {
      guard let year = number(digits: 4, in: 1...9_999), take(0x2D),
        let month = number(digits: 2, in: 1...12),
        take(0x2D), let day = number(digits: 2, in: 1...Self.length(of: month, year))
      else { return nil }
      let start = CivilTime.day(year: year, month: month, day: day) * CivilTime.daySeconds
      if isAtEnd { return start }
      guard take(0x54, 0x20), let time = time() else { return nil }
      return start + time
    }

    private mutating func time() -> Int64? {
      guard let hour = number(digits: 2, in: 0...23), take(0x3A), let minute = number(digits: 2, in: 0...59)
      else { return nil }
      var result = hour * 3_600 + minute * 60
      if take(0x3A) {
        guard let second = number(digits: 2, in: 0...59) else { return nil }
        result += second
        if take(0x2E) {
          let first = position
          while position < bytes.count, bytes[position] &- 0x30 < 10 { position += 1 }
          guard (1...9).contains(position - first) else { return nil }
        }
      }
      _ = take(0x5A)
      return isAtEnd ? result : nil
    }

    private static func length(of month: Int64, _ year: Int64) -> Int64 {
      switch month {
      case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
      case 4, 6, 9, 11: 30
      default: 31
      }
    }
  }
}

extension CivilTime: CustomStringConvertible {
  /// `2011-12-09`, or `2011-12-09T08:26:00` where it is not midnight.
  package var description: String {
    let (year, month, dayOfMonth) = Self.date(ofDay: day)
    func padded(_ number: Int64, _ digits: Int) -> String {
      let text = String(number)
      return String(repeating: "0", count: max(0, digits - text.utf8.count)) + text
    }
    let date = padded(year, 4) + "-" + padded(Int64(month), 2) + "-" + padded(dayOfMonth, 2)
    let time = seconds - day * Self.daySeconds
    guard time != 0 else { return date }
    return date + "T" + padded(time / 3_600, 2) + ":" + padded(time / 60 % 60, 2) + ":" + padded(time % 60, 2)
  }
}

extension CivilTime: Codable {
  /// Decodes the text of ISO 8601.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let time = CivilTime(iso8601: try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "a date has the form 2011-12-09 or 2011-12-09T08:26:00")
    }
    self = time
  }

  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
