import Consent
import Cryptography
import Foundation
import GRDB

/// A withdrawal and how long it took to act at this node.
private struct ActedWithdrawal {
  let index: UInt64
  let state: ConsentState
  let isOwn: Bool
  let latencyMs: Int64
  let limitMs: Int64

  var isLate: Bool { latencyMs > limitMs }
}

extension LedgerReports {
  // MARK: 5

  /// How fast did withdrawals act at this node: from the ledger's time to the node's first denial.
  package func withdrawals() throws(LedgerError) -> ReportAnswer {
    let acted = try actedWithdrawals()
    let limits = timeline.current?.policy.limits ?? PolicyLimits()
    var groups = ReportTable(
      "latencies", "From the ledger's time to the first denial here",
      [
        ReportColumn("recorded_by", "recorded by"), ReportColumn("withdrawals", "withdrawals"),
        ReportColumn("p50_seconds", "p50, s"), ReportColumn("p99_seconds", "p99, s"),
        ReportColumn("max_seconds", "largest, s"), ReportColumn("limit_seconds", "limit, s"),
        ReportColumn("violations", "violations"),
      ])
    let sides: [(name: String, isOwn: Bool, limit: Int)] =
      sources.nodeKey == nil
      ? [("any node", false, limits.maximumCheckpointAgeSeconds)]
      : [
        ("this node", true, limits.withdrawalSeconds),
        ("other nodes", false, limits.maximumCheckpointAgeSeconds),
      ]
    for side in sides {
      let latencies = acted.filter { $0.isOwn == side.isOwn }.map(\.latencyMs).sorted()
      let late = acted.filter { $0.isOwn == side.isOwn && $0.isLate }.count
      groups.append([
        .text(side.name), .count(latencies.count), Self.seconds(Self.percentile(latencies, 50)),
        Self.seconds(Self.percentile(latencies, 99)), Self.seconds(latencies.last), .count(side.limit),
        .count(late),
      ])
    }
    let late = acted.filter(\.isLate)
    var violations = ReportTable(
      "violations", "Later than the policy allowed",
      [
        ReportColumn("entry", "entry"), ReportColumn("state", "state"), ReportColumn("seconds", "seconds"),
        ReportColumn("limit_seconds", "limit, s"), ReportColumn("recorded_by", "recorded by"),
      ])
    for item in late {
      violations.append([
        .count(item.index), .text(item.state.rawValue), Self.seconds(item.latencyMs),
        Self.seconds(item.limitMs),
        .text(sources.nodeKey == nil ? "any node" : item.isOwn ? "this node" : "another node"),
      ])
    }
    let verdict: ReportVerdict = acted.isEmpty ? .unknown : late.isEmpty ? .fine : .attention
    let summary =
      acted.isEmpty
      ? "no withdrawal was seen to act here: ask at a node, whose copy of the log records it"
      : late.isEmpty
        ? "all \(acted.count) withdrawals acted within the policy's limits"
        : "\(late.count) of \(acted.count) withdrawals acted later than the policy allowed"
    return answer(
      .withdrawals, verdict, summary, tables: [groups, histogram(acted, limits), violations],
      remarks: Self.withdrawalRemarks, evidence: late.map(\.index))
  }

  private static let withdrawalRemarks = [
    "Counted are entries that end or withhold a permission: withdrawals, refusals, objections, opt-outs, signals, "
      + "restrictions, expiries, endings by others and erasures.",
    "The start is the ledger's clock, the end this node's; a negative difference counts as zero.",
    "Once a node's checkpoint is older than the policy allows, the node denies everything: that is the end then.",
    "This node speaks for itself only; ask every node.",
  ]

  static func seconds(_ ms: Int64?) -> ReportCell { ms.map { .number(Double($0) / 1000) } ?? .none }

  /// The smallest value that at least `percent` of the values do not exceed (nearest rank).
  static func percentile(_ sorted: [Int64], _ percent: Int) -> Int64? {
    guard !sorted.isEmpty else { return nil }
    return sorted[max(0, (sorted.count * percent + 99) / 100 - 1)]
  }

