import Foundation

/// Calendar arithmetic of reports: proleptic Gregorian, UTC, without a time zone database. Days count from
/// 1 January 1970.
package enum ReportTime {
  static let dayMs: Int64 = 86_400_000

  /// The day of a time.
  package static func day(_ ms: Int64) -> Int64 { ms >= 0 ? ms / dayMs : (ms - dayMs + 1) / dayMs }

  /// Year, month and day of a day (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
  package static func civil(_ day: Int64) -> (year: Int, month: Int, day: Int) {
    let shifted = day + 719_468
    let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let index = (5 * dayOfYear + 2) / 153
    let month = index < 10 ? index + 3 : index - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (Int(year), Int(month), Int(dayOfYear - (153 * index + 2) / 5 + 1))
  }

  /// The day of a date.
  package static func day(year: Int, month: Int, day: Int) -> Int64 {
    let shifted = Int64(month <= 2 ? year - 1 : year)
    let era = (shifted >= 0 ? shifted : shifted - 399) / 400
    let yearOfEra = shifted - era * 400
    let dayOfYear = Int64((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1)
    let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
    return era * 146_097 + dayOfEra - 719_468
  }

  /// The month of a time, counted from January of the year 0.
  package static func month(_ ms: Int64) -> Int {
    let date = civil(day(ms))
    return date.year * 12 + date.month - 1
  }

  /// `2026-11` of a month.
  package static func monthText(_ month: Int) -> String {
    String(format: "%04d-%02d", month / 12, month % 12 + 1)
  }

  /// `2026-11-21`.
  package static func date(_ ms: Int64) -> String { dateText(day(ms)) }

  /// `2026-11-21` of a day.
  static func dateText(_ day: Int64) -> String {
    let date = civil(day)
    return String(format: "%04d-%02d-%02d", date.year, date.month, date.day)
  }

  /// RFC 3339 with milliseconds, such as `2026-11-21T19:57:39.120Z`.
  package static func text(_ ms: Int64) -> String {
    let inDay = ms - day(ms) * dayMs
    return date(ms)
      + String(
        format: "T%02d:%02d:%02d.%03dZ", Int(inDay / 3_600_000), Int(inDay / 60_000 % 60),
        Int(inDay / 1000 % 60), Int(inDay % 1000))
  }

  /// Reads a time: a date stands for the last millisecond of its day in UTC, so that everything of that day
  /// counts; otherwise RFC 3339 in UTC, with or without fractions. Nil if it is neither.
  package static func parse(_ text: String) -> Int64? {
    let parts = text.split(separator: "T", omittingEmptySubsequences: false)
    let numbers = parts[0].split(separator: "-", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), numbers.count == 3, numbers.map(\.utf8.count) == [4, 2, 2],
      let year = digits(numbers[0]), let month = digits(numbers[1]), let date = digits(numbers[2]),
      (1...12).contains(month), (1...31).contains(date)
    else { return nil }
    let day = day(year: year, month: month, day: date)
    // 31 April is no date.
    guard civil(day) == (year, month, date) else { return nil }
    guard parts.count == 2 else { return (day + 1) * dayMs - 1 }
    guard parts[1].hasSuffix("Z") else { return nil }
    let clock = parts[1].dropLast().split(separator: ":", omittingEmptySubsequences: false)
    guard clock.count == 3, let hour = digits(clock[0]), let minute = digits(clock[1]), hour < 24, minute < 60
    else { return nil }
    let seconds = clock[2].split(separator: ".", omittingEmptySubsequences: false)
    guard (1...2).contains(seconds.count), let second = digits(seconds[0]), second < 60 else { return nil }
    var fraction = 0
    if seconds.count == 2 {
      guard (1...9).contains(seconds[1].utf8.count), digits(seconds[1]) != nil,
        let value = digits((seconds[1] + "00").prefix(3))
      else { return nil }
      fraction = value
    }
    return day * dayMs + Int64((hour * 60 + minute) * 60 + second) * 1000 + Int64(fraction)
  }

  private static func digits(_ text: Substring) -> Int? {
    text.utf8.allSatisfy { (48...57).contains($0) } ? Int(text) : nil
  }

  /// The day `count` business days after `day`: Saturdays and Sundays do not count. Public holidays do, since
  /// they differ from place to place: the result is never later than the law's.
  package static func businessDay(_ count: Int, after day: Int64) -> Int64 {
    var result = day
    var left = count
    while left > 0 {
      result += 1
      if !isWeekend(result) { left -= 1 }
    }
    return result
  }

  /// Whether a day is a Saturday or a Sunday; 1 January 1970 was a Thursday.
  package static func isWeekend(_ day: Int64) -> Bool {
    let weekday = ((day + 4) % 7 + 7) % 7
    return weekday == 0 || weekday == 6
  }

  /// The last millisecond of a day.
  package static func end(ofDay day: Int64) -> Int64 { (day + 1) * dayMs - 1 }
}
