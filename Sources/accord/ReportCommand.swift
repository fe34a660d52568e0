import ArgumentParser
import ConsentLedger

/// `accord report …`
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report", abstract: "Answer a compliance officer's questions from the consent ledger.",
    discussion: """
      Every answer names the checkpoint, the policy and the entries that it rests on. docs/COMPLIANCE.md explains
      the questions, how to read the answers, and what they prove.

      Examples:
        accord report consent --data store-1 --subject 50001 --purpose churn --at 2026-01-31
        accord report requests --data server-data --csv > requests.csv
        accord report audit --data server-data --out audit --key anna.key
      """,
    subcommands: [
      ReportConsentCommand.self, ReportShownCommand.self, ReportRecorderCommand.self, ReportEaseCommand.self,
      ReportWithdrawalsCommand.self, ReportRoundsCommand.self, ReportModelCommand.self,
      ReportHistoryCommand.self, ReportExpiryCommand.self, ReportMinorsCommand.self,
      ReportRequestsCommand.self, ReportProcessingCommand.self, ReportOverviewCommand.self,
      ReportExportCommand.self, ReportAuditCommand.self,
    ])
}
