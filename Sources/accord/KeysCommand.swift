import ArgumentParser
import Cryptography

/// `accord keys …`
struct KeysCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "keys", abstract: "Make and show signing keys.", subcommands: [Generate.self, Show.self])

  struct Generate: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Draw an Ed25519 key into a new file of mode 0600 and print its public half.",
      discussion: "Example:\n  accord keys generate --out operator.key")
    @Option(help: "The file; it must not exist.") var out: String
    func run() throws { Console.write(try KeyFile.create(out).verifyingKey.hex) }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print the public half of a key file.",
      discussion: "Example:\n  accord keys show operator.key")
    @Argument(help: "The key file.") var file: String
    func run() throws { Console.write(try KeyFile.load(file).verifyingKey.hex) }
  }
}
