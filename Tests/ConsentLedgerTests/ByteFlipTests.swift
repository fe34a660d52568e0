import Consent
import ConsentLedger
import Dispatch
import Foundation
import Synchronization
import Testing

/// Every byte of every file of a small ledger, and of its export, is changed, one after the other: the verification
/// fails and names the entry that the byte belongs to, or the change demonstrably touched nothing that holds data.
@Suite(.serialized) struct ByteFlipTests {
  /// What flipping the bytes of a file showed.
  private struct Outcome: Sendable {
    /// Places where the verification did not say what it should have said.
    var problems: [String] = []
    /// How many changes did not change what the file says.
    var silent = 0
    /// How many changes were made.
    var flips = 0

    static func += (a: inout Outcome, b: Outcome) {
      a.problems += b.problems
      a.silent += b.silent
      a.flips += b.flips
    }
  }

  /// Does the work of all numbers below the count on two threads, each with a state of its own.
  private static func spread<State>(
    _ count: Int, _ begin: @Sendable (Int) throws -> State,
    _ work: @Sendable (Int, inout State, inout Outcome) throws -> Void
  ) throws -> Outcome {
    let next = Atomic(0)
    let all = Mutex(Outcome())
    DispatchQueue.concurrentPerform(iterations: 2) { worker in
      var outcome = Outcome()
      do {
        var state = try begin(worker)
        while case let number = next.wrappingAdd(1, ordering: .relaxed).oldValue, number < count {
          try work(number, &state, &outcome)
          outcome.flips += 1
        }
      } catch { outcome.problems.append("\(error)") }
      all.withLock { [outcome] in $0 += outcome }
    }
    return all.withLock { $0 }
  }

