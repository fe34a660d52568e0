import Consent
import Cryptography
import Foundation
import MerkleLog
import Testing

@testable import ConsentLedger

private let python = ["/usr/bin/python3", "/usr/local/bin/python3", "/opt/homebrew/bin/python3"].first {
  FileManager.default.isExecutableFile(atPath: $0)
}

@Suite struct ZipArchiveTests {
  private static let timeMs: Int64 = 1_790_000_001_000
  private static let files: [(String, [UInt8])] = [
    ("summary.html", Array("<p>Grüße</p>".utf8)), ("records/1.json", Array("{}".utf8)), ("empty", []),
    ("notices/überblick.txt", [UInt8](repeating: 7, count: 70_000)),
  ]

  private func archive() throws -> ZipArchive {
    var archive = ZipArchive(timeMs: Self.timeMs)
    for (name, bytes) in Self.files { try archive.add(name, bytes) }
    return archive
  }

  private func run(_ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: try #require(python))
    process.arguments = arguments
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = try pipe.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  @Test(.enabled(if: python != nil, "needs python3"))
  func `another program reads what was written`() throws {
    let fixture = try VaultFixture()
    let path = fixture.path + "/package.zip"
    try archive().write(to: path)
    let script = """
      import sys, zipfile
      z = zipfile.ZipFile(sys.argv[1])
      assert z.testzip() is None
      for i in z.infolist():
          mode = oct(i.external_attr >> 16)
          print(i.filename, i.file_size, i.date_time, i.compress_type, mode, sum(z.read(i)))
      """
    let (status, output) = try run(["-X", "utf8", "-c", script, path])
    #expect(status == 0)
    // 1,790,000,001 s is 2026-09-21 14:13:21; seconds come in twos.
    let time = "(2026, 9, 21, 14, 13, 20) 0 0o100644"
    let expected = Self.files.map { name, bytes in
      "\(name) \(bytes.count) \(time) \(bytes.reduce(0) { $0 + Int($1) })\n"
    }
    #expect(output == expected.joined())
  }

  @Test(.enabled(if: python != nil, "needs python3"))
  func `a changed byte of a file is seen by another program`() throws {
    let fixture = try VaultFixture()
    let path = fixture.path + "/package.zip"
    var bytes = try archive().encoded()
    let position = try #require(bytes.firstIndex(of: 7))
    bytes[position + 1000] ^= 1
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    #expect(try run(["-m", "zipfile", "-t", path]).output.contains("überblick"))
  }

  @Test func `the same files give the same bytes`() throws {
    #expect(try archive().encoded() == archive().encoded())
    var other = ZipArchive(timeMs: Self.timeMs + 2000)
    for (name, bytes) in Self.files { try other.add(name, bytes) }
    #expect(try other.encoded() != archive().encoded())
    // Times that the format does not have become the nearest.
    for (time, word) in [(Int64.min, [0, 0, 0x21, 0]), (Int64.max, [0x7d, 0xbf, 0x9f, 0xff])] {
      var archive = ZipArchive(timeMs: time)
      try archive.add("a", [])
      #expect(archive.encoded()[10..<14].map(Int.init) == word)
    }
    #expect(ZipArchive(timeMs: 0).encoded().count == 22)
  }

  @Test(arguments: [
    "", "/etc/passwd", "../a", "a/../b", "./a", "a//b", "a/", "a\\b", "C:a", "a\u{0}", "a\nb",
    String(repeating: "x", count: 1025),
  ])
  func `an unsafe name is refused`(name: String) throws {
    var archive = ZipArchive(timeMs: 0)
    #expect(throws: LedgerError.archive("“\(name)” is no relative name of a file")) {
      try archive.add(name, [1])
    }
    #expect(archive.encoded().count == 22)
  }

