import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import MerkleLog
import Storage

/// `accord ledger …`
struct LedgerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ledger", abstract: "Verify the consent ledger from its files, trusting nobody.",
    subcommands: [Verify.self, Checkpoint.self, Prove.self, Export.self])

  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Recompute every hash, signature and derived table of the log.",
      discussion: """
        Takes the data directory of a server or a node, an export's directory, the URL of a served log, or a
        receipt (.tlog-proof). Exit code 0 if everything holds, 1 if not, naming the first bad entry.

        Examples:
          accord ledger verify --data server-data --json
          accord ledger verify --from export --keys keys.json --since last-month.checkpoint
          accord ledger verify --from https://log.example.com --keys keys.json
          accord ledger verify --from receipt.tlog-proof --keys keys.json
        """)
    @Option(help: "The data directory of a server or a node.") var data: String?
    @Option(help: "An export's directory, a URL, or a receipt.") var from: String?
    @Option(help: "Keys that must have signed: keys.json of an export, or trust.json.") var keys: String?
    @Option(help: "A checkpoint that somebody kept: the log has to continue it.") var since: String?
    @Flag(help: "Print JSON.") var json = false

    struct Report: Codable {
      let verified: Bool
      let size: UInt64
      let root: String
      let origin: String
      let consents: Int
      let enrolments: Int
      let rounds: Int
      let policies: Int
      let requests: Int
      let firstBadEntry: UInt64?
      let firstProblem: String?
    }

    func validate() throws {
      guard (data == nil) != (from == nil) else { throw ValidationError("name either --data or --from") }
    }

    func run() async throws {
      if let from, from.hasSuffix(".tlog-proof") { return try verifyReceipt(from) }
      let pinned = try keys.map(PinnedKeys.read)
      let result = try verify(pinned)
      let report = Report(
        verified: result.verified, size: result.size, root: result.root.hex, origin: result.origin,
        consents: result.counts.consents, enrolments: result.counts.enrolments,
        rounds: result.counts.rounds, policies: result.counts.policies, requests: result.counts.requests,
        firstBadEntry: result.firstBadEntry?.value, firstProblem: result.firstProblem)
      if json { try Console.writeJSON(report) }
      guard result.verified else {
        throw CommandFailure("the ledger does NOT verify: \(result.firstProblem ?? "unknown reason")")
      }
      guard !json else { return }
      Console.write("the ledger of \(report.origin) verifies")
      Console.write("  \(report.size) entries, root \(report.root)")
      Console.write(
        "  \(report.consents) consent events, \(report.enrolments) enrolments, \(report.rounds) sessions")
      if since != nil { Console.write("  it continues the checkpoint of \(since ?? "")") }
      if pinned == nil {
        Console.write("  the keys are the ledger's own: compare them with yours, or name yours with --keys")
        for key in [result.verifiers?.log, result.verifiers?.freshness] {
          Console.write("    \(key?.description ?? "")")
        }
      }
    }

    private func verify(_ pinned: LedgerKeys?) throws -> LedgerVerification {
      if let data {
        guard DurableFile.exists(data + "/VERSION") else { throw StorageError.notADataDirectory(path: data) }
        let verifiers =
          try pinned?.verifiers ?? since.map { _ in try LedgerFileReader(directory: data).verifiers }
        return LedgerVerifier.verify(
          directory: data, pinned: pinned?.verifiers, operatorKey: pinned?.operatorKey,
          since: try verifiers.flatMap { try kept($0) })
      }
      let source = try source(from ?? "")
      let known = try pinned ?? source.read("keys.json").map { try LedgerKeys(bytes: $0) }
      return LedgerVerifier.verify(
        source: source, pinned: pinned, since: try known.flatMap { try kept($0.verifiers) })
    }

    private func kept(_ verifiers: CheckpointVerifiers) throws -> SignedCheckpoint? {
      try since.map { try SignedCheckpoint.verify(String(decoding: readFile($0), as: UTF8.self), verifiers) }
    }

    private func source(_ text: String) throws -> LedgerSource {
      guard text.hasPrefix("https://") || text.hasPrefix("http://") else {
        guard DurableFile.exists(text + "/checkpoint") else {
          throw CommandFailure("\(text) is no export: it has no file “checkpoint”")
        }
        return LedgerSource(directory: text)
      }
      return RemoteLog.source(text)
    }

    private func verifyReceipt(_ path: String) throws {
      guard let keys else { throw ValidationError("a receipt needs --keys: keys.json or trust.json") }
      let proof = try TransparencyProof(parsing: String(decoding: readFile(path), as: UTF8.self))
      guard let leaf = proof.extra else { throw CommandFailure("\(path) does not hold the entry") }
      let pinned = try PinnedKeys.read(keys)
      let signed = try proof.verify(leafHash: MerkleTree.leafHash(leaf), verifiers: pinned.verifiers)
      let entry = try LedgerEntry(leaf: leaf)
      Console.write(
        "entry \(proof.index) (\(entry.kind.rawValue), taken "
          + "\(Date(timeIntervalSince1970: Double(entry.recordedMs) / 1000).formatted(.iso8601))) is in the log "
          + "\(signed.checkpoint.origin) of \(signed.checkpoint.size) entries")
    }
  }

  struct Checkpoint: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the newest signed checkpoint (C2SP signed note). Keep it: verify --since compares.",
      discussion: "Example:\n  accord ledger checkpoint --data server-data > today.checkpoint")
    @Option(help: "The data directory of a server or a node.") var data: String

    func run() throws { Console.writeRaw(try LedgerFileReader(directory: data).checkpoint.noteText) }
  }

  struct Prove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write the receipt of an entry: leaf, proof and checkpoint (C2SP tlog-proof).",
      discussion: "Example:\n  accord ledger prove 17 --data store-1 --out 17.tlog-proof")
    @Argument(help: "The entry's position.") var index: UInt64
    @Option(help: "The data directory of a server or a node.") var data: String
    @Option(help: "The file; default: standard output.") var out: String?

    func run() throws {
      let text = try LedgerFileReader(directory: data).proof(index).encoded
      guard let out else { return Console.writeRaw(text) }
      try Data(text.utf8).write(to: URL(fileURLWithPath: out), options: .atomic)
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Write the log as files for a static file server (C2SP tlog-tiles), or bring them up to date.",
      discussion: "Example:\n  accord ledger export --data server-data --out public-log")
    @Option(help: "The data directory of a server or a node.") var data: String
    @Option(help: "Directory; made if it does not exist.") var out: String

    func run() throws {
      let summary = try LedgerExport.export(directory: data, to: out)
      try AccessLog(path: data + "/access.log").append(
        AccessRecord(
          timeMs: Int64(nowMilliseconds()), command: "ledger export", filter: [:], subjects: [],
          rows: Int(summary.size), checkpoint: nil, output: summary.root), as: NSUserName())
      Console.write(
        "\(out): \(summary.size) entries, \(summary.written) files written, \(summary.kept) kept")
    }
  }
}

/// Keys that somebody pinned: an export's keys.json, or a federation's trust.json.
enum PinnedKeys {
  static func read(_ path: String) throws -> LedgerKeys {
    let bytes = try readFile(path)
    if let keys = try? LedgerKeys(bytes: bytes) { return keys }
    let trust = try TrustBundle.decode(bytes, source: path)
    let keys = try trust.keys(source: path)
    return LedgerKeys(
      verifiers: try CheckpointVerifiers(
        origin: trust.federation, logKey: keys.log, freshnessKey: keys.freshness),
      operatorKey: keys.operator)
  }
}

/// A log that is served over HTTP.
enum RemoteLog {
  static func source(_ url: String) -> LedgerSource {
    let base = url.hasSuffix("/") ? String(url.dropLast()) : url
    return LedgerSource(
      name: base,
      read: { path in
        guard let address = URL(string: "\(base)/\(path)") else { return nil }
        return try PlainFetch.get(address)
      })
  }
}
