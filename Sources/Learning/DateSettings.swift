/// What is made of a column of dates: part of the schema, the same on every node.
package struct DateSettings: Codable, Equatable, Hashable, Sendable {
  /// Days are counted from here. The nearer it is to the dates, the finer are their bins: the private
  /// statistics divide the days on both sides of it by powers of two.
  package let reference: CivilTime
  /// Whether the day of the week is a feature.
  package let dayOfWeek: Bool
  /// Whether the month is a feature.
  package let month: Bool
  /// Whether the hour is a feature; only for columns with times.
  package let hour: Bool

  /// Days from 2025-01-01, day of the week and month.
  package static let standard = DateSettings()

  package init(
    reference: CivilTime? = nil, dayOfWeek: Bool = true, month: Bool = true, hour: Bool = false
  ) {
    self.reference = reference ?? Self.standardReference
    self.dayOfWeek = dayOfWeek
    self.month = month
    self.hour = hour
  }

  private static let standardReference = CivilTime(iso8601: "2025-01-01") ?? .first

  /// Decodes; what is absent is as in `standard`.
  package init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self.init(
      reference: try container.decodeIfPresent(CivilTime.self, forKey: .reference),
      dayOfWeek: try container.decodeIfPresent(Bool.self, forKey: .dayOfWeek) ?? true,
      month: try container.decodeIfPresent(Bool.self, forKey: .month) ?? true,
      hour: try container.decodeIfPresent(Bool.self, forKey: .hour) ?? false)
  }

  private enum CodingKeys: String, CodingKey {
    case reference, dayOfWeek, month, hour
  }

  /// A moment in days from the reference.
  func days(of time: CivilTime) -> Double { time.days(since: reference) }

  /// The moment so many days from the reference, at the ends of the calendar if it is beyond them.
  func time(ofDays days: Double) -> CivilTime {
    let total = days + Double(reference.seconds) / Double(CivilTime.daySeconds)
    return CivilTime(days: total) ?? (total < 0 ? .first : .last)
  }
}
