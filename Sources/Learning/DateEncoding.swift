#if canImport(Glibc)
  import Glibc
#endif

/// How a date becomes features: those of its days from the reference (`NumericEncoding`), then, as far as the
/// settings want them, seven one-hot ones of the day of the week from Monday on, sine and cosine of the month
/// (January at angle 0) and sine and cosine of the hour. The calendar's parts need no statistics; they are 0 for
/// a missing date.
///
/// In the layout `bins`: a column of the days' bins, then a column each for the day of the week (7 bins), the
/// month (12) and the hour (24), all in order, with a last bin for missing dates if the days have an indicator.
package struct DateEncoding: Codable, Equatable, Sendable {
  /// Of the days from the reference.
  package let days: NumericEncoding
  /// Those of the column.
  package let settings: DateSettings

  /// The number of dense features.
  var width: Int {
    days.width + (settings.dayOfWeek ? 7 : 0) + (settings.month ? 2 : 0) + (settings.hour ? 2 : 0)
  }

  func fits(_ settings: DateSettings) -> Bool { days.isValid && self.settings == settings }

  func encode(_ cell: Cell, scale: Float, into features: inout [Float], at start: Int) {
    guard case .date(let time) = cell else {
      return days.encode(.missing, scale: scale, into: &features, at: start)
    }
    days.encode(.number(settings.days(of: time)), scale: scale, into: &features, at: start)
    var next = start + days.width
    func turn(_ position: Int, of count: Int) {
      let angle = 2 * Double.pi * Double(position) / Double(count)
      features[next] = scale * Float(sin(angle))
      features[next + 1] = scale * Float(cos(angle))
      next += 2
    }
    if settings.dayOfWeek {
      features[next + time.weekday] = scale
      next += 7
    }
    if settings.month { turn(time.month - 1, of: 12) }
    if settings.hour { turn(time.hour, of: 24) }
  }

  /// The columns of the layout `bins`.
  var binned: [BinnedColumn] {
    let missing = days.missingIndicator
    let parts = [settings.dayOfWeek ? 7 : 0, settings.month ? 12 : 0, settings.hour ? 24 : 0]
    return [days.binned]
      + parts.filter { $0 > 0 }.map {
        BinnedColumn(count: $0 + (missing ? 1 : 0), isOrdered: true, hasMissing: missing)
      }
  }

  /// The bins of a cell, one for each column of `binned`. A missing date without an indicator is the mean.
  func addBins(of cell: Cell, into values: inout [Float], at start: Int) {
    let time: CivilTime
    if case .date(let present) = cell {
      time = present
    } else if days.missingIndicator {
      for (position, column) in binned.enumerated() { values[start + position] = Float(column.count - 1) }
      return
    } else {
      time = settings.time(ofDays: days.mean)
    }
    values[start] = Float(days.bin(of: .number(settings.days(of: time))))
    var next = start + 1
    func add(_ bin: Int, if isWanted: Bool) {
      guard isWanted else { return }
      values[next] = Float(bin)
      next += 1
    }
    add(time.weekday, if: settings.dayOfWeek)
    add(time.month - 1, if: settings.month)
    add(time.hour, if: settings.hour)
  }
}
