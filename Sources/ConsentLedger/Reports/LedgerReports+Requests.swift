import Consent
import Foundation
import GRDB

extension LedgerReports {
  /// Open requests by age in days, the last without an end.
  private static let ages = [7, 15, 30, 45, 90]

  /// Every request with its steps, in the order of the log.
  package func statutoryRequests() throws(LedgerError) -> [StatutoryRequest] {
    try query { [size] db in
      var requests: [StatutoryRequest] = []
      var positions: [Data: Int] = [:]
      let rows = try Row.fetchCursor(
        db,
        sql: """
          SELECT idx, request, action, nature, law, manner, basis, response, time FROM step
            WHERE idx < ? ORDER BY idx
          """, arguments: [size])
      while let row = try rows.next() {
        let id: Data = try row.decode(atIndex: 1)
        let index: UInt64 = try row.decode(atIndex: 0)
        let time: Int64 = try row.decode(atIndex: 8)
        guard let action = RequestRecord.Action(code: try row.decode(atIndex: 2)),
          let nature = RequestRecord.Nature(code: try row.decode(atIndex: 3)),
          let law = RequestRecord.Law(code: try row.decode(atIndex: 4))
        else { throw LedgerError.malformedEntry("the index holds a code that this program does not know") }
        let position: Int
        if let known = positions[id] {
          position = known
        } else {
          position = requests.count
          positions[id] = position
          requests.append(
            StatutoryRequest(
              id: try EventID(Array(id)), nature: nature, law: law, manner: try row.decode(atIndex: 5),
              firstEntry: index, entries: [], receivedMs: time, lacksReceipt: true))
        }
        requests[position].entries.append(index)
        requests[position].read(
          action, timeMs: time, basis: try row.decode(String?.self, atIndex: 6),
          response: try row.decode(String?.self, atIndex: 7))
      }
      return requests
    }
  }

  // MARK: 11

  /// Are requests answered on time: the fields of CCPA regulations §7101(b), statutory clocks, ageing.
  /// - Parameter openOnly: lists open requests alone; the counts are of all.
  package func requests(openOnly: Bool = false) throws(LedgerError) -> ReportAnswer {
    let requests = try statutoryRequests()
    var table = Self.requestTable()
    var counts: [StatutoryClock.Status: Int] = [:]
    var unacknowledged = 0
    var noReceipt = 0
    var evidence: [UInt64] = []
    var ageing = [[Int]](repeating: [0, 0], count: Self.ages.count + 1)
    for request in requests {
      let clock = StatutoryClock(request, limits: limits(request))
      let status = clock.status(request, nowMs: nowMs)
      let acknowledged = clock.isAcknowledged(request, nowMs: nowMs)
      counts[status, default: 0] += 1
      if acknowledged == false { unacknowledged += 1 }
      if request.lacksReceipt { noReceipt += 1 }
      if request.answeredMs == nil {
        let age = Int(max(0, nowMs - request.receivedMs) / ReportTime.dayMs)
        ageing[Self.ages.firstIndex { age <= $0 } ?? Self.ages.count][status == .overdue ? 1 : 0] += 1
      }
      if status == .late || status == .overdue || acknowledged == false { evidence += request.entries }
      if !openOnly || request.answeredMs == nil {
        table.append(requestRow(request, clock, status, acknowledged))
      }
    }
    let bad = (counts[.late] ?? 0) + (counts[.overdue] ?? 0)
    let verdict: ReportVerdict = bad + unacknowledged + noReceipt > 0 ? .attention : .fine
    var summary =
      "\(requests.count) requests: \(counts[.onTime] ?? 0) answered on time, \(counts[.late] ?? 0) late, "
      + "\(counts[.open] ?? 0) open within their time, \(counts[.overdue] ?? 0) overdue"
    if unacknowledged > 0 { summary += "; \(unacknowledged) not acknowledged in time" }
    if noReceipt > 0 { summary += "; \(noReceipt) without a record of their receipt" }
    return answer(
      .requests, verdict, summary, filters: openOnly ? [ReportFilter("state", "open")] : [],
      tables: [natureTable(requests), ageingTable(ageing), table], remarks: requestRemarks(requests),
      evidence: evidence)
  }

  /// The limits in force when the request came in; the law's longest if there was no policy.
  private func limits(_ request: StatutoryRequest) -> PolicyLimits {
    timeline.policy(before: request.firstEntry)?.policy.limits ?? PolicyLimits()
  }

