import AggregationServer
import ArgumentParser
import Cryptography
import Federation
import Learning
import Foundation
import Storage

/// `accord model …`
struct ModelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model", abstract: "List, show and export models of a server on this machine.",
    subcommands: [List.self, Show.self, Export.self])

  struct Listed: Codable {
    let task: String
    let version: Int
    let sha256: String
    let digest: String
    let parameters: Int
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List all model versions.",
      discussion: "Example:\n  accord model list --data server-data")
    @Option(help: "The server's data directory.") var data: String
    @Flag(help: "Print JSON.") var json = false

    func run() throws {
      let models = try ServerInspection(directory: data).models().map { model in
        Listed(
          task: model.artifact.task, version: model.artifact.version,
          sha256: Hash.sha256(model.bytes).hex, digest: ModelArtifact.digest(of: model.bytes).hex,
          parameters: model.artifact.parameters.count)
      }
      if json { return try Console.writeJSON(models) }
      for model in models {
        Console.write(
          "\(model.task)  version \(model.version)  digest \(model.digest.prefix(16))…  "
            + "SHA-256 \(model.sha256.prefix(16))…  \(model.parameters) parameters"
        )
      }
    }
  }

  struct Show: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show what a model consists of.",
      discussion: "Example:\n  accord model show churn --data server-data")
    @Argument(help: "The task's name.") var task: String
    @Option(help: "The server's data directory.") var data: String

    func run() throws {
      let model = try ServerInspection(directory: data).newestModel(of: task)
      let artifact = model.artifact
      Console.write(
        "task \(artifact.task), version \(artifact.version), SHA-256 \(Hash.sha256(model.bytes).hex)")
      Console.write(
        "architecture: \(artifact.architecture.settings.summary), \(artifact.parameters.count) parameters")
      if let pipeline = artifact.model?.pipeline {
        Console.write("features: \(pipeline.featureCount) from \(pipeline.schema.columns.count) columns")
      }
    }
  }

  struct Export: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Write the newest model of a task to a file.",
      discussion: "Example:\n  accord model export churn --data server-data --out churn.accord")
    @Argument(help: "The task's name.") var task: String
    @Option(help: "The server's data directory.") var data: String
    @Option(help: "The file to write.") var out: String

    func run() throws {
      let model = try ServerInspection(directory: data).newestModel(of: task)
      try DurableFile.write(model.bytes, to: out)
      Console.write("\(out): version \(model.artifact.version), SHA-256 \(Hash.sha256(model.bytes).hex)")
    }
  }
}
