import ArgumentParser
import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation
import Foundation
import Storage

/// How a command reaches a federation and who speaks.
struct SpeakerOptions: ParsableArguments {
  @Option(help: "The federation's trust.json.") var trust: String
  @Option(help: "Key file of the person who speaks.") var key: String

  /// Sends statements of this person; prints nothing.
  func send(_ bodies: [EntryBody]) async throws -> [LedgerSubmission.Proven] {
    let signer = try KeyFile.load(key)
    let client = try FederationClient(
      trust: try TrustBundle.decode(readFile(trust), source: trust), clock: nowMilliseconds)
    return try await client.closing {
      try await LedgerSubmission.send(SignedStatement.sign(bodies, key: signer), client: client, key: signer)
    }
  }
}

extension FederationClient {
  /// Runs a body and shuts the client down, however the body ends.
  func closing<Value>(_ body: () async throws -> Value) async throws -> Value {
    do {
      let value = try await body()
      await shutdown()
      return value
    } catch {
      await shutdown()
      throw error
    }
  }
}

/// A new identifier for an entry that is made now.
func newEventID() throws -> EventID {
  var random = RandomStream.system()
  return try EventID.ordered(timeMs: Int64(nowMilliseconds()), using: &random)
}

/// `accord policy …`
struct PolicyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "policy", abstract: "What customers may be asked for, and who agreed to it.",
    discussion: """
      A policy is in force once one officer has proposed it and another has approved it. Without a policy in
      force nothing is recorded as consent and nothing is trained.
      """,
    subcommands: [Template.self, Check.self, Propose.self, Approve.self, Show.self])

  struct Template: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write a policy to start from, with its notices.",
      discussion: "Example:\n  accord policy template eu-retail --out policies")
    @Argument(help: "Which one.") var name: String
    @Option(help: "Directory; made if it does not exist.") var out: String

    func run() throws {
      guard let template = PolicyTemplates.all.first(where: { $0.name == name }) else {
        let names = PolicyTemplates.all.map(\.name).joined(separator: ", ")
        throw ValidationError("there is no template “\(name)”; there are: \(names)")
      }
      try FileManager.default.createDirectory(atPath: out, withIntermediateDirectories: true)
      var files = [("\(name).yaml", template.yaml)]
      for notice in template.notices {
        files.append(("notice-\(Hash.sha256(Array(notice.utf8)).hex.prefix(16)).txt", notice))
      }
      for (file, _) in files where DurableFile.exists("\(out)/\(file)") {
        throw CommandFailure("\(out)/\(file) exists already; choose another directory")
      }
      for (file, text) in files {
        try Data(text.utf8).write(to: URL(fileURLWithPath: "\(out)/\(file)"), options: .atomic)
        Console.write("\(out)/\(file)")
      }
    }
  }

  struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Check a policy file and print its hash and what each purpose needs.",
      discussion: "Example:\n  accord policy check policies/eu-retail.yaml")
    @Argument(help: "The YAML file.") var file: String

    func run() throws {
      let policy = try PolicyFile.read(String(decoding: readFile(file), as: UTF8.self), file: file)
      Console.write(
        "policy \(policy.id) version \(policy.version), hash \(Hash.sha256(policy.canonicalBytes))")
      for purpose in policy.purposes {
        Console.write(
          "  \(purpose.reference): \(purpose.isActive ? "active" : "inactive: it has no DPIA reference")")
      }
    }
  }

  struct Propose: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Propose a policy; another officer has to approve it.",
      discussion: """
        Example:
          accord policy propose policies/eu-retail.yaml --trust trust.json --key anna.key
        """)
    @Argument(help: "The YAML file.") var file: String
    @OptionGroup var speaker: SpeakerOptions

    func run() async throws {
      let policy = try PolicyFile.read(String(decoding: readFile(file), as: UTF8.self), file: file)
      let record = PolicyRecord(document: policy.canonicalBytes, timeMs: Int64(nowMilliseconds()))
      let receipts = try await speaker.send([.policy(record)])
      Console.write("proposed as entry \(receipts[0].index); another officer approves it with:")
      Console.write("  accord policy approve \(record.digest) --trust … --key …")
    }
  }

  struct Approve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Approve a policy that another officer proposed: it is in force from then on.",
      discussion: "Example:\n  accord policy approve 3f…9a --trust trust.json --key ben.key")
    @Argument(help: "The policy's hash, 64 hexadecimal digits.") var digest: String
    @OptionGroup var speaker: SpeakerOptions

    func run() async throws {
      let target: Digest
      do { target = try Digest(hex: digest) } catch { throw ValidationError("\(error)") }
      let record = ApprovalRecord(
        id: try newEventID(), action: .policy, target: target, text: "policy \(target.hex.prefix(16))…",
        timeMs: Int64(nowMilliseconds()))
      let receipts = try await speaker.send([.approval(record)])
      Console.write("approved as entry \(receipts[0].index): the policy is in force")
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show the policies in a ledger and which one is in force.",
      discussion: "Example:\n  accord policy show --data server-data")
    @Option(help: "The data directory of a server or a node.") var data: String
    @Flag(help: "Print the policy in force as JSON.") var json = false

    func run() throws {
      let rules = try LedgerFileReader(directory: data).rules()
      if json {
        guard let current = rules.current else { throw LedgerError.noPolicy }
        return Console.write(String(decoding: current.policy.canonicalBytes, as: UTF8.self))
      }
      for policy in rules.policies.values.sorted(by: { $0.proposedAt < $1.proposedAt }) {
        let state =
          policy.digest == rules.current?.digest
          ? "in force since entry \(policy.inForceFrom ?? 0)"
          : policy.inForceFrom.map { "was in force from entry \($0)" } ?? "waits for approval"
        Console.write("\(policy.policy.id) version \(policy.policy.version)  \(policy.digest)  \(state)")
      }
      if rules.policies.isEmpty { Console.write("no policy was ever proposed") }
    }
  }
}
