import AggregationServer
import ArgumentParser
import Cryptography
import EdgeNode
import Federation
import Foundation
import Messages

/// `accord task …`
struct TaskCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "task", abstract: "Submit and watch tasks: training and private statistics.",
    subcommands: [Submit.self, List.self, Show.self, Result.self, Cancel.self])

  struct Submit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Sign a task with the operator's key and submit it.",
      discussion: """
        A task is JSON; `accord task show ID --json` prints one that can serve as a start, and
        docs/STATISTICS.md has one of kind "statistics".

        Example:
          accord task submit churn.json --trust server-data/trust.json --operator-key operator.key
        """)
    @Argument(help: "The task's JSON file.") var file: String
    @Option(help: "The federation's trust.json.") var trust: String
    @Option(help: "The operator's key file.") var operatorKey: String

    func run() async throws {
      let task = try FederationTask.decode(readFile(file))
      let id = try await Operator.submit(task, trust: readFile(trust), key: KeyFile.load(operatorKey))
      Console.write("task \(id) accepted")
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "List the tasks of a federation.",
      discussion: "Example:\n  accord task list --trust server-data/trust.json")
    @Option(help: "The federation's trust.json.") var trust: String
    @Flag(help: "Print JSON.") var json = false

    func run() async throws {
      let status = try await Operator.status(trust: readFile(trust))
      if json { return try Console.writeJSON(status.tasks) }
      for task in status.tasks {
        let done =
          switch task.specification {
          case .training(let training): "\(task.progress.rounds.count)/\(training.rounds) rounds"
          case .statistics(let statistics):
            "\(task.statistics?.results.count ?? 0)/\(statistics.questions.count) questions"
          }
        Console.write("\(task.id)  \(task.progress.statusText)  \(done)")
      }
      if status.tasks.isEmpty { Console.write("no tasks yet; submit one with `accord task submit`") }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Show one task.",
      discussion: "Example:\n  accord task show churn --trust server-data/trust.json --json")
    @Argument(help: "The task's name.") var id: String
    @Option(help: "The federation's trust.json.") var trust: String
    @Flag(help: "Print the task as JSON that can be submitted again under another id.") var json = false

    func run() async throws {
      let task = try await Operator.task(id, trust: readFile(trust))
      if json { return try Console.writeJSON(task.specification) }
      Console.write(
        "\(task.id): \(task.progress.statusText), \(task.progress.abortedSessions) aborted sessions")
      if let report = task.statistics { return Console.write(StatisticsTable.text(report)) }
      guard let training = task.specification.training else { return }
      Console.write(DemoTable.caption(training))
      Console.write(DemoTable.header)
      for round in task.progress.rounds {
        Console.write(DemoTable.row(round))
        if let silhouette = round.silhouette {
          let shares = (round.segmentShares ?? []).map { "\(Int(($0 * 100).rounded())) %" }
          Console.write(
            "      simplified silhouette \(SimulateTable.figure(silhouette, 3)), segments "
              + shares.joined(separator: ", "))
        }
      }
      if let rule = training.earlyStopping, let stopping = task.progress.earlyStopping {
        for sentence in stopping.sentences(rule, of: training.rounds) { Console.write(sentence) }
      }
    }
  }

  struct Result: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Print what a statistics task found so far.",
      discussion: """
        Estimates with standard errors and 95 % intervals, and what they cost. Without --json or --csv it is the
        table of `accord task show`.

        Example:
          accord task result dashboard --trust server-data/trust.json --csv > dashboard.csv
        """)
    @Argument(help: "The task's name.") var id: String
    @Option(help: "The federation's trust.json.") var trust: String
    @Flag(help: "Print JSON.") var json = false
    @Flag(help: "Print CSV, one line per estimate.") var csv = false

    func validate() throws {
      if json && csv { throw ValidationError("choose one of --json and --csv") }
    }

    func run() async throws {
      let task = try await Operator.task(id, trust: readFile(trust))
      guard let report = task.statistics else {
        throw CommandFailure("task \(id) trains a model; its results are shown by `accord task show \(id)`")
      }
      if json { return try Console.writeJSON(report) }
      if csv { return Console.writeRaw(report.csv) }
      Console.write(StatisticsTable.text(report))
    }
  }

  struct Cancel: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "End a task; what it spent stays spent.",
      discussion:
        "Example:\n  accord task cancel churn --trust server-data/trust.json --operator-key operator.key")
    @Argument(help: "The task's name.") var id: String
    @Option(help: "The federation's trust.json.") var trust: String
    @Option(help: "The operator's key file.") var operatorKey: String

    func run() async throws {
      let key = try KeyFile.load(operatorKey)
      try await Operator.withClient(trust: readFile(trust)) { client in
        _ = try await client.send(.taskCancel, to: "v1/tasks/cancel", payload: Array(id.utf8), key: key)
      }
      Console.write("task \(id) cancelled")
    }
  }
}

/// What an operator's tools ask of a server.
enum Operator {
  /// Runs with a client that is closed afterwards.
  static func withClient<Value: Sendable>(
    trust: [UInt8], _ body: (FederationClient) async throws -> Value
  ) async throws -> Value {
    let client = try FederationClient(
      trust: try TrustBundle.decode(trust, source: "the trust bundle"), clock: nowMilliseconds)
    do {
      let value = try await body(client)
      await client.shutdown()
      return value
    } catch {
      await client.shutdown()
      throw error
    }
  }

  /// Signs and submits a task.
  static func submit(
    _ task: FederationTask, trust: [UInt8], key: SigningKey
  ) async throws -> String {
    try task.validate()
    let bytes = try task.canonicalBytes()
    var submission = WireTaskSubmission()
    submission.task = Data(bytes)
    submission.signature = Data(key.sign(domain: TaskSpecification.signatureDomain, [bytes]).bytes)
    let payload = encodeMessage(submission)
    return try await withClient(trust: trust) { client in
      let answer = try await client.sendUntilAnswered(.task, to: "v1/tasks", payload: payload, key: key)
      return try wireMessage(WireTaskAccepted.self, answer, peer: "the server").id
    }
  }

  /// One task and where it stands.
  static func task(_ id: String, trust: [UInt8]) async throws -> FederationStatus.Task {
    let tasks = try await status(trust: trust).tasks
    guard let task = tasks.first(where: { $0.id == id }) else {
      throw CommandFailure(
        "there is no task named \(id); there are: \(tasks.map(\.id).joined(separator: ", "))")
    }
    return task
  }

  /// How the server is doing.
  static func status(trust: [UInt8]) async throws -> FederationStatus {
    try await withClient(trust: trust) { try await status($0) }
  }

  /// How the server is doing.
  static func status(_ client: FederationClient) async throws -> FederationStatus {
    let bytes = try await client.get("v1/status", limit: MessageLimits.entries)
    return try JSONDecoder().decode(FederationStatus.self, from: Data(bytes))
  }
}

extension TaskProgress {
  /// The status as a word or a sentence.
  var statusText: String {
    switch status {
    case .running: "running"
    case .completed: "completed"
    case .stopped(let reason): "stopped: \(reason)"
    case .cancelled: "cancelled"
    }
  }
}