  @Test func `a name is in the archive once, and the archive has a limit`() throws {
    var archive = ZipArchive(timeMs: 0, limit: 1000)
    try archive.add("Readme.txt", [1])
    #expect(throws: LedgerError.archive("“README.txt” is in it already")) {
      try archive.add("README.txt", [1])
    }
    #expect(throws: LedgerError.self) { try archive.add("big", [UInt8](repeating: 0, count: 900)) }
    let before = archive.encoded()
    #expect(before.count == 22 + 76 + 20 + 1)
    // A refused file leaves no trace.
    try archive.add("big", [UInt8](repeating: 0, count: 1000 - before.count - 76 - 6))
    #expect(archive.encoded().count == 1000)
  }
}

@Suite struct SignedManifestTests {
  private let fixture: VaultFixture
  private let key: SigningKey

  init() throws {
    fixture = try VaultFixture()
    var random = RandomStream(testSeed: 4)
    key = SigningKey(using: &random)
  }

  /// An export of two files with its manifest.
  private func export() throws -> SignedManifest {
    let names = ["rows.csv", "tile/0/x001/067"]
    for (number, name) in names.enumerated() {
      let url = URL(fileURLWithPath: fixture.path + "/" + name)
      try FileManager.default.createDirectory(
        at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data([UInt8(number), 2, 3]).write(to: url)
    }
    var files: [String: Digest] = [:]
    for name in names { files[name] = try SignedManifest.digest(ofFile: fixture.path + "/" + name) }
    let manifest = try SignedManifest(
      command: "report events", filter: ["purpose": "recommendations"], rows: 2,
      checkpoint: Checkpoint(origin: "accord.test/log", size: 9, root: Hash.sha256([1])),
      createdMs: 1_790_000_000_000, files: files, key: key)
    try manifest.write(to: fixture.path)
    return manifest
  }

  @Test func `a manifest verifies against the files that it lists`() throws {
    let manifest = try export()
    #expect(try SignedManifest.verify(directory: fixture.path, signer: key.verifyingKey) == manifest)
    #expect(manifest.files["rows.csv"] == Hash.sha256([0, 2, 3]) && manifest.checkpoint?.size == 9)
    #expect(
      String(decoding: manifest.bytes, as: UTF8.self).hasPrefix(
        #"{"checkpoint":{"origin":"accord.test/log","root":""#))
    #expect(key.verifyingKey.verifies(manifest.signature, domain: "accord manifest v1", [manifest.bytes]))
  }

  @Test func `a file that was changed, left out or added is named`() throws {
    _ = try export()
    func verify() throws { _ = try SignedManifest.verify(directory: fixture.path) }
    let csv = URL(fileURLWithPath: fixture.path + "/rows.csv")
    try Data([9]).write(to: csv)
    #expect(throws: LedgerError.changedFile(name: "rows.csv", how: "was changed")) { try verify() }
    try FileManager.default.removeItem(at: csv)
    #expect(throws: LedgerError.changedFile(name: "rows.csv", how: "is missing")) { try verify() }
    try Data([0, 2, 3]).write(to: csv)
    try verify()
    try Data().write(to: URL(fileURLWithPath: fixture.path + "/tile/extra"))
    #expect(throws: LedgerError.changedFile(name: "tile/extra", how: "was added")) { try verify() }
  }

  @Test func `a manifest that was changed or signed by somebody else is refused`() throws {
    let manifest = try export()
    var random = RandomStream(testSeed: 5)
    let other = SigningKey(using: &random)
    #expect(throws: LedgerError.notEnrolled(signer: key.verifyingKey)) {
      try SignedManifest.verify(directory: fixture.path, signer: other.verifyingKey)
    }
    for position in stride(from: 0, to: manifest.bytes.count, by: 5) {
      var changed = manifest.bytes
      changed[position] ^= 1
      #expect(throws: LedgerError.self) {
        try SignedManifest(bytes: changed, signatureText: manifest.signatureText)
      }
    }
    #expect(throws: LedgerError.self) {
      try SignedManifest(bytes: manifest.bytes, signatureText: Array(manifest.signature.hex.utf8))
    }
    #expect(throws: LedgerError.self) {
      try SignedManifest(
        command: "x", filter: [:], rows: 0, checkpoint: nil, createdMs: 0, files: ["../a": Hash.sha256([])],
        key: key)
    }
  }
}
