import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Foundation
import Simulation
import Storage

/// How and for what consent was taken; options of `consent record` and `consent import`.
struct CircumstanceOptions: ParsableArguments {
  @Option(help: "The purpose.") var purpose: String = "churn"
  @Option(help: "The purpose's version.") var purposeVersion = 1
  @Option(help: "Legal basis.") var legalBasis = "eu-gdpr:A6-1-a"
  @Option(help: "Jurisdiction, such as EU or US-CA.") var jurisdiction = "EU"
  @Option(help: "SHA-256 of the notice shown, hexadecimal.") var notice = ""
  @Option(help: "Where: store, web, app, phone, …") var channel = "store"
  @Option(help: "How: spoken, signature, checkbox, …") var method = "spoken"

  var circumstances: ConsentRecorder.Circumstances {
    ConsentRecorder.Circumstances(
      purpose: Purpose(id: purpose, version: purposeVersion), legalBasis: legalBasis,
      jurisdiction: jurisdiction, noticeHash: notice, channel: channel, method: method)
  }
}

/// `accord consent …`
struct ConsentCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consent", abstract: "Record what customers permit, refuse and withdraw.",
    subcommands: [Record.self, Import.self])

  struct Record: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Record one decision; prints its place in the ledger once it is durable.",
      discussion: """
        States: given, refused, withdrawn, requested, objected, restricted, opted-out.

        Examples:
          accord consent record --data store-1 --subject 50001 --state given
          accord consent record --data store-1 --subject 50001 --state withdrawn
        """)
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "The customer.") var subject: String
    @Option(help: "The decision.") var state: String
    @OptionGroup var circumstances: CircumstanceOptions

    func run() async throws {
      let entry = ConsentRecorder.Entry(
        subject: subject, state: try parseState(state), timeMs: Int64(nowMilliseconds()))
      let receipts = try await Recording.record(
        [entry], node: data, circumstances: circumstances.circumstances)
      for receipt in receipts {
        Console.write(
          "\(state) of \(subject) is entry \(receipt.index) of the ledger (proven in a tree of \(receipt.treeSize))"
        )
      }
    }
  }

  struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Record the decisions of a CSV file with the columns subject and state.",
      discussion: """
        Nothing is recorded unless every row can be read. An optional column event_id (32 hexadecimal
        digits) makes a repeated import harmless.

        Example:
          accord consent import decisions.csv --data store-1
        """)
    @Option(help: "The node's data directory.") var data: String
    @Argument(help: "The CSV file.") var file: String
    @OptionGroup var circumstances: CircumstanceOptions

    func run() async throws {
      let table = try TableReader.read(path: file)
      func column(_ name: String) throws -> Int {
        guard let index = table.columns.firstIndex(of: name) else {
          throw CommandFailure(
            "\(file) has no column “\(name)”; it has: \(table.columns.joined(separator: ", "))")
        }
        return index
      }
      let subject = try column("subject")
      let state = try column("state")
      let event = table.columns.firstIndex(of: "event_id")
      let now = Int64(nowMilliseconds())
      var entries: [ConsentRecorder.Entry] = []
      for (number, row) in table.rows.enumerated() {
        do {
          guard !row[subject].isEmpty else { throw CommandFailure("the subject is empty") }
          entries.append(
            ConsentRecorder.Entry(
              subject: row[subject], state: try parseState(row[state]), timeMs: now,
              eventID: try event.map { try EventID(hex: row[$0]) }))
        } catch {
          throw CommandFailure("\(file), record \(number): \(error); nothing was recorded")
        }
      }
      let receipts = try await Recording.record(
        entries, node: data, circumstances: circumstances.circumstances)
      Console.write("recorded \(receipts.count) decisions")
    }
  }
}

/// Recording through a node's files.
enum Recording {
  /// Records entries and closes what was opened.
  static func record(
    _ entries: [ConsentRecorder.Entry], node: String, circumstances: ConsentRecorder.Circumstances
  ) async throws -> [ConsentRecorder.Receipt] {
    let files = try NodeFiles(sharing: node)
    let client = try FederationClient(trust: files.trust, clock: nowMilliseconds)
    do {
      let receipts = try await ConsentRecorder(files: files, client: client)
        .record(entries, circumstances)
      await client.shutdown()
      return receipts
    } catch {
      await client.shutdown()
      throw error
    }
  }
}

private func parseState(_ text: String) throws -> ConsentState {
  guard let state = ConsentState(rawValue: text) else {
    throw CommandFailure(
      "“\(text)” is no state; use one of: \(ConsentState.allCases.map(\.rawValue).joined(separator: ", "))")
  }
  return state
}

/// `accord subject …`
struct SubjectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "subject", abstract: "What a node knows about one customer's consent.",
    subcommands: [Show.self, Rounds.self])

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show a customer's events in the ledger and the decision in force.",
      discussion: "Example:\n  accord subject show 50001 --data store-1")
    @Argument(help: "The customer.") var subject: String
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "The purpose.") var purpose = "churn"
    @Option(help: "The purpose's version.") var purposeVersion = 1

    func run() throws {
      let files = try NodeFiles(sharing: data)
      guard let tag = try files.openVault().tag(for: subject, create: false) else {
        Console.write("\(subject): nothing was ever recorded; training is not permitted")
        return
      }
      let mirror = try files.openMirror()
      let events = try mirror.events(for: [tag], grantor: files.identity.verifyingKey)[tag] ?? []
      Console.write("\(subject): tag \(tag)")
      for event in events {
        Console.write(
          "  entry \(event.index): \(event.event.state.rawValue) for \(event.event.purpose) by \(event.event.recorder)"
        )
      }
      let decision = decide(
        events: events, purpose: Purpose(id: purpose, version: purposeVersion), regime: .optIn,
        nowMs: Int64(nowMilliseconds()))
      Console.write(
        "training for \(purpose) is \(decision.permitted ? "permitted" : "not permitted") (\(decision.reason.rawValue)), as of \(mirror.size) verified entries"
      )
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
}
