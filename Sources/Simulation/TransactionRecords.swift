package import Learning

/// The columns of a table of transactions, a line of a receipt in each row.
package struct TransactionColumns: Codable, Equatable, Sendable {
  /// Who bought.
  package var subject: String
  /// When: `2011-12-09`, `2011-12-09 08:26:00`, or days since 1970-01-01.
  package var time: String
  /// What the line cost; below 0 for money that went back.
  package var amount: String
  /// The receipt or order; nil if what a customer buys on one day is a basket.
  package var basket: String?
  /// What was bought; nil if the table does not say.
  package var item: String?
  /// Other columns, of which the customer's last value before the moment is taken.
  package var attributes: [String]

  package init(
    subject: String, time: String, amount: String, basket: String? = nil, item: String? = nil,
    attributes: [String] = []
  ) {
    self.subject = subject
    self.time = time
    self.amount = amount
    self.basket = basket
    self.item = item
    self.attributes = attributes
  }
}

/// How a table of transactions becomes one record per customer: by `TransactionFeatures`, as at serving.
package struct TransactionRecords: Codable, Equatable, Sendable {
  /// The roles of the table's columns.
  package let columns: TransactionColumns
  /// What is told; part of the schema.
  package let settings: TransactionSettings
  /// What is before it are features, what follows is the label.
  package let asOf: CivilTime

  /// - Throws: `LearningError.invalidSetting` for settings that tell of items where no column names them.
  package init(
    columns: TransactionColumns, settings: TransactionSettings, asOf: CivilTime
  ) throws(LearningError) {
    guard columns.item != nil || !settings.features.contains(.distinctItems) else {
      throw .invalidSetting(
        name: "what is told of transactions",
        reason: "distinct_items needs the column that names the item")
    }
    guard Set([columns.subject] + columns.attributes).count == columns.attributes.count + 1 else {
      throw .invalidSetting(
        name: "the attributes of customers",
        reason: "each must be a column of its own, not that of the customer")
    }
    self.columns = columns
    self.settings = settings
    self.asOf = asOf
  }

  /// The name of the column of the label; nil without one.
  package var label: String? { settings.label?.kind.columnName }

  /// A table of one record per customer who bought before the moment, in the order of their first rows: the
  /// subject, the settings' columns, the attributes, the label, and what is held out, as far as it is asked
  /// for.
  ///
  /// - Parameters:
  ///   - heldOut: a column with 1 for the rows of held-out customers and 0 for others.
  ///   - dropsIncomplete: leave out rows without customer, time or amount instead of refusing the table.
  package func table(
    from read: Table, heldOut: String? = nil, dropsIncomplete: Bool = false
  ) throws(TableError) -> (table: Table, notes: [String]) {
    let roles = try Roles(read, columns, heldOut: heldOut)
    if let heldOut, ([columns.subject] + columns.attributes).contains(heldOut) {
      throw .columnInTwoRoles(path: read.path, name: heldOut)
    }
    let made = settings.columnNames + [label].compactMap(\.self)
    for name in [columns.subject] + columns.attributes + (heldOut.map { [$0] } ?? [])
    where made.contains(name) {
      throw .madeOfTransactions(path: read.path, name: name)
    }
    let (customers, incomplete) = try customers(read, roles, dropsIncomplete: dropsIncomplete)
    var rows: [[String]] = []
    var lines: [Int] = []
    for customer in customers {
      let features = TransactionFeatures(customer.transactions, asOf: asOf)
      guard let cells = features.cells(settings) else { continue }
      rows.append(
        [customer.subject] + cells.map(Self.text)
          + roles.attributes.map { lastValue(of: $0, customer, read) }
          + (settings.label.map { [Self.text(features.target($0))] } ?? [])
          + (roles.heldOut.map { [Self.heldOut(customer, read, $0)] } ?? []))
      lines.append(read.lines[customer.rows[0]])
    }
    guard !rows.isEmpty else { throw .noPurchases(path: read.path, asOf: asOf) }
    let table = Table(
      columns: [columns.subject] + settings.columnNames + columns.attributes
        + [label].compactMap(\.self)
        + (heldOut.map { [$0] } ?? []),
      rows: rows, path: read.path, lines: lines)
    return (table, notes(customers, kept: rows.count, incomplete: incomplete))
  }

  /// One customer's rows of the table.
  private struct Customer {
    let subject: String
    var rows: [Int] = []
    var transactions: [Transaction] = []
  }

  private func customers(
    _ table: Table, _ roles: Roles, dropsIncomplete: Bool
  ) throws(TableError) -> (customers: [Customer], incomplete: Int) {
    var positions: [String: Int] = [:]
    var customers: [Customer] = []
    var incomplete = 0
    for (number, row) in table.rows.enumerated() {
      let cells = [roles.subject, roles.time, roles.amount].map { TextCell.present(row[$0]) }
      guard let subject = cells[0], let time = cells[1], let amount = cells[2] else {
        guard dropsIncomplete else { throw roles.missing(cells, table, number) }
        incomplete += 1
        continue
      }
      guard let time = TextCell.time(time) else {
        throw .notDate(path: table.path, place: table.place(record: number, column: roles.time))
      }
      guard let amount = TextCell.number(amount) else {
        throw .amountNotNumber(path: table.path, place: table.place(record: number, column: roles.amount))
      }
      let position = positions[subject] ?? customers.count
      if position == customers.count {
        positions[subject] = position
        customers.append(Customer(subject: subject))
      }
      customers[position].rows.append(number)
      customers[position].transactions.append(
        Transaction(
          time: time, amount: amount, basket: roles.basket.flatMap { TextCell.present(row[$0]) },
          item: roles.item.flatMap { TextCell.present(row[$0]) }))
    }
    return (customers, incomplete)
  }

  /// The present cell of the last row before the moment that has one; of rows at one time the lower one's.
  private func lastValue(of column: Int, _ customer: Customer, _ table: Table) -> String {
    var last: (time: CivilTime, cell: String)?
    for (row, transaction) in zip(customer.rows, customer.transactions) where transaction.time < asOf {
      guard let cell = TextCell.present(table.rows[row][column]) else { continue }
      if last.map({ transaction.time >= $0.time }) ?? true { last = (transaction.time, cell) }
    }
    return last?.cell ?? ""
  }

  /// 1 if a row says so; a cell that is neither 0 nor 1 is left to who reads it.
  private static func heldOut(_ customer: Customer, _ table: Table, _ column: Int) -> String {
    let cells = customer.rows.map { table.rows[$0][column].trimmed }
    return cells.first { $0 != "0" && $0 != "1" } ?? (cells.contains("1") ? "1" : "0")
  }

  private func notes(_ customers: [Customer], kept: Int, incomplete: Int) -> [String] {
    var notes: [String] = []
    if incomplete > 0 {
      notes.append("\(incomplete) transactions without a customer, time or amount were left out.")
    }
    if kept < customers.count {
      notes.append("\(customers.count - kept) customers without a purchase before \(asOf) were left out.")
    }
    guard let label = settings.label, let last = customers.lazy.flatMap(\.transactions).map(\.time).max(),
      let end = CivilTime(seconds: asOf.seconds + Int64(label.horizonDays) * CivilTime.daySeconds),
      end.days(since: last) > 1
    else { return notes }
    return notes + [
      "The last transaction is of \(last), the horizon ends at \(end): labels may lack what is not known yet."
    ]
  }

  private static func text(_ value: RawValue) -> String {
    switch value {
    case .missing: ""
    case .number(let number): text(number)
    case .text(let text): text
    }
  }

  /// A number as a reader gets it back, to the last bit.
  private static func text(_ number: Double) -> String { number.description }
}