  private func requestRemarks(_ requests: [StatutoryRequest]) -> [String] {
    let keep = Int64((timeline.current?.policy.limits ?? PolicyLimits()).requestRecordDays) * ReportTime.dayMs
    let old = requests.filter { ($0.answeredMs ?? nowMs) < nowMs - keep }.count
    return [
      "Limits are those of the policy in force when the request came in, or the law's longest without a policy.",
      "Clocks run in UTC to the end of the last day; business days leave out Saturdays and Sundays, not public "
        + "holidays, so the clock is never later than the law's.",
      "An extension counts if it was told before the first time ran out.",
      "\(old) requests are older than the time that their records have to be kept.",
      "Requests that nobody entered are not here.",
    ]
  }

  private static func requestTable() -> ReportTable {
    ReportTable(
      "requests", "Requests (CCPA regulations §7101(b))",
      [
        ReportColumn("request", "request"), ReportColumn("first_entry", "first entry"),
        ReportColumn("received", "date of request"), ReportColumn("nature", "nature"),
        ReportColumn("law", "law"), ReportColumn("manner", "manner"), ReportColumn("status", "status"),
        ReportColumn("acknowledged", "acknowledged"), ReportColumn("acknowledge_by", "acknowledge by"),
        ReportColumn("acknowledged_in_time", "in time?"), ReportColumn("extended", "extended"),
        ReportColumn("answered", "date of response"), ReportColumn("answer_by", "answer by"),
        ReportColumn("days", "days"), ReportColumn("outcome", "nature of response"),
        ReportColumn("response", "response"), ReportColumn("basis", "basis for denial or extension"),
      ])
  }

  private func requestRow(
    _ request: StatutoryRequest, _ clock: StatutoryClock, _ status: StatutoryClock.Status,
    _ acknowledged: Bool?
  ) -> [ReportCell] {
    let end = request.answeredMs ?? nowMs
    return [
      .text(request.id.hex), .count(request.firstEntry),
      .text(ReportTime.date(request.receivedMs) + (request.lacksReceipt ? " (first step)" : "")),
      .text(request.nature.rawValue), .text(request.law.rawValue), .text(request.manner),
      .text(status.rawValue),
      .optional(request.acknowledgedMs.map(ReportTime.date)),
      .optional(clock.acknowledgeByMs.map(ReportTime.date)), acknowledged.map { .flag($0) } ?? .none,
      .optional(request.extendedMs.map(ReportTime.date)), .optional(request.answeredMs.map(ReportTime.date)),
      .text(ReportTime.date(clock.answerByMs)),
      .integer(max(0, ReportTime.day(end) - ReportTime.day(request.receivedMs))),
      request.answeredMs == nil ? .none : .text(request.isDenied ? "denied" : "complied"),
      .optional(request.response), .optional(request.basis),
    ]
  }

  /// What CCPA regulations §7102(a) ask larger businesses to publish.
  private func natureTable(_ requests: [StatutoryRequest]) -> ReportTable {
    var table = ReportTable(
      "natures", "By law and nature",
      [
        ReportColumn("law", "law"), ReportColumn("nature", "nature"), ReportColumn("received", "received"),
        ReportColumn("complied", "complied with"), ReportColumn("denied", "denied"),
        ReportColumn("open", "open"),
        ReportColumn("late", "late or overdue"), ReportColumn("median_days", "median days to answer"),
        ReportColumn("mean_days", "mean days"),
      ])
    for law in RequestRecord.Law.allCases {
      for nature in RequestRecord.Nature.allCases {
        let chosen = requests.filter { $0.law == law && $0.nature == nature }
        guard !chosen.isEmpty else { continue }
        let days = chosen.compactMap { request in
          request.answeredMs.map { max(0, ReportTime.day($0) - ReportTime.day(request.receivedMs)) }
        }
        let late = chosen.filter { request in
          let status = StatutoryClock(request, limits: limits(request)).status(request, nowMs: nowMs)
          return status == .late || status == .overdue
        }
        table.append([
          .text(law.rawValue), .text(nature.rawValue), .count(chosen.count),
          .count(chosen.filter { $0.answeredMs != nil && !$0.isDenied }.count),
          .count(chosen.filter(\.isDenied).count), .count(chosen.filter { $0.answeredMs == nil }.count),
          .count(late.count), Self.median(days).map { .number($0) } ?? .none,
          days.isEmpty ? .none : .number(Double(days.reduce(0, +)) / Double(days.count)),
        ])
      }
    }
    return table
  }

  private func ageingTable(_ ageing: [[Int]]) -> ReportTable {
    var table = ReportTable(
      "ageing", "Open requests by age",
      [
        ReportColumn("age", "days since receipt"), ReportColumn("in_time", "within their time"),
        ReportColumn("overdue", "overdue"),
      ])
    for (position, counts) in ageing.enumerated() {
      let from = position == 0 ? 0 : Self.ages[position - 1] + 1
      let title = position < Self.ages.count ? "\(from)–\(Self.ages[position])" : "over \(from - 1)"
      table.append([.text(title), .count(counts[0]), .count(counts[1])])
    }
    return table
  }
}
