import ArgumentParser
import ConsentLedger

/// `accord report consent`
struct ReportConsentCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consent", abstract: "1  Did a customer consent to a purpose on a date?",
    discussion: """
      The decision of the policy in force then, from the entries that the ledger had taken by then.

      Example:
        accord report consent --data store-1 --subject 50001 --purpose churn --at 2026-01-31 --prove proofs
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var customer: ReportSubjectOptions
  @OptionGroup var output: ReportOutputOptions
  @Option(help: "The purpose.") var purpose: String
  @Option(help: "Its version; by default the one of the policy in force then.") var purposeVersion: Int?
  @Option(help: "A date (to its end, UTC) or a time such as 2026-01-31T12:00:00Z; by default now.")
  var at: String?

  func run() throws {
    let subject = try customer.required()
    var time: Int64?
    if let at {
      guard let parsed = ReportTime.parse(at) else {
        throw ValidationError("--at takes a date such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z")
      }
      time = parsed
    }
    try ReportRun(source: source, output: output, subject: subject) { reports in
      try reports.consent(subject, purpose: purpose, version: purposeVersion, atMs: time ?? reports.nowMs)
    }
  }
}

/// `accord report shown`
struct ReportShownCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "shown", abstract: "2  What exactly was shown to a customer?",
    discussion: "Example:\n  accord report shown --data store-1 --subject 50001")
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var customer: ReportSubjectOptions
  @OptionGroup var output: ReportOutputOptions
  @Option(help: "Only this purpose.") var purpose: String?

  func run() throws {
    let subject = try customer.required()
    try ReportRun(source: source, output: output, subject: subject) {
      try $0.shown(subject, purpose: purpose)
    }
  }
}

/// `accord report recorder`
struct ReportRecorderCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recorder", abstract: "3  Who recorded it, and how?",
    discussion: """
      Without a customer: who records how much, over which channels.

      Example:
        accord report recorder --data store-1 --subject 50001
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var customer: ReportSubjectOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws {
    let subject = try customer.named()
    try ReportRun(source: source, output: output, subject: subject) { try $0.recorder(subject) }
  }
}

/// `accord report ease`
struct ReportEaseCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ease", abstract: "4  Is withdrawing as easy as giving?",
    discussion: "Example:\n  accord report ease --data server-data")
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws { try ReportRun(source: source, output: output) { try $0.ease() } }
}

/// `accord report withdrawals`
struct ReportWithdrawalsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "withdrawals", abstract: "5  How fast did withdrawals act?",
    discussion: """
      Asks the node of --data, whose copy of the ledger records when it began to deny.

      Example:
        accord report withdrawals --data store-1
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws { try ReportRun(source: source, output: output) { try $0.withdrawals() } }
}

/// `accord report rounds`
struct ReportRoundsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rounds",
    abstract: "6  In which rounds was a customer used, and which models descend from them?",
    discussion: "Example:\n  accord report rounds --data store-1 --subject 50001")
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var customer: ReportSubjectOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws {
    let subject = try customer.required()
    try ReportRun(source: source, output: output, subject: subject) { try $0.rounds(subject) }
  }
}

/// `accord report model`
struct ReportModelCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "model", abstract: "7  Which consent covers a model?",
    discussion: "Example:\n  accord report model 9f86d081884c7d65 --data server-data")
  @Argument(help: "The model's digest, or its first 8 or more hexadecimal digits.") var digest: String
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws { try ReportRun(source: source, output: output) { try $0.model(digest) } }
}

/// `accord report history`
struct ReportHistoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "8  Has history been changed since a checkpoint?",
    discussion: """
      Exit code 1 if it has, or if the checkpoint is not one of this log.

      Example:
        accord ledger checkpoint --data server-data > kept
        accord report history --data server-data --since kept
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions
  @Option(help: "The file with the checkpoint that was kept (a signed note).") var since: String

  func run() throws {
    let note = String(decoding: try readFile(since), as: UTF8.self)
    var verdict = ReportVerdict.unknown
    try ReportRun(source: source, output: output) { reports in
      let answer = try reports.history(since: note)
      verdict = answer.verdict
      return answer
    }
    if verdict != .fine { throw ExitCode(1) }
  }
}

/// `accord report expiry`
struct ReportExpiryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "expiry", abstract: "9  What expires when, and when may we ask again?",
    discussion: """
      Examples:
        accord report expiry --data server-data --months 12
        accord report expiry --data store-1 --subject 50001
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var customer: ReportSubjectOptions
  @OptionGroup var output: ReportOutputOptions
  @Option(help: "Only this purpose.") var purpose: String?
  @Option(help: "Months that are listed one by one.") var months = 24

  func validate() throws {
    guard (1...240).contains(months) else { throw ValidationError("--months must be 1 to 240") }
  }

  func run() throws {
    let subject = try customer.named()
    try ReportRun(source: source, output: output, subject: subject) { reports in
      if let subject { return try reports.expiry(of: subject) }
      return try reports.expiry(purpose: purpose, horizonMonths: months)
    }
  }
}

/// `accord report minors`
struct ReportMinorsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "minors", abstract: "10 Minors and sensitive purposes?",
    discussion: "Example:\n  accord report minors --data server-data")
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws { try ReportRun(source: source, output: output) { try $0.minors() } }
}

/// `accord report requests`
struct ReportRequestsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "requests", abstract: "11 Are requests answered on time?",
    discussion: """
      Examples:
        accord report requests --data server-data --open
        accord report requests --data server-data --csv --table requests > requests.csv
      """)
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions
  @Flag(help: "List open requests only.") var open = false

  func run() throws { try ReportRun(source: source, output: output) { try $0.requests(openOnly: open) } }
}

/// `accord report processing`
struct ReportProcessingCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "processing", abstract: "12 What do we process, and why (GDPR Art. 30)?",
    discussion: "Example:\n  accord report processing --data server-data --json")
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws { try ReportRun(source: source, output: output) { try $0.processing() } }
}

/// `accord report overview`
struct ReportOverviewCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "overview", abstract: "How consent stands and stood, by purpose, state and month.",
    discussion: "Example:\n  accord report overview --data server-data")
  @OptionGroup var source: ReportSourceOptions
  @OptionGroup var output: ReportOutputOptions

  func run() throws { try ReportRun(source: source, output: output) { try $0.overview() } }
}
