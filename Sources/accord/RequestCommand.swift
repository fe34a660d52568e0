import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation

/// `accord request …`
struct RequestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "request", abstract: "The register of customers' statutory requests.",
    subcommands: [Record.self])

  struct Record: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Record that a request was received, acknowledged, extended, completed or denied.",
      discussion: """
        The first step draws the request's id and prints it; later steps name it. Deadlines:
        accord report requests.

        Examples:
          accord request record --data store-1 --action received --nature access --law gdpr \\
            --manner "web form" --subject 50001
          accord request record --data store-1 --action completed --nature access --law gdpr \\
            --manner "web form" --request 0193…c2 --response "package sent"
        """)
    @Option(help: "The node's data directory.") var data: String
    @Option(help: "received, acknowledged, extended, completed or denied.") var action: String
    @Option(
      help: """
        access, erasure, rectification, restriction, portability, objection, opt-out, limit, know, delete or \
        correct.
        """)
    var nature: String
    @Option(help: "Whose clock runs: gdpr or ccpa.") var law: String
    @Option(help: "How the request was made.") var manner: String
    @Option(help: "The request's id, for every step but the first.") var request: String?
    @Option(help: "The customer, if the node knows one.") var subject: String?
    @Option(help: "Why it was denied or extended.") var basis: String?
    @Option(help: "What was answered.") var response: String?

    func run() async throws {
      guard let action = RequestRecord.Action(rawValue: action),
        let nature = RequestRecord.Nature(rawValue: nature), let law = RequestRecord.Law(rawValue: law)
      else { throw ValidationError("--action, --nature or --law is none of the words listed in --help") }
      guard (request == nil) == (action == .received) else {
        throw ValidationError("a request begins with “received”; every other step names --request")
      }
      let files = try NodeFiles(sharing: data)
      let tag = try subject.flatMap { try files.openVault().tag(for: $0, create: false) }
      if subject != nil, tag == nil {
        throw CommandFailure("this node knows nothing about that customer; leave --subject out")
      }
      let id = try newEventID()
      let record = RequestRecord(
        eventID: id, requestID: try request.map { try EventID(hex: $0) } ?? id, action: action,
        nature: nature, law: law, manner: manner, basis: basis, response: response, subject: tag,
        timeMs: Int64(nowMilliseconds()))
      let client = try FederationClient(trust: files.trust, clock: nowMilliseconds)
      let receipts = try await client.closing {
        try await LedgerSubmission.send(
          [SignedStatement.sign(.request(record), key: files.identity)], client: client, key: files.identity)
      }
      Console.write(
        "request \(record.requestID): \(action.rawValue) (entry \(receipts[0].index))")
    }
  }
}
