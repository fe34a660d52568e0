import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import Storage

/// How and for what consent was taken; options of `consent record` and `consent import`.
struct CircumstanceOptions: ParsableArguments {
  @Option(help: "The purpose: an id of the policy in force, or * for all (denials only).")
  var purpose: String = "churn"
  @Option(help: "Where the customer lives, such as DE or US-CA; unknown counts as the strictest.")
  var jurisdiction = "unknown"
  @Option(help: "unknown, under-13, 13, 14, 15, 16-17 or adult.") var age = AgeBand.adult.rawValue
  @Option(help: "Who spoke: customer, guardian, agent, controller, authority or system.")
  var actor = ActorRole.customer.rawValue
  @Option(help: "Language of the notice shown; picks the policy's notice.") var language: String?
  @Option(help: "SHA-256 of the notice shown, if it is not the policy's in that language.")
  var notice: String?
  @Option(help: "SHA-256 of the screen as it was shown.") var screen: String?
  @Option(help: "Legal basis, if it is not the policy's.") var legalBasis: String?
  @Option(help: "Where: store-till, web, app, phone, …") var channel = "store-till"
  @Option(help: "How: spoken, signature, checkbox, toggle, …") var method = "spoken"
  @Option(help: "Who entered it: a till, an employee number. Default: the node's name.")
  var recorder: String?

  func circumstances() throws -> ConsentRecorder.Circumstances {
    guard let age = AgeBand(rawValue: age) else {
      throw ValidationError("--age must be \(AgeBand.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    guard let actor = ActorRole(rawValue: actor) else {
      throw ValidationError("--actor must be \(ActorRole.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    var circumstances = ConsentRecorder.Circumstances(
      purpose: purpose, jurisdiction: jurisdiction, ageBand: age, actor: actor, channel: channel,
      method: method, language: language)
    circumstances.noticeHash = notice
    circumstances.screenHash = screen
    circumstances.legalBasis = legalBasis
    circumstances.recorder = recorder
    return circumstances
  }
}

/// `accord consent …`
struct ConsentCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consent", abstract: "Record what customers permit, refuse and withdraw.",
    subcommands: [Record.self, ConsentImport.self, Notice.self])

  struct Record: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Record one decision; prints its place in the ledger once it is durable.",
      discussion: """
        States: \(ConsentState.allCases.map(\.rawValue).joined(separator: ", ")).

        Examples:
          accord consent record --data store-1 --subject 50001 --state given --jurisdiction DE --language de
          accord consent record --data store-1 --subject 50001 --state withdrawn --receipt 50001.tlog-proof
        """)
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "The customer.") var subject: String
    @Option(help: "The decision.") var state: String
    @Option(help: "Key of idempotence, 32 hexadecimal digits; default: a new one.") var eventID: String?
    @Option(help: "Steps that the customer needed.") var steps: Int?
    @Option(help: "Milliseconds that the customer needed.") var durationMs: Int64?
    @Option(help: "What the customer said, kept sealed in the vault.") var text: String?
    @Option(help: "Write the customer's receipt (C2SP tlog-proof) to this file.") var receipt: String?
    @OptionGroup var circumstances: CircumstanceOptions

    func run() async throws {
      var entry = ConsentRecorder.Entry(
        subject: subject, state: try parseState(state), timeMs: Int64(nowMilliseconds()),
        eventID: try eventID.map { try EventID(hex: $0) })
      entry.steps = steps
      entry.durationMs = durationMs
      if let text { entry.payload = ConsentPayload(customerID: subject, text: text) }
      let receipts = try await Recording.record(
        [entry], node: data, circumstances: try circumstances.circumstances())
      for proof in receipts {
        Console.write(
          "\(state) of \(subject) is entry \(proof.index) of the ledger (proven in a tree of \(proof.treeSize))"
        )
        if let receipt {
          try Data(proof.proven.text.utf8).write(to: URL(fileURLWithPath: receipt), options: .atomic)
        }
      }
    }
  }
}

extension ConsentCommand {
  struct Notice: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keep a notice's text at a node, for reports and access packages; prints its hash.",
      discussion:
        "Example:\n  accord consent notice policies/notice-77204c26.txt --language de --data store-1")
    @Argument(help: "The text as customers see it.") var file: String
    @Option(help: "Its language.") var language: String
    @Option(help: "The node's data directory.") var data: String

    func run() throws {
      guard let text = String(validating: try readFile(file), as: UTF8.self) else {
        throw CommandFailure("\(file) is no text in UTF-8")
      }
      let hash = try NodeFiles(sharing: data).openVault().storeNotice(text, language: language)
      Console.write("\(hash)")
    }
  }
}

/// Recording through a node's files.
enum Recording {
  /// Records entries and closes what was opened.
  static func record(
    _ entries: [ConsentRecorder.Entry], node: String, circumstances: ConsentRecorder.Circumstances
  ) async throws -> [ConsentRecorder.Receipt] {
    try await withRecorder(node: node) { try await $0.record(entries, circumstances) }
  }

  /// Opens a recorder over a node's files, whether the node runs or not.
  static func withRecorder<Value>(
    node: String, _ body: (ConsentRecorder) async throws -> Value
  ) async throws -> Value {
    let files = try NodeFiles(sharing: node)
    let client = try FederationClient(trust: files.trust, clock: nowMilliseconds)
    return try await client.closing {
      let recorder = ConsentRecorder(
        files: files, vault: try files.openVault(), client: client,
        view: try await LedgerView.open(files, client: client))
      return try await body(recorder)
    }
  }
}

func parseState(_ text: String) throws -> ConsentState {
  guard let state = ConsentState(rawValue: text) else {
    throw CommandFailure(
      "“\(text)” is no state; use one of: \(ConsentState.allCases.map(\.rawValue).joined(separator: ", "))")
  }
  return state
}