  private static func bytes(_ path: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(fileURLWithPath: path)))
  }

  /// Flips a bit of every byte of one of the ledger's files.
  /// - Parameters:
  ///   - leaves: what `ledger.sqlite` holds: a byte of an entry's row has to lead to this entry.
  ///   - isDatabase: other files have no byte that says nothing.
  private static func flip(
    _ fixture: Fixture, _ name: String, leaves: [[UInt8]] = [], isDatabase: Bool = true
  ) throws -> Outcome {
    let path = fixture.file(name)
    let original = try bytes(path)
    let files = try FileManager.default.contentsOfDirectory(atPath: fixture.path).filter {
      ($0.hasPrefix("ledger") || $0 == "index.sqlite") && !$0.hasSuffix("-wal") && !$0.hasSuffix("-shm")
    }
    var owners = [Int?](repeating: nil, count: original.count)
    var places = Array(original.indices)
    let dump = isDatabase ? try LogicalDump(path: path) : nil
    if isDatabase {
      let map = try FilePlaces(path, table: "leaf")
      #expect(map.records.count == leaves.count)
      for (index, places) in map.records {
        #expect(places.suffix(leaves[index].count).map { original[$0] } == leaves[index])
        for place in places { owners[place] = index }
      }
      // What lies between the rows: all of it at once, since nothing reads it.
      var changed = original
      for place in map.unused { changed[place] ^= 0xff }
      try Data(changed).write(to: URL(fileURLWithPath: path))
      #expect(LedgerVerifier.verify(directory: fixture.path, cores: 1).firstProblem == nil)
      #expect(dump?.isSame(path) == true)
      try Data(original).write(to: URL(fileURLWithPath: path))
      let unused = Set(map.unused)
      places.removeAll { unused.contains($0) }
    }
    let directory = fixture.path
    return try spread(places.count) { worker in
      let copy = "\(directory)/flip-\(name)-\(worker)"
      try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: true)
      for file in files {
        try FileManager.default.copyItem(atPath: directory + "/" + file, toPath: copy + "/" + file)
      }
      return (copy, try #require(FileHandle(forUpdatingAtPath: copy + "/" + name)))
    } _: { [places, owners] number, state, outcome in
      let (copy, handle) = state
      let place = places[number]
      try handle.seek(toOffset: UInt64(place))
      try handle.write(contentsOf: [original[place] ^ (1 << UInt8(place % 8))])
      let report = LedgerVerifier.verify(directory: copy, cores: 1)
      if report.verified {
        outcome.silent += 1
        if dump?.isSame(copy + "/" + name) != true {
          outcome.problems.append("\(name) byte \(place): not found")
        }
      } else if let owner = owners[place], report.firstBadEntry?.value != UInt64(owner) {
        outcome.problems.append(
          "\(name) byte \(place) of entry \(owner): \(report.firstBadEntry.map { "\($0)" } ?? "none") \(report.firstProblem ?? "")"
        )
      }
      try handle.seek(toOffset: UInt64(place))
      try handle.write(contentsOf: [original[place]])
      // A changed header may have made SQLite begin a write-ahead log.
      if place < 100 {
        for end in ["-wal", "-shm", "-journal"] {
          try? FileManager.default.removeItem(atPath: copy + "/" + name + end)
        }
      }
    }
  }

  @Test func `no changed byte of the database stays unnoticed`() throws {
    let fixture = try Fixture()
    let leaves = try fixture.tinyLedger()
    let untouched = LedgerVerifier.verify(directory: fixture.path)
    #expect(untouched.firstProblem == nil && untouched.size == 12)
    let outcome = try Self.flip(fixture, "ledger.sqlite", leaves: leaves)
    #expect(outcome.problems.prefix(20) == [])
    // Counters of the header.
    #expect(outcome.silent < 200)
  }

  @Test func `no changed byte of the signer's state stays unnoticed`() throws {
    let fixture = try Fixture()
    _ = try fixture.tinyLedger()
    let outcome = try Self.flip(fixture, "ledger-signer.note", isDatabase: false)
    #expect(outcome.problems.prefix(20) == [] && outcome.flips > 200)
  }

  @Test func `no changed byte of the lookup tables stays unnoticed`() throws {
    let fixture = try Fixture()
    try fixture.tinyIndex()
    let untouched = LedgerVerifier.verify(directory: fixture.path)
    #expect(untouched.firstProblem == nil && untouched.indexed == 7)
    let outcome = try Self.flip(fixture, "index.sqlite")
    #expect(outcome.problems.prefix(20) == [])
    #expect(outcome.silent < outcome.flips / 6)
  }

  @Test func `no changed byte of an export stays unnoticed`() throws {
    let fixture = try Fixture()
    let leaves = try fixture.tinyLedger()
    let export = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: export)
    let source = LedgerSource(directory: export)
    var files: [String: [UInt8]] = [:]
    for path in try #require(try source.list?()) { files[path] = try source.read(path) }
    #expect(
      files.keys.sorted() == [
        "checkpoint", "keys.json", "manifest.json", "tile/0/000.p/12", "tile/entries/000.p/12",
      ])
    #expect(LedgerVerifier.verify(source: source).firstProblem == nil)
    var owners: [Int] = []
    for (index, leaf) in leaves.enumerated() { owners += Array(repeating: index, count: leaf.count + 2) }
    #expect(files["tile/entries/000.p/12"]?.count == owners.count)
    let work = files.keys.sorted().flatMap { path in (files[path] ?? []).indices.map { (path, $0) } }
    let outcome = try Self.spread(work.count) { [files] _ in
      files
    } _: { [owners] number, files, outcome in
      let (path, place) = work[number]
      files[path]?[place] ^= 1 << UInt8(place % 8)
      defer { files[path]?[place] ^= 1 << UInt8(place % 8) }
      let changed = files
      let source = LedgerSource(name: "copy", read: { changed[$0] }, list: { Set(changed.keys) })
      let report = LedgerVerifier.verify(source: source, cores: 1)
      let owner = path.contains("entries") ? owners[place] : path.contains("tile/0") ? place / 32 : nil
      if report.verified || owner != nil && report.firstBadEntry?.value != owner.map({ UInt64($0) }) {
        outcome.problems.append(
          "\(path) byte \(place): \(report.firstProblem ?? "not found") \(report.firstBadEntry?.value ?? 99)")
      }
    }
    #expect(outcome.problems.prefix(20) == [])
    #expect(outcome.flips == files.values.reduce(0) { $0 + $1.count })
  }
}
