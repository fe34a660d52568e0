import ArgumentParser

/// `accord privacy …`
struct PrivacyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "privacy", abstract: "Account, calibrate, plot, audit and inspect privacy budgets.",
    subcommands: [
      PrivacyAccountCommand.self, PrivacyCalibrateCommand.self, PrivacyCurveCommand.self,
      PrivacyAuditCommand.self, PrivacyBudgetCommand.self,
    ])
}
