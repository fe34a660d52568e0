import Cryptography
import Foundation
import GRDB
import Storage
import Testing

/// A directory of its own for one test, removed with the object.
final class Scratch {
  let path: String

  init() throws {
    path = FileManager.default.temporaryDirectory.appendingPathComponent("accord-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { path + "/" + name }
  func mode(_ path: String) throws -> Int {
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    return try #require(attributes[.posixPermissions] as? Int)
  }
}

@Suite struct DataDirectoryTests {
  @Test func `a new directory is private, versioned and opens again`() throws {
    let scratch = try Scratch()
    let path = scratch.file("data")
    do { _ = try DataDirectory(path, kind: .server) }
    #expect(try scratch.mode(path) == 0o700)
    #expect(try scratch.mode(path + "/keys") == 0o700)
    #expect(try String(contentsOfFile: path + "/VERSION", encoding: .utf8) == "accord server 1\n")
    #expect(try DataDirectory(path + "/", kind: .server, create: false).path == path)
  }

  @Test func `a second opening says that it is in use`() throws {
    let scratch = try Scratch()
    let first = try DataDirectory(scratch.file("data"), kind: .node)
    #expect(throws: StorageError.inUse(path: first.path)) { try DataDirectory(first.path, kind: .node) }
    #expect(StorageError.inUse(path: "/d").description == "/d is in use by another process; stop it first")
  }

  @Test func `refuses what is no Accord directory, of another version or of another kind`() throws {
    let scratch = try Scratch()
    let path = scratch.file("data")
    #expect(throws: StorageError.noDirectory(path: path)) {
      try DataDirectory(path, kind: .node, create: false)
    }
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    try Data("x".utf8).write(to: URL(fileURLWithPath: path + "/photos"))
    #expect(throws: StorageError.notADataDirectory(path: path)) { try DataDirectory(path, kind: .node) }
    #expect(throws: StorageError.notADataDirectory(path: path + "/photos")) {
      try DataDirectory(path + "/photos", kind: .node)
    }
    for (text, error) in [
      ("accord node 2\n", StorageError.otherVersion(path: path, expected: 1, found: 2)),
      ("accord server 1\n", .otherKind(path: path, expected: "node", found: "server")),
      ("something else", .notADataDirectory(path: path)),
    ] {
      try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/VERSION"))
      #expect(throws: error) { try DataDirectory(path, kind: .node) }
    }
  }

  @Test func `a creation that was cut off is finished`() throws {
    let scratch = try Scratch()
    try FileManager.default.createDirectory(
      atPath: scratch.file("data/keys"), withIntermediateDirectories: true)
    try Data().write(to: URL(fileURLWithPath: scratch.file("data/VERSION.new")))
    _ = try DataDirectory(scratch.file("data"), kind: .node)
  }
}

@Suite struct KeyFileTests {
  @Test func `a key file is made once, with mode 0600, and read again`() throws {
    let scratch = try Scratch()
    let directory = try DataDirectory(scratch.file("data"), kind: .node)
    #expect(throws: StorageError.missingFile(path: directory.file("keys/node.key"))) {
      try directory.loadSigningKey(name: "node.key")
    }
    let key = try directory.loadOrCreateSigningKey(name: "node.key")
    #expect(try scratch.mode(directory.file("keys/node.key")) == 0o600)
    #expect(try directory.loadSigningKey(name: "node.key").verifyingKey == key.verifyingKey)
    #expect(try directory.loadOrCreateSigningKey(name: "node.key").verifyingKey == key.verifyingKey)
  }

  @Test func `a key file that others can read is refused`() throws {
    let scratch = try Scratch()
    let directory = try DataDirectory(scratch.file("data"), kind: .node)
    _ = try directory.loadOrCreateSecret(name: "kek")
    let path = directory.file("keys/kek")
    for mode in [0o640, 0o604, 0o620, 0o601] {
      try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
      #expect(throws: StorageError.exposedSecret(path: path, mode: String(mode, radix: 8))) {
        try directory.loadSecret(name: "kek")
      }
    }
  }

  @Test func `a key file of wrong content and a name that leaves the directory are refused`() throws {
    let scratch = try Scratch()
    let directory = try DataDirectory(scratch.file("data"), kind: .node)
    let path = directory.file("keys/kek")
    for text in [
      "", "\n", "00\n", String(repeating: "0", count: 64), String(repeating: "g", count: 64) + "\n",
    ] {
      try DurableFile.write(Array(text.utf8), to: path)
      #expect(throws: StorageError.malformedKeyFile(path: path)) { try directory.loadSecret(name: "kek") }
    }
    for name in ["", "../VERSION", ".lock", "a/b"] {
      #expect(throws: StorageError.invalidName(name)) { try directory.loadSecret(name: name) }
    }
  }

  @Test func `a durable write replaces the whole file and leaves nothing else`() throws {
    let scratch = try Scratch()
    let path = scratch.file("state")
    #expect(try DurableFile.read(path) == nil)
    try DurableFile.write([UInt8](repeating: 1, count: 100_000), to: path)
    try DurableFile.write([2, 3], to: path)
    #expect(try DurableFile.read(path) == [2, 3])
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.path) == ["state"])
    #expect(throws: StorageError.self) { try DurableFile.write([1], to: scratch.file("none/state")) }
  }
}

@Suite struct DurableDatabaseTests {
  static let schema = DurableDatabase.Schema(name: "test", applicationID: 77, version: 3) {
    try $0.execute(sql: "CREATE TABLE t (x INTEGER NOT NULL)")
  }

