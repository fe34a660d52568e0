import Consent
import ConsentLedger
import Cryptography
import Foundation
import MerkleLog
import Storage
import Testing

@Suite struct ExportTests {
  private func files(_ directory: String) throws -> [String: Data] {
    var files: [String: Data] = [:]
    for path in try FileManager.default.subpathsOfDirectory(atPath: directory) {
      var isDirectory: ObjCBool = false
      _ = FileManager.default.fileExists(atPath: directory + "/" + path, isDirectory: &isDirectory)
      if !isDirectory.boolValue {
        files[path] = try Data(contentsOf: URL(fileURLWithPath: directory + "/" + path))
      }
    }
    return files
  }

  @Test func `exports the layout of tlog-tiles and verifies from it`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(600, batchSize: 256), nowMs: startMs)
    let target = fixture.file("export")
    let summary = try LedgerExport.export(directory: fixture.path, to: target)
    #expect(summary.size == 605 && summary.root == ledger.root && summary.written == 10 && summary.kept == 0)
    let found = try files(target)
    #expect(
      found.keys.sorted() == [
        "checkpoint", "keys.json", "manifest.json", "tile/0/000", "tile/0/001", "tile/0/002.p/93",
        "tile/1/000.p/2",
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/93",
      ])
    #expect(
      String(decoding: try #require(found["keys.json"]), as: UTF8.self)
        == #"{"freshness":"\#(try fixture.verifiers.freshness)","log":"\#(try fixture.verifiers.log)","#
        + #""operator":"\#(fixture.operatorKey.verifyingKey.hex)","origin":"accord.test/log"}"#)
    let report = LedgerVerifier.verify(source: LedgerSource(directory: target))
    #expect(report.firstProblem == nil && report.size == 605 && report.root == ledger.root)
    #expect(report.counts.consents == 600 && report.counts.enrolments == 3 && report.counts.policies == 1)
    // Every file is what the server gives by its path, and the other way round.
    try ledger.close()
    let server = try LedgerTileServer(reader: LedgerFileReader(directory: fixture.path))
    for (path, bytes) in found where path != "manifest.json" {
      #expect(try server.file(path: path) == Array(bytes))
    }
    #expect(try server.file(path: "tile/0/001.p/7") == Array(try #require(found["tile/0/001"])[..<(32 * 7)]))
    for path in [
      "tile/0/002", "tile/0/002.p/94", "tile/0/003", "tile/1/000", "tile/2/000.p/1", "tile/entries/002",
      "tile/entries/002.p/94", "tile/0/0", "tile/0/../keys.json", "../ledger.sqlite", "",
      "tile/0/x000/002.p/93",
      "ledger-signer.note", "tile/entries/002.p/093", "/checkpoint",
    ] { #expect(try server.file(path: path) == nil, "\(path)") }
  }

  @Test func `brings an export up to date, keeps what is full and ends as one made at once`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let target = fixture.file("export")
    for (count, kept) in [(0, 0), (250, 0), (1, 0), (300, 2), (0, 4)] {
      if count > 0 { _ = try ledger.append(fixture.consents(count), nowMs: startMs) }
      let summary = try LedgerExport.export(directory: fixture.path, to: target)
      #expect(summary.size == ledger.size && summary.kept == kept)
      let fresh = fixture.file("fresh-\(UUID().uuidString)")
      _ = try LedgerExport.export(directory: fixture.path, to: fresh)
      #expect(try files(target) == files(fresh))
      #expect(LedgerVerifier.verify(source: LedgerSource(directory: target)).firstProblem == nil)
    }
  }

  @Test func `refuses an export of another log, a forked and a newer one`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let other = try Fixture(seed: 2)
    _ = try other.begun()
    #expect(throws: LedgerError.otherLog(path: target + "/checkpoint", field: "signature")) {
      try LedgerExport.export(directory: other.path, to: target)
    }
    let fork = try fixture.directory("fork")
    do {
      let forked = try fixture.open(directory: fork)
      _ = try forked.append(
        fixture.beginning().dropLast() + [fixture.sign(fixture.notice(), by: fixture.logKey)], nowMs: startMs)
    }
    #expect(throws: LedgerError.forked(size: 5)) { try LedgerExport.export(directory: fork, to: target) }
    _ = try ledger.append(fixture.consents(3), nowMs: startMs)
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    #expect(throws: LedgerError.shrunk(knownSize: 8, offeredSize: 5)) {
      try LedgerExport.export(directory: fork, to: target)
    }
    #expect(LedgerVerifier.verify(source: LedgerSource(directory: target)).size == 8)
  }

  @Test func `an export from which anything is missing, or in which there is more, is refused`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(600, batchSize: 256), nowMs: startMs)
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    for path in try files(target).keys where path != "manifest.json" {
      let file = target + "/" + path
      try FileManager.default.moveItem(atPath: file, toPath: fixture.file("away"))
      let strict = LedgerVerifier.verify(source: LedgerSource(directory: target))
      #expect(!strict.verified, "\(path)")
      // Also where the source cannot list its files.
      let source = LedgerSource(directory: target)
      #expect(
        !LedgerVerifier.verify(source: LedgerSource(name: "url", read: source.read)).verified, "\(path)")
      try FileManager.default.moveItem(atPath: fixture.file("away"), toPath: file)
    }
    for path in ["tile/0/002.p/92", "tile/0/003", "readme.txt", "tile/2/000.p/1", "checkpoint.new"] {
      let file = target + "/" + path
      try Data([1]).write(to: URL(fileURLWithPath: try fixture.made(file)))
      let report = LedgerVerifier.verify(source: LedgerSource(directory: target))
      #expect(report.firstProblem == "\(path) does not belong to the log")
      try FileManager.default.removeItem(atPath: file)
    }
    try Data([1]).write(to: URL(fileURLWithPath: target + "/manifest.json"))
    let report = LedgerVerifier.verify(source: LedgerSource(directory: target))
    #expect(report.firstProblem == "manifest.json does not describe this export" && report.size == 605)
  }

  @Test func `the manifest says what the export holds`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let found = try files(target)
    let digests = try ["checkpoint", "keys.json"].map { Hash.sha256(Array(try #require(found[$0]))).hex }
    #expect(
      String(decoding: try #require(found["manifest.json"]), as: UTF8.self)
        == #"{"checkpoint":"\#(digests[0])","format":"accord-ledger-export-v1","keys":"\#(digests[1])","#
        + #""origin":"accord.test/log","root":"\#(ledger.root.hex)","size":5}"#)
  }

  @Test func `an export that was interrupted verifies at every step, without a manifest`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let before = try files(target)
    _ = try ledger.append(fixture.consents(300, batchSize: 256), nowMs: startMs)
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let after = try files(target)
    // The order in which files change: tiles, keys, checkpoint; then old tiles go, and the manifest comes.
    var states = [before.filter { $0.key != "manifest.json" }]
    let order =
      after.keys.filter { $0.hasPrefix("tile/") }.sorted().flatMap { [$0 + ".new", $0] }
      + ["keys.json.new", "keys.json", "checkpoint.new", "checkpoint"]
    for path in order {
      var state = states[states.count - 1]
      state[path] = after[path] ?? Data([1])
      if !path.hasSuffix(".new") { state[path + ".new"] = nil }
      states.append(state)
    }
    states.append(after.filter { $0.key != "manifest.json" })
    states.append(after)
    for (number, state) in states.enumerated() {
      let source = LedgerSource(
        name: "state \(number)", read: { state[$0].map { Array($0) } }, list: { Set(state.keys) })
      let report = LedgerVerifier.verify(source: source)
      #expect(report.firstProblem == nil && report.size == (number > order.count - 1 ? 305 : 5))
    }
  }

  @Test func `an entry that cannot be read is named, wherever it stands`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    _ = try ledger.append(fixture.consents(600, batchSize: 256), nowMs: startMs)
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let original = try files(target)
    for (path, first, entry) in [
      ("tile/entries/000", 0, 7), ("tile/entries/001", 256, 300), ("tile/entries/002.p/93", 512, 604),
    ] {
      var bundle = Array(try #require(original[path]))
      var place = 0
      for _ in first..<entry { place += 2 + Int(bundle[place]) << 8 + Int(bundle[place + 1]) }
      bundle[place] ^= 0x80
      let changed = bundle
      let source = LedgerSource(
        name: "copy", read: { $0 == path ? changed : original[$0].map { Array($0) } })
      #expect(LedgerVerifier.verify(source: source).firstBadEntry?.value == UInt64(entry))
    }
  }

  /// The verifier that was written from the protocol alone.
  private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../protocol/verify_ledger.py").standardizedFileURL.path

  /// The exit code and what was written.
  private static func python(_ arguments: [String]) throws -> (code: Int32, text: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["python3"] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    return (process.terminationStatus, text)
  }

  private static let hasScript =
    FileManager.default.fileExists(atPath: script) && (try? python(["-c", "import nacl"]))?.code == 0

  @Test(.enabled(if: hasScript, "needs python3 with PyNaCl and protocol/verify_ledger.py"))
  func `an independent verifier accepts an export`() throws {
    let fixture = try Fixture()
    try fixture.smallLedger()
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let small = try Self.python([Self.script, "export", target])
    #expect(small.code == 0, "\(small.text)")
    let ledger = try fixture.open()
    _ = try ledger.append(fixture.consents(300, batchSize: 256), nowMs: startMs + 3000)
    try ledger.close()
    let kept = fixture.file("kept")
    try FileManager.default.copyItem(atPath: target + "/checkpoint", toPath: kept)
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let grown = try Self.python([Self.script, "export", target, "--since", kept])
    #expect(grown.code == 0, "\(grown.text)")
    let manifest = target + "/manifest.json"
    var bytes = try Data(contentsOf: URL(fileURLWithPath: manifest))
    bytes[20] ^= 1
    try bytes.write(to: URL(fileURLWithPath: manifest))
    #expect(try Self.python([Self.script, "export", target]).code == 1)
  }

  @Test func `an export with rules broken, times running back or an identity twice is refused`() throws {
    let fixture = try Fixture()
    let beginning = try fixture.beginning()
    let event = try fixture.event()
    let cases: [([(SignedStatement, Int64)], UInt64?, String)] = [
      ([], nil, ""),
      ([(try fixture.consent(), startMs)], nil, ""),
      ([(try fixture.consent(by: fixture.stranger), startMs)], 5, "not enrolled"),
      ([(try fixture.consent(fixture.event(policy: nil)), startMs)], 5, "policy in force"),
      ([(try fixture.consent(), startMs + 5), (try fixture.consent(), startMs + 4)], 6, "earlier"),
      (
        [
          (try fixture.consent(event), startMs), (try fixture.consent(), startMs),
          (try fixture.consent(event), startMs),
        ], 7, "identity of entry 5"
      ),
      (
        [
          (try fixture.consent(), startMs),
          (try fixture.sign(fixture.approval(), by: fixture.officer), startMs),
        ], 6, "cannot approve"
      ),
    ]
    for (more, entry, words) in cases {
      let leaves = try (beginning.map { ($0, startMs) } + more).map { try $0.0.leaf(recordedMs: $0.1) }
      let source = try fixture.source(leaves)
      let report = LedgerVerifier.verify(source: source)
      #expect(report.firstBadEntry?.value == entry)
      if words.isEmpty {
        #expect(report.firstProblem == nil)
      } else {
        #expect(report.firstProblem?.contains(words) == true, "\(report.firstProblem ?? "nothing")")
      }
    }
  }

  @Test func `a kept checkpoint is compared with, wherever it ends`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    var kept = [try ledger.checkpoint(nowMs: startMs)]
    for count in [1, 250, 256, 40] {
      _ = try ledger.append(fixture.consents(count, batchSize: 256), nowMs: startMs)
      kept.append(try ledger.checkpoint(nowMs: startMs))
    }
    let target = fixture.file("export")
    _ = try LedgerExport.export(directory: fixture.path, to: target)
    let source = LedgerSource(directory: target)
    for checkpoint in kept {
      #expect(LedgerVerifier.verify(source: source, since: checkpoint).firstProblem == nil)
      #expect(LedgerVerifier.verify(directory: fixture.path, since: checkpoint).firstProblem == nil)
      let other = try SignedCheckpoint.sign(
        Checkpoint(origin: Fixture.origin, size: checkpoint.checkpoint.size, root: Hash.sha256([7])),
        timestampSeconds: 1, logKey: fixture.logKey, freshnessKey: fixture.freshnessKey)
      for report in [
        LedgerVerifier.verify(source: source, since: other),
        LedgerVerifier.verify(directory: fixture.path, since: other),
      ] { #expect(report.firstProblem?.contains("changed since the checkpoint") == true) }
    }
  }
}

extension Fixture {
  /// The path, after its directory was made.
  func made(_ path: String) throws -> String {
    try FileManager.default.createDirectory(
      atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
    return path
  }

  /// An export of any leaves with a right tree, signed by the log's keys, as a dishonest log could make it.
  func source(_ leaves: [[UInt8]]) throws -> LedgerSource {
    var tree = TileTree()
    for leaf in leaves { tree.append(leafHash: MerkleTree.leafHash(leaf)) }
    let signed = try SignedCheckpoint.sign(
      Checkpoint(origin: Self.origin, size: tree.size, root: tree.root), timestampSeconds: 1, logKey: logKey,
      freshnessKey: freshnessKey)
    var files = [
      "checkpoint": Array(signed.noteText.utf8),
      "keys.json": try LedgerKeys(verifiers: verifiers, operatorKey: operatorKey.verifyingKey).bytes,
    ]
    for tile in tree.partialTiles() {
      files[tile.position.path] = tile.bytes
      if tile.position.level == 0 { files[tile.position.entriesPath] = try EntryBundle.encode(leaves) }
    }
    return LedgerSource(name: "memory", read: { [files] in files[$0] }, list: { [files] in Set(files.keys) })
  }
}
