import ArgumentParser
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation

/// `accord officer …`
struct OfficerCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "officer", abstract: "Admit compliance officers and end enrolments.",
    subcommands: [Enrol.self, Revoke.self, List.self])

  struct Enrol: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Admit an officer's key; the operator signs.",
      discussion: """
        Example:
          accord keys generate --out anna.key
          accord officer enrol anna --officer-key $(accord keys show anna.key) \\
            --trust server-data/trust.json --key operator.key
        """)
    @Argument(help: "The officer's name.") var name: String
    @Option(help: "The officer's public key, 64 hexadecimal digits.") var officerKey: String
    @OptionGroup var speaker: SpeakerOptions

    func run() async throws {
      let record = EnrolmentRecord(
        nodeKey: try VerifyingKey(hex: officerKey), name: name, kind: .officer, validFromMs: 0)
      let receipts = try await speaker.send([.enrolment(record)])
      Console.write("\(name) is enrolled as an officer (entry \(receipts[0].index))")
    }
  }

  struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End the enrolment of a node, a device or an officer; the operator signs.",
      discussion: """
        Example:
          accord officer revoke 9f…21 --reason "left the company" --trust trust.json --key operator.key
        """)
    @Argument(help: "The public key, 64 hexadecimal digits.") var revoked: String
    @Option(help: "Why; it stands in the ledger.") var reason: String
    @OptionGroup var speaker: SpeakerOptions

    func run() async throws {
      let record = RevocationRecord(
        key: try VerifyingKey(hex: revoked), reason: reason, timeMs: Int64(nowMilliseconds()))
      let receipts = try await speaker.send([.revocation(record)])
      Console.write("revoked (entry \(receipts[0].index)): the key signs nothing any more")
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the keys in force.", discussion: "Example:\n  accord officer list --data server-data")
    @Option(help: "The data directory of a server or a node.") var data: String

    func run() throws {
      let rules = try LedgerFileReader(directory: data).rules()
      for key in rules.order {
        guard let enrolment = rules.enrolments[key] else { continue }
        Console.write("\(enrolment.kind.rawValue)  \(key)  \(enrolment.name)")
      }
    }
  }
}
