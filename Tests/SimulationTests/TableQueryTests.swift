import Foundation
import Testing

@testable import Simulation

@Suite struct `Queries over tables` {
  private static let visits = "who,item,spent\na,5,1.5\nb,6,\nc,5,2\na,x,7\n"
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  /// Runs a query over the visits, called `t`, and a headerless list of record numbers, called `test`.
  private func run(_ sql: String, visits: String = visits, table: String = "t") throws -> Table {
    let paths = [
      try scratch.file(visits, name: "visits.csv"), try scratch.file("0\n2\n", name: "test.txt"),
    ]
    let query = TableQuery(
      tables: [
        .init(name: table, file: "visits.csv"), .init(name: "test", file: "test.txt", columns: ["row"]),
      ], sql: sql)
    return try query.run(paths: paths, name: "shop")
  }

  /// The sentence with which a query is refused.
  private func refusal(_ sql: String, visits: String = visits) -> String {
    do {
      _ = try run(sql, visits: visits)
      return "nothing was refused"
    } catch {
      guard case TableError.queryFailed(name: "shop", _) = error else { return "another error: \(error)" }
      return "\(error)"
    }
  }

  private func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: scratch.directory.appendingPathComponent(name).path)
  }

  @Test func `gives numbers, texts and missing cells their types`() throws {
    let table = try run(
      "SELECT typeof(who), typeof(item), typeof(spent) AS type, who, item, spent "
        + "FROM t ORDER BY record_number"
    )
    #expect(table.columns == ["typeof(who)", "typeof(item)", "type", "who", "item", "spent"])
    // One text makes a column one of texts; numbers keep whether they are whole.
    #expect(
      table.rows == [
        ["text", "text", "real", "a", "5", "1.5"], ["text", "text", "null", "b", "6", ""],
        ["text", "text", "integer", "c", "5", "2"], ["text", "text", "integer", "a", "x", "7"],
      ])
    #expect(try run("SELECT count(*) AS n FROM t WHERE spent IS NULL OR spent > 1.9").rows == [["3"]])
  }

  @Test func `joins files by the numbers of their records`() throws {
    let table = try run(
      """
      WITH held AS (SELECT "row" FROM test)
      SELECT who, record_number IN (SELECT * FROM held) AS held_out, record_number AS n
      FROM t ORDER BY record_number DESC
      """)
    #expect(table.columns == ["who", "held_out", "n"] && table.path == "shop")
    #expect(table.rows == [["a", "0", "3"], ["c", "1", "2"], ["b", "0", "1"], ["a", "1", "0"]])
  }

  @Test func `sums, windows and dates work, and the same query gives the same records`() throws {
    let sql = """
      SELECT who, sum(spent) AS total, row_number() OVER (ORDER BY who) AS place,
        strftime('%Y', date('2024-02-28', '+2 days')) AS year
      FROM t GROUP BY who ORDER BY who
      """
    let first = try run(sql)
    #expect(
      first.rows == [["a", "8.5", "1", "2024"], ["b", "", "2", "2024"], ["c", "2", "3", "2024"]])
    #expect(try run(sql) == first)
  }

  @Test func `takes names with quotation marks and reserved words`() throws {
    let table = try run(
      "SELECT \"the \"\"best\"\"\" AS a, \"select\" AS b FROM \"a \"\"t\"\"\"",
      visits: "\"the \"\"best\"\"\",select\n1,2\n", table: "a \"t\"")
    #expect(table.rows == [["1", "2"]])
  }

  @Test func `says in SQLite's words what is wrong`() {
    #expect(refusal("SELECT nope FROM t") == "shop: the query failed: no such column: nope.")
    #expect(refusal("SELECT * FROM elsewhere").contains("no such table: elsewhere"))
    #expect(refusal("SELECT who FRM t").contains("syntax error"))
    #expect(refusal("SELECT").contains("incomplete input"))
    #expect(refusal("SELECT who FROM t WHERE 0").hasSuffix("it gives no records."))
    #expect(refusal("SELECT who, who FROM t").contains("name them with AS"))
    #expect(refusal("SELECT a.who, b.who FROM t AS a JOIN t AS b").contains("name them with AS"))
    // Every table has a column of this name already.
    #expect(refusal("SELECT 1 AS a", visits: "record_number,y\n1,2\n").contains("record_number"))
    let many = (0...TableReader.maximumColumns / 3).map { "1 AS a\($0), 2 AS b\($0), 3 AS c\($0)" }
    #expect(refusal("SELECT " + many.joined(separator: ", ")).contains("too many columns"))
  }

  @Test(arguments: [
    "", " \n", "INSERT INTO t VALUES (1)", "ATTACH 'f' AS f", "PRAGMA user_version", "EXPLAIN SELECT 1",
    "VACUUM INTO 'f'", ";SELECT 1", "(SELECT 1)", "SELECTED", "WITHOUT", "-- SELECT\nATTACH 'f' AS f",
    "/* SELECT */ VACUUM INTO 'f'", "/* SELECT", "-- SELECT", "/* a */ -- WITH\n /* b */ DETACH f",
  ])
  func `refuses what does not begin with SELECT or WITH`(sql: String) {
    #expect(TableQuery.problem(of: sql) == "must begin with SELECT or WITH")
  }

  @Test(arguments: [
    "SELECT random()", "select RANDOMBLOB(4)", "SELECT date('now')",
    "SELECT julianday( 'NOW' )", "SELECT date()", "SELECT unixepoch( ) AS a", "SELECT strftime('%Y')",
    "SELECT CURRENT_TIMESTAMP",
    "WITH a AS (SELECT current_date AS d) SELECT * FROM a",
  ])
  func `refuses what is not the same in every run`(sql: String) {
    #expect(TableQuery.problem(of: sql)?.hasSuffix("the same scenario gives the same records") == true)
  }

  @Test(arguments: [
    "SELECT 1", "select 1", "with a as (select 1) select * from a", "\n  -- why\n/* and\nhow */ SELECT 1",
    "SELECT randomness, now FROM t",
    "SELECT date(day) FROM t WHERE note = 'buy now'", "SELECT strftime('%Y', day) FROM t", "SELECT\t1",
    "SELECT*FROM t",
  ])
  func `takes one that reads`(sql: String) { #expect(TableQuery.problem(of: sql) == nil) }

  @Test(arguments: [
    "WITH a AS (SELECT 1) INSERT INTO t (who) SELECT 'z' FROM a",
    "WITH a AS (SELECT 1) DELETE FROM t",
    "WITH a AS (SELECT 1) UPDATE t SET who = 'z'",
    "WITH a AS (SELECT 1) REPLACE INTO t (record_number) SELECT * FROM a",
    "WITH a AS (SELECT 1) DELETE FROM t RETURNING who",
  ])
  func `runs nothing that writes, whatever it begins with`(sql: String) {
    #expect(TableQuery.problem(of: sql) == nil)
    #expect(refusal(sql).contains("it must only read"))
  }

  @Test func `runs no second statement and opens no file`() throws {
    let other = scratch.directory.appendingPathComponent("other.db").path
    for second in [
      "DELETE FROM t", "ATTACH DATABASE '\(other)' AS other", "VACUUM INTO '\(other)'", "SELECT 2",
    ] {
      #expect(refusal("SELECT who FROM t; \(second)").contains("Multiple statements"), "\(second)")
    }
    for call in ["load_extension('\(other)')", "writefile('\(other)', 'x')", "readfile('/etc/hostname')"] {
      #expect(refusal("SELECT \(call) AS a").hasPrefix("shop: the query failed"), "\(call)")
    }
    // Were the first words to be believed, these would open a file.
    for comment in ["-- SELECT\n", "/* WITH */ "] {
      for rest in ["ATTACH DATABASE '\(other)' AS other", "VACUUM INTO '\(other)'"] {
        #expect(refusal(comment + rest).contains("must begin with SELECT or WITH"))
      }
    }
    #expect(try run("SELECT who FROM t; -- the end").rows.count == 4)
    #expect(try run("SELECT count(*) AS n FROM t").rows == [["4"]])
    #expect(!exists("other.db"))
  }

  @Test func `reads idx and gzip files as tables`() throws {
    let labels: [UInt8] = [0, 0, 8, 1, 0, 0, 0, 3, 7, 0, 2]
    let path = try scratch.file(gzip(labels), name: "labels.gz")
    let query = TableQuery(
      tables: [.init(name: "labels", file: "labels.gz")],
      sql: "SELECT record_number AS n, value FROM labels WHERE value > 0 ORDER BY value")
    #expect(try query.run(paths: [path], name: "digits").rows == [["2", "2"], ["0", "7"]])
  }
}