/// Where the columns of a table of transactions are.
private struct Roles {
  let subject: Int
  let time: Int
  let amount: Int
  let basket: Int?
  let item: Int?
  let attributes: [Int]
  let heldOut: Int?

  init(_ table: Table, _ columns: TransactionColumns, heldOut: String?) throws(TableError) {
    func index(_ name: String?, _ role: String) throws(TableError) -> Int? {
      guard let name else { return nil }
      return try table.index(of: name, role: role)
    }
    subject = try table.index(of: columns.subject, role: "the subject")
    time = try table.index(of: columns.time, role: "the time of a transaction")
    amount = try table.index(of: columns.amount, role: "the amount of a transaction")
    basket = try index(columns.basket, "the basket of a transaction")
    item = try index(columns.item, "the item of a transaction")
    self.heldOut = try index(heldOut, "what is held out")
    attributes = try columns.attributes.map { name throws(TableError) in
      try table.index(of: name, role: "an attribute of customers")
    }
  }

  /// Which of the cells that a transaction needs is missing.
  func missing(_ cells: [String?], _ table: Table, _ record: Int) -> TableError {
    let needed = [(subject, "customer"), (time, "time"), (amount, "amount")]
    let (column, role) = zip(cells, needed).first { $0.0 == nil }?.1 ?? needed[0]
    return .cellMissing(
      path: table.path, place: table.place(record: record, column: column), role: role)
  }
}
