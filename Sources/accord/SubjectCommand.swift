import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import Storage

/// `accord subject …`
struct SubjectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "subject", abstract: "One customer: what is known, where it was used, export, erasure.",
    subcommands: [Show.self, Rounds.self, Export.self, ApproveErasure.self, Erase.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a customer's events in the ledger and the decision in force.",
      discussion: "Example:\n  accord subject show 50001 --data store-1 --purpose churn")
    @Argument(help: "The customer.") var subject: String
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "The purpose; default: every purpose of the policy in force.") var purpose: String?

    func run() throws {
      let files = try NodeFiles(sharing: data)
      guard let tag = try files.openVault().tag(for: subject, create: false) else {
        Console.write("\(subject): nothing was ever recorded; training is not permitted")
        return
      }
      let reader = try LedgerFileReader(directory: data)
      let positions = (try reader.index().positions(of: [tag])[tag] ?? []).filter { $0 < reader.size }
      Console.write("\(subject): tag \(tag)")
      var events: [IndexedEvent] = []
      for position in positions {
        let entry = try reader.entry(position)
        guard case .consent(let event) = entry.body else { continue }
        let foreign = entry.signer != files.identity.verifyingKey
        Console.write(
          "  entry \(position): \(event.state.rawValue) for \(event.purpose) by \(event.recorder)"
            + (foreign ? " (another node: only its denials count here)" : ""))
        if foreign, event.state.isGrant || event.state == .restrictionLifted { continue }
        events.append(IndexedEvent(index: LeafIndex(position), event: event))
      }
      guard let policy = try reader.rules().current?.policy else { throw LedgerError.noPolicy }
      let purposes = policy.purposes.filter { purpose == nil || $0.id == purpose }
      guard !purposes.isEmpty else {
        throw CommandFailure(
          "the policy in force has no purpose “\(purpose ?? "")”; it has: "
            + policy.purposes.map(\.id).joined(separator: ", "))
      }
      for entry in purposes {
        let decision = decide(
          events: events, purpose: entry.reference, policy: policy, nowMs: Int64(nowMilliseconds()))
        Console.write(
          "training for \(entry.id) is \(decision.permitted ? "permitted" : "not permitted") "
            + "(\(decision.reason.rawValue)), as of \(reader.size) verified entries")
      }
    }
  }

  struct Rounds: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the sessions that used a customer's records.",
      discussion: "Example:\n  accord subject rounds 50001 --data store-1")
    @Argument(help: "The customer.") var subject: String
    @Option(help: "The node's data directory.") var data: String

    func run() throws {
      let uses = try NodeFiles(sharing: data).openVault().rounds(of: subject)
      if uses.isEmpty { Console.write("\(subject): never used") }
      for use in uses { Console.write("session \(use.round)  \(use.sessionID.hex.prefix(16))…") }
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract:
        "Write a subject access package: records, notices, rounds, proofs and the verifier, as a zip.",
      discussion: """
        Anybody checks it with: python3 verify_ledger.py package FILE (the verifier is in the package).

        Example:
          accord subject export 50001 --data store-1 --out 50001.zip
        """)
    @Argument(help: "The customer.") var subject: String
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "The zip file.") var out: String

    func run() throws {
      let files = try NodeFiles(sharing: data)
      guard !DurableFile.exists(out) else {
        throw CommandFailure("\(out) exists already; choose another file")
      }
      let package = try SubjectPackage.make(
        subject: subject, vault: files.openVault(), directory: data, key: files.identity,
        verifier: VerifierScript.bytes, nowMs: Int64(nowMilliseconds()))
      try package.archive.write(to: out)
      try AccessLog(path: data + "/access.log").append(
        AccessRecord(
          timeMs: Int64(nowMilliseconds()), command: "subject export", filter: [:], subjects: [package.tag],
          rows: package.events, checkpoint: package.checkpoint,
          output: Hash.sha256(try readFile(out))), as: NSUserName())
      Console.write("\(out): \(package.events) records, \(package.rounds) rounds, with proofs")
    }
  }

  struct ApproveErasure: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "approve-erasure", abstract: "An officer's agreement to the erasure of a tag.",
      discussion: "Example:\n  accord subject approve-erasure 5c…01 --trust trust.json --key anna.key")
    @Argument(help: "The customer's tag, 64 hexadecimal digits.") var tag: String
    @OptionGroup var speaker: SpeakerOptions

    func run() async throws {
      let target: Digest
      do { target = try Digest(hex: tag) } catch { throw ValidationError("\(error)") }
      let record = ApprovalRecord(
        id: try newEventID(), action: .erasure, target: target, text: "erasure",
        timeMs: Int64(nowMilliseconds()))
      let receipts = try await speaker.send([.approval(record)])
      Console.write("approved as entry \(receipts[0].index)")
    }
  }

  struct Erase: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Erase a customer: key, payloads and records; the log stays verifiable.",
      discussion: """
        If the policy asks for two people, two officers approve first. The certificate is written to the node's
        directory and to --out.

        Example:
          accord subject erase 50001 --data store-1 --out certificate.json
        """)
    @Argument(help: "The customer.") var subject: String
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "Where the certificate goes besides.") var out: String?

    func run() async throws {
      let files = try NodeFiles(sharing: data)
      let client = try FederationClient(trust: files.trust, clock: nowMilliseconds)
      let vault = try files.openVault()
      let certificate = try await client.closing {
        let erasure = Erasure(
          files: files, vault: vault, store: try LocalStore(path: data + "/store.sqlite"), client: client,
          view: try await LedgerView.open(files, client: client))
        return try await erasure.erase(subject, timeMs: Int64(nowMilliseconds()))
      }
      if let out { try Data(certificate.encoded()).write(to: URL(fileURLWithPath: out), options: .atomic) }
      Console.write(
        "erased: \(certificate.deleted.keys) key, \(certificate.deleted.payloads) payloads, "
          + "\(certificate.deleted.rounds) links to rounds, \(certificate.deleted.evidence) leaves of evidence; "
          + "entry \(certificate.index)")
    }
  }
}
