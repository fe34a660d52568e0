import Foundation

/// What an officer asks (design "What an officer asks"); the raw value is the subcommand.
package enum ReportQuestion: String, Hashable, Sendable, Codable, CaseIterable {
  case consent, shown, recorder, ease, withdrawals, rounds, model, history, expiry, minors, requests,
    processing
  /// Not one of the twelve: how consent stands and stood.
  case overview

  /// The number among the twelve; 0 for the overview.
  package var number: Int { self == .overview ? 0 : (Self.allCases.firstIndex(of: self) ?? 0) + 1 }

  /// The question as it is asked.
  package var title: String {
    switch self {
    case .consent: "Did this customer consent to this purpose on this date?"
    case .shown: "What exactly was shown?"
    case .recorder: "Who recorded it, and how?"
    case .ease: "Is withdrawing as easy as giving?"
    case .withdrawals: "How fast did withdrawals act?"
    case .rounds: "In which rounds was this customer used?"
    case .model: "Which consent covers this model?"
    case .history: "Has history been changed since this checkpoint?"
    case .expiry: "What expires when, and when may we ask again?"
    case .minors: "Minors and sensitive purposes?"
    case .requests: "Are requests answered on time?"
    case .processing: "What do we process, and why?"
    case .overview: "How does consent stand?"
    }
  }

  /// Whether it is about one customer.
  package var isBySubject: Bool {
    switch self {
    case .consent, .shown, .rounds: true
    default: false
    }
  }
}

/// How an answer comes out.
package enum ReportVerdict: String, Hashable, Sendable, Codable, CaseIterable {
  /// What was asked for holds.
  case fine
  /// Somebody has to look.
  case attention
  /// Facts without a judgement.
  case information
  /// The data at hand do not decide it.
  case unknown
}

/// What an answer is based on: enough to check it against the log.
package struct ReportBasis: Hashable, Sendable, Codable {
  /// The log's name.
  package let origin: String
  /// How many entries the checkpoint covers.
  package let checkpointSize: UInt64
  /// Its root, hexadecimal.
  package let checkpointRoot: String
  /// When it was signed, RFC 3339.
  package let checkpointTime: String
  /// The hash of the policy in force at the checkpoint; nil if none is.
  package let policy: String?
  /// Its name and version.
  package let policyName: String?
  /// When the question was asked, RFC 3339.
  package let askedAt: String
}

/// A condition that narrowed the answer.
package struct ReportFilter: Hashable, Sendable, Codable {
  /// Such as `purpose`.
  package let name: String
  /// Such as `recommendations`.
  package let value: String

  /// Names a condition.
  package init(_ name: String, _ value: String) {
    self.name = name
    self.value = value
  }
}

/// The answer to one question.
package struct ReportAnswer: Hashable, Sendable, Codable {
  /// Which question.
  package let question: ReportQuestion
  /// How it comes out.
  package let verdict: ReportVerdict
  /// The answer in a sentence.
  package let summary: String
  /// What it is based on.
  package let basis: ReportBasis
  /// What narrowed it.
  package let filters: [ReportFilter]
  /// The facts.
  package let tables: [ReportTable]
  /// What the answer proves, assumes and cannot prove.
  package let remarks: [String]
  /// The entries of the log that it rests on, ascending; at most `maximumEvidence`.
  package let evidence: [UInt64]

  /// More entries are not listed as evidence; the tables name all.
  package static let maximumEvidence = 1000

  /// The table of this name.
  package func table(_ name: String) -> ReportTable? { tables.first { $0.name == name } }

  /// The answer as text for a terminal.
  package func text(limit: Int = 50) -> String {
    let mark =
      switch verdict {
      case .fine: "OK"
      case .attention: "ATTENTION"
      case .information: "FACTS"
      case .unknown: "UNDECIDED"
      }
    var lines = [question.title, "\(mark): \(summary)"]
    for table in tables { lines += ["", table.text(limit: limit)] }
    if !remarks.isEmpty { lines += [""] + remarks.map { "* \($0)" } }
    lines += [
      "",
      "Based on \(basis.checkpointSize) entries of \(basis.origin), root \(basis.checkpointRoot.prefix(16))…, "
        + "signed \(basis.checkpointTime); policy \(basis.policyName ?? "none")",
    ]
    if !filters.isEmpty {
      lines.append("Asked for: " + filters.map { "\($0.name) \($0.value)" }.joined(separator: ", "))
    }
    return lines.joined(separator: "\n")
  }

  /// All tables as CSV, one after another, each after a line with its name if there are several.
  package var csv: String {
    guard tables.count > 1 else { return tables.first?.csv ?? "" }
    return tables.map { CSVText.line(["table", $0.name]) + $0.csv }.joined(separator: "\r\n")
  }
}
