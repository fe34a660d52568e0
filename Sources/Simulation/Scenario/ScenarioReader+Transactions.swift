import Learning
import Yams

extension ScenarioReader {
  private static let transactionKeys = [
    "subject", "date", "amount", "basket", "item", "attributes", "as_of", "horizon", "label", "features",
    "windows", "log",
  ]
  /// What says otherwise what `transactions` says.
  private static let replacedKeys = [
    "label", "label_is", "positive", "subject", "drop", "test_rows", "hold_out",
  ]
  private static let days = 1...TransactionSettings.maximumDays

  /// How records are made of transactions, `data.transactions`; nil without it, or, after noting why, if it is
  /// unusable.
  mutating func transactions(_ own: ScenarioTable) -> TransactionRecords? {
    guard
      let table = self.table(own, "transactions", known: Self.transactionKeys)
    else { return nil }
    for key in Self.replacedKeys {
      guard let node = own.entries[key] else { continue }
      note(
        node, own.path(key),
        "\(own.path(key)) means nothing with transactions, of which each customer is "
          + "one record; leave it out")
    }
    _ = require(table, "subject", "the column of the customer")
    _ = require(table, "date", "the column of the time")
    _ = require(table, "amount", "the column of the amount")
    _ = require(table, "as_of", "the date before which are features and from which on is the label")
    let asOf = date(table, "as_of")
    let label = self.label(table)
    var attributes = texts(table, "attributes")
    if let partition = own.entries["partition"]?.mapping, word(partition["by"]) == "column",
      let column = word(partition["column"]), column != text(table, "subject"), !attributes.contains(column)
    {
      attributes.append(column)
    }
    let item = text(table, "item")
    let named = self.features(table, "features")
    let windows = self.windows(table, features: named)
    let features = named ?? Self.features(hasItem: item != nil, windows)
    let log = logarithms(table, of: features)
    guard let subject = text(table, "subject"), let date = text(table, "date"),
      let amount = text(table, "amount"), let asOf
    else { return nil }
    do {
      return try TransactionRecords(
        columns: TransactionColumns(
          subject: subject, time: date, amount: amount, basket: text(table, "basket"), item: item,
          attributes: attributes),
        settings: TransactionSettings(features: features, windows: windows, log: log, label: label),
        asOf: asOf)
    } catch {
      note(table.node, table.path, "\(table.path): \(error)")
      return nil
    }
  }

  /// What is learnt: `label` and `horizon`, which go together; nil without, for segments.
  private mutating func label(_ table: ScenarioTable) -> TransactionLabel? {
    guard table.entries["label"] != nil || table.entries["horizon"] != nil else { return nil }
    _ = require(table, "horizon", "the days that the label looks ahead")
    _ = require(table, "label", "one of buys-again, spend, log-spend")
    return TransactionLabel(
      kind: choice(table, "label", or: TransactionLabel.Kind.buysAgain),
      horizonDays: integer(table, "horizon", in: Self.days, or: 1))
  }

  /// All features that the columns allow.
  private static func features(hasItem: Bool, _ windows: [Int]) -> [TransactionFeature] {
    TransactionFeature.allCases.filter {
      (hasItem || $0 != .distinctItems) && (!windows.isEmpty || !$0.isOfWindows)
    }
  }

  private mutating func windows(_ table: ScenarioTable, features: [TransactionFeature]?) -> [Int] {
    guard let node = table.entries["windows"] else {
      return features?.contains(where: \.isOfWindows) ?? true ? TransactionSettings.standardWindows : []
    }
    let path = table.path("windows")
    return list(node, path).compactMap { integer($0, path, in: Self.days) }
  }

  /// Features by their names; nil if the key is absent.
  private mutating func features(_ table: ScenarioTable, _ key: String) -> [TransactionFeature]? {
    guard let node = table.entries[key] else { return nil }
    let path = table.path(key)
    let names = TransactionFeature.allCases.map(\.rawValue)
    return list(node, path).compactMap { entry in
      if let feature = word(entry).flatMap(TransactionFeature.init) { return feature }
      note(entry, path, "\(path) must be of \(names.joined(separator: ", "))")
      return nil
    }
  }

  /// `true` for all amounts and counts, `false`, or a list of features.
  private mutating func logarithms(
    _ table: ScenarioTable, of features: [TransactionFeature]
  ) -> [TransactionFeature] {
    guard let node = table.entries["log"] else { return [] }
    switch word(node) {
    case "true": return features.filter { !$0.isOfDays }
    case "false": return []
    default: return self.features(table, "log") ?? []
    }
  }

  private mutating func date(_ table: ScenarioTable, _ key: String) -> CivilTime? {
    guard let node = table.entries[key] else { return nil }
    if let date = word(node).flatMap(CivilTime.init(iso8601:)) { return date }
    note(
      node, table.path(key),
      "\(table.path(key)) must be a date such as 2024-03-31 or 2024-03-31T12:00:00"
        + (word(node).map { ", not \($0.shortened)" } ?? ""))
    return nil
  }

  /// Columns of dates: a list of names, or a table of settings by name. Nil without any.
  mutating func dates(_ own: ScenarioTable) -> [DateColumn]? {
    guard let node = own.entries["dates"] else { return nil }
    guard let mapping = node.mapping else {
      let names = texts(own, "dates")
      return names.isEmpty ? nil : names.map { DateColumn(name: $0) }
    }
    var columns: [DateColumn] = []
    for (key, value) in mapping {
      let place = own.path("dates")
      guard let name = word(key), !columns.contains(where: { $0.name == name }) else {
        note(key, place, "\(place) needs the name of a column, each once")
        continue
      }
      guard
        let table = self.table(
          value, place + "." + name, known: ["reference", "day_of_week", "month", "hour"])
      else { continue }
      columns.append(
        DateColumn(
          name: name,
          settings: DateSettings(
            reference: date(table, "reference"), dayOfWeek: flag(table, "day_of_week", or: true),
            month: flag(table, "month", or: true), hour: flag(table, "hour", or: false))))
    }
    return columns.isEmpty ? nil : columns
  }

  private mutating func flag(_ table: ScenarioTable, _ key: String, or fallback: Bool) -> Bool {
    guard let node = table.entries[key] else { return fallback }
    switch word(node) {
    case "true": return true
    case "false": return false
    default:
      note(node, table.path(key), "\(table.path(key)) must be true or false")
      return fallback
    }
  }
}