  private func actedWithdrawals() throws(LedgerError) -> [ActedWithdrawal] {
    let enforced = sources.enforcements.filter { $0.index.value < reader.size }.sorted { $0.index < $1.index }
    guard let first = enforced.first, let last = enforced.last else { return [] }
    let states = ConsentState.allCases.filter { Self.endsPermission($0) }
    let own = sources.nodeKey
    let timeline = timeline
    return try query { db in
      let signers = try Self.signers(db)
      let marks = states.map { _ in "?" }.joined(separator: ", ")
      let rows = try Row.fetchCursor(
        db,
        sql:
          "SELECT idx, state, circumstance FROM event WHERE idx BETWEEN ? AND ? AND state IN (\(marks)) ORDER BY idx",
        arguments: [Int64(first.index.value), Int64(last.index.value)]
          + StatementArguments(states.map(\.code)))
      var acted: [ActedWithdrawal] = []
      var next = 0
      while let row = try rows.next() {
        let index: UInt64 = try row.decode(atIndex: 0)
        while next < enforced.count, enforced[next].index.value < index { next += 1 }
        guard next < enforced.count else { break }
        guard enforced[next].index.value == index, let state = ConsentState(code: try row.decode(atIndex: 1))
        else {
          continue
        }
        let signer = signers[try row.decode(Int64.self, atIndex: 2)]
        let isOwn = own != nil && signer == own
        let limits = timeline.policy(before: index)?.policy.limits ?? PolicyLimits()
        acted.append(
          ActedWithdrawal(
            index: index, state: state, isOwn: isOwn,
            latencyMs: max(0, enforced[next].enforcedMs - enforced[next].recordedMs),
            limitMs: 1000 * Int64(isOwn ? limits.withdrawalSeconds : limits.maximumCheckpointAgeSeconds)))
      }
      return acted
    }
  }

  /// Whether an entry with this state ends or withholds a permission.
  static func endsPermission(_ state: ConsentState) -> Bool {
    switch state {
    case .requested, .deferred, .requestExpired, .given, .renewed, .restrictionLifted: false
    default: true
    }
  }

  private static func signers(_ db: Database) throws -> [Int64: VerifyingKey] {
    var signers: [Int64: VerifyingKey] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT id, signer FROM circumstance") {
      signers[try row.decode(Int64.self, atIndex: 0)] = try VerifyingKey(
        Array(try row.decode(Data.self, atIndex: 1)))
    }
    return signers
  }

  private func histogram(_ acted: [ActedWithdrawal], _ limits: PolicyLimits) -> ReportTable {
    var steps: Set<Int64> = [10, 100, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000]
    steps.insert(Int64(limits.withdrawalSeconds) * 1000)
    steps.insert(Int64(limits.maximumCheckpointAgeSeconds) * 1000)
    let edges = steps.sorted()
    var counts = [[Int]](repeating: [0, 0], count: edges.count + 1)
    for item in acted {
      let bucket = edges.firstIndex { item.latencyMs <= $0 } ?? edges.count
      counts[bucket][item.isOwn ? 0 : 1] += 1
    }
    var table = ReportTable(
      "histogram", "Withdrawals by latency",
      [
        ReportColumn("up_to_seconds", "up to, s"), ReportColumn("own", "recorded by this node"),
        ReportColumn("other", "recorded by other nodes"),
      ])
    // At least up to the limit, so that the distance from it is seen.
    let limit = edges.firstIndex(of: Int64(limits.maximumCheckpointAgeSeconds) * 1000) ?? 0
    let used = counts.lastIndex { $0 != [0, 0] }.map { max($0, limit) } ?? -1
    for (bucket, count) in counts.enumerated() where bucket <= used {
      table.append([
        .number(bucket < edges.count ? Double(edges[bucket]) / 1000 : .infinity), .count(count[0]),
        .count(count[1]),
      ])
    }
    return table
  }
}