  @Test func `the writer reports synchronous 2, on opening and on opening again`() throws {
    let scratch = try Scratch()
    for _ in 0..<2 {
      let database = try DurableDatabase.open(scratch.file("a.sqlite"), Self.schema)
      #expect(try database.synchronousLevel() == 2)
      try database.write(wrapping: { $0 }) { try $0.execute(sql: "INSERT INTO t VALUES (1)") }
      #expect(try database.synchronousLevel() == 2)
      try database.close()
    }
    #expect(try scratch.mode(scratch.file("a.sqlite")) == 0o600)
  }

  @Test func `another version, another schema and a damaged file are each named`() throws {
    let scratch = try Scratch()
    let path = scratch.file("a.sqlite")
    try DurableDatabase.open(path, Self.schema).close()
    let newer = DurableDatabase.Schema(name: "test", applicationID: 77, version: 4) { _ in }
    #expect(throws: StorageError.otherVersion(path: path, expected: 4, found: 3)) {
      try DurableDatabase.open(path, newer)
    }
    let stranger = DurableDatabase.Schema(name: "stranger", applicationID: 78, version: 3) { _ in }
    #expect(throws: StorageError.otherDatabase(path: path, expected: "stranger")) {
      try DurableDatabase.open(path, stranger)
    }
    let bad = scratch.file("bad.sqlite")
    try Data([UInt8](repeating: 0x55, count: 5000)).write(to: URL(fileURLWithPath: bad))
    #expect(throws: StorageError.corrupted(path: bad)) { try DurableDatabase.open(bad, Self.schema) }
    #expect(throws: StorageError.missingFile(path: scratch.file("none"))) {
      try DurableDatabase.openReadOnly(scratch.file("none"), Self.schema)
    }
  }

  @Test func `a transaction that throws leaves nothing`() throws {
    let scratch = try Scratch()
    let database = try DurableDatabase.open(scratch.file("a.sqlite"), Self.schema)
    #expect(throws: StorageError.invalidName("x")) {
      try database.write(wrapping: { $0 }) { db in
        try db.execute(sql: "INSERT INTO t VALUES (1)")
        throw StorageError.invalidName("x")
      }
    }
    #expect(throws: StorageError.self) {
      try database.write(wrapping: { $0 }) { try $0.execute(sql: "INSERT INTO t VALUES (NULL)") }
    }
    #expect(
      try database.read(wrapping: { $0 as StorageError }) {
        try Int.fetchOne($0, sql: "SELECT count(*) FROM t")
      }
        == 0)
  }
}

@Suite struct BudgetLedgerTests {
  private func debit(_ id: String, event: String = #"{"gaussian":1}"#, time: Int64 = 5) -> BudgetDebit {
    BudgetDebit(
      id: id, population: "store", unit: "user", eventJSON: event, task: "t", round: 1, timeMs: time)
  }

  @Test func `a debit is charged once, whatever is retried, and stays after reopening`() throws {
    let scratch = try Scratch()
    let path = scratch.file("budget.sqlite")
    let ledger = try BudgetLedger.open(path: path)
    try ledger.declare(population: "store", unit: "user", budgetJSON: "{}")
    try ledger.declare(population: "store", unit: "user", budgetJSON: "{}")
    #expect(try ledger.debit(debit("a")))
    #expect(try !ledger.debit(debit("a", time: 9)) { _, _ in false })
    #expect(try ledger.debit(debit("b")))
    #expect(throws: StorageError.conflictingDebit(id: "a")) { try ledger.debit(debit("a", event: "{}")) }
    #expect(try ledger.synchronousLevel() == 2)
    let again = try BudgetLedger.open(path: path)
    #expect(try again.debits(of: "store") == [debit("a"), debit("b")])
    #expect(try again.populations().map(\.name) == ["store"])
  }

  @Test func `a budget cannot be redeclared, and an undeclared population cannot spend`() throws {
    let scratch = try Scratch()
    let ledger = try BudgetLedger.open(path: scratch.file("budget.sqlite"))
    #expect(throws: StorageError.unknownPopulation("store")) { try ledger.debit(debit("a")) }
    try ledger.declare(population: "store", unit: "user", budgetJSON: #"{"epsilon":1}"#)
    #expect(throws: StorageError.conflictingPopulation("store")) {
      try ledger.declare(population: "store", unit: "user", budgetJSON: #"{"epsilon":9}"#)
    }
    let other = BudgetDebit(
      id: "a", population: "store", unit: "example", eventJSON: "{}", task: "t", round: 1, timeMs: 0)
    #expect(throws: StorageError.unknownPopulation("store")) { try ledger.debit(other) }
  }

  @Test func `what is not authorised is not charged`() throws {
    let scratch = try Scratch()
    let ledger = try BudgetLedger.open(path: scratch.file("budget.sqlite"))
    try ledger.declare(population: "store", unit: "user", budgetJSON: "2")
    for id in ["a", "b"] {
      try ledger.debit(debit(id)) { population, earlier in earlier.count < Int(population.budgetJSON) ?? 0 }
    }
    #expect(throws: StorageError.budgetRefused(population: "store")) {
      try ledger.debit(debit("c")) { population, earlier in earlier.count < Int(population.budgetJSON) ?? 0 }
    }
    #expect(try ledger.debits(of: "store").map(\.id) == ["a", "b"])
  }
}
