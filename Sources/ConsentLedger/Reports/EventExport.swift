package import Consent
package import Cryptography
import Foundation
import GRDB

/// The forms in which the log's consent events leave it.
package enum ExportFormat: String, Sendable, CaseIterable {
  /// JSON-LD (`DPVExport`).
  case dpv
  /// One line an event, formulas escaped.
  case csv
  /// One JSON object a line.
  case json

  /// The usual ending of a file's name.
  package var fileExtension: String {
    switch self {
    case .dpv: "jsonld"
    case .csv: "csv"
    case .json: "jsonl"
    }
  }
}

/// Which consent events an export takes.
package struct ExportFilter: Sendable {
  /// Only this purpose, and events for every purpose.
  package var purpose: String?
  /// Only this customer.
  package var subject: SubjectTag?
  /// Only entries from this position on.
  package var from: UInt64

  /// Takes everything unless told otherwise.
  package init(purpose: String? = nil, subject: SubjectTag? = nil, from: UInt64 = 0) {
    self.purpose = purpose
    self.subject = subject
    self.from = from
  }

  func accepts(_ event: ConsentEvent) -> Bool {
    if let subject, event.subject != subject { return false }
    guard let purpose else { return true }
    return event.purpose.id == purpose || event.purpose.id == Purpose.every.id || event.state == .erased
  }

  /// The filter as names and values.
  package var fields: [String: String] {
    var fields: [String: String] = [:]
    if let purpose { fields["purpose"] = purpose }
    if let subject { fields["subject"] = subject.hex }
    if from > 0 { fields["from"] = String(from) }
    return fields
  }
}

extension LedgerReports {
  private static let entriesPerRead: UInt64 = 4096

  /// Reads the consent events of a range in order, with their signatures checked, without keeping them.
  package func forEachConsent(
    in range: Range<UInt64>,
    _ body: (_ index: UInt64, _ recordedMs: Int64, _ signer: VerifyingKey, _ event: ConsentEvent)
      throws(LedgerError) -> Void
  ) throws(LedgerError) {
    var check = SignatureCheck()
    var next = range.lowerBound
    while next < min(range.upperBound, reader.size) {
      let end = min(range.upperBound, reader.size, next + Self.entriesPerRead)
      for leaf in try reader.leaves(next..<end) {
        let entry = try LedgerEntry(leaf: leaf, check: &check)
        if case .consent(let event) = entry.body { try body(next, entry.recordedMs, entry.signer, event) }
        next += 1
      }
    }
  }

  /// Writes an export piece by piece.
  /// - Returns: how many events were written.
  package func export(
    _ format: ExportFormat, filter: ExportFilter = ExportFilter(),
    to write: (String) throws(LedgerError) -> Void
  ) throws(LedgerError) -> Int {
    let range = min(filter.from, reader.size)..<reader.size
    if format == .dpv {
      return try DPVExport(origin: basis.origin, timeline: timeline).write(
        reports: self, range: range, accepts: filter.accepts, to: write)
    }
    if format == .csv { try write(CSVText.line(Self.exportColumns.map(\.key))) }
    var count = 0
    try forEachConsent(in: range) { index, recordedMs, signer, event throws(LedgerError) in
      guard filter.accepts(event) else { return }
      let row = Self.exportRow(index, recordedMs, signer, event)
      try write(format == .csv ? CSVText.line(row) : Self.jsonLine(row))
      count += 1
    }
    return count
  }

  private static func jsonLine(_ row: [ReportCell]) -> String {
    var fields: [(String, JSON)] = []
    for (column, cell) in zip(exportColumns, row) {
      switch cell {
      case .text(let text): fields.append((column.key, .text(text)))
      case .integer(let number): fields.append((column.key, .number(number)))
      case .number, .none: break
      }
    }
    return JSON.object(fields).text + "\n"
  }

  /// The columns of the plain forms, named like the fields of the log.
  package static let exportColumns: [ReportColumn] = [
    "entry", "recorded", "time", "subject", "purpose", "purpose_version", "state", "regime", "legal_basis",
    "consent_type", "jurisdiction", "age_band", "actor", "channel", "method", "recorder", "language",
    "notice",
    "screen", "policy", "not_before", "expires_at", "ask_again", "steps", "duration_ms", "event_id",
    "record_id",
    "previous", "commitment", "signer",
  ].map { ReportColumn($0, $0) }

  private static func exportRow(
    _ index: UInt64, _ recordedMs: Int64, _ signer: VerifyingKey, _ event: ConsentEvent
  ) -> [ReportCell] {
    let times: [ReportCell] = [event.notBeforeMs, event.expiresAtMs, event.askAgainAtMs].map { time in
      .optional(time.map(ReportTime.text))
    }
    let head: [ReportCell] = [
      .count(index), .text(ReportTime.text(recordedMs)), .text(ReportTime.text(event.eventTimeMs)),
      .text(event.subject.hex), .text(event.purpose.id), .count(event.purpose.version),
      .text(event.state.rawValue), .text(event.regime.rawValue), .text(event.legalBasis),
      .text(event.consentType.rawValue), .text(event.jurisdiction), .text(event.ageBand.rawValue),
      .text(event.actor.rawValue), .text(event.channel), .text(event.method), .text(event.recorder),
    ]
    let shown: [ReportCell] = [
      .optional(event.language), .optional(event.noticeHash), .optional(event.screenHash),
      .optional(event.policyHash),
    ]
    let tail: [ReportCell] = [
      .optional(event.steps.map { Int64($0) }), .optional(event.durationMs), .text(event.eventID.hex),
      .text(event.recordID.hex), .optional(event.previous?.hex), .optional(event.commitment),
      .text(signer.hex),
    ]
    return head + shown + times + tail
  }
}
