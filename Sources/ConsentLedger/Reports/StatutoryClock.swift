package import Consent
import Foundation

/// One statutory request, put together from its steps.
package struct StatutoryRequest: Sendable {
  /// The request's identifier.
  package let id: EventID
  /// What is asked for.
  package let nature: RequestRecord.Nature
  /// Under which law.
  package let law: RequestRecord.Law
  /// How it was made.
  package let manner: String
  /// Where its first step stands.
  package let firstEntry: UInt64
  /// The entries of its steps.
  package internal(set) var entries: [UInt64]
  /// When it was received, ms of UTC since 1970.
  package internal(set) var receivedMs: Int64
  /// Whether no step says so: then the first step's time stands in.
  package internal(set) var lacksReceipt: Bool
  /// When it was acknowledged.
  package internal(set) var acknowledgedMs: Int64?
  /// When it was extended.
  package internal(set) var extendedMs: Int64?
  /// When it was answered.
  package internal(set) var answeredMs: Int64?
  /// Whether the answer was no.
  package internal(set) var isDenied = false
  /// What was answered.
  package internal(set) var response: String?
  /// Why it was denied or extended.
  package internal(set) var basis: String?

  /// Takes a further step. Of repeated steps the first counts.
  mutating func read(_ action: RequestRecord.Action, timeMs: Int64, basis: String?, response: String?) {
    switch action {
    case .received:
      receivedMs = lacksReceipt ? timeMs : min(receivedMs, timeMs)
      lacksReceipt = false
    case .acknowledged: acknowledgedMs = min(acknowledgedMs ?? timeMs, timeMs)
    case .extended:
      extendedMs = min(extendedMs ?? timeMs, timeMs)
      if answeredMs == nil { self.basis = basis }
    case .completed, .denied:
      guard answeredMs == nil else { return }
      answeredMs = timeMs
      isDenied = action == .denied
      self.response = response
      if let basis { self.basis = basis }
    }
  }
}

/// The clocks that run for a request: GDPR Art. 12(3); CCPA regulations §7021 (know, delete, correct),
/// §7026(f) (opt-out) and §7027(g) (limit). Days are UTC; a clock runs to the end of its last day. Neither
/// public holidays nor an end on a weekend move it, so it is never later than the law's.
package struct StatutoryClock: Sendable {
  /// When it has to be acknowledged, ms of UTC since 1970; nil if the law does not ask for it.
  package let acknowledgeByMs: Int64?
  /// When it has to be answered.
  package let answerByMs: Int64
  /// Until when it may be extended; an extension that is told later counts for nothing.
  package let extendByMs: Int64

  /// Sets the clocks.
  package init(_ request: StatutoryRequest, limits: PolicyLimits) {
    let day = ReportTime.day(request.receivedMs)
    func end(_ days: Int) -> Int64 { ReportTime.end(ofDay: day + Int64(days)) }
    switch request.law {
    case .gdpr:
      acknowledgeByMs = nil
      extendByMs = end(limits.gdprAnswerDays)
      answerByMs =
        Self.isExtended(request, by: extendByMs)
        ? end(limits.gdprAnswerDays + limits.gdprExtensionDays) : extendByMs
    case .ccpa where request.nature == .optOut || request.nature == .limit:
      acknowledgeByMs = nil
      answerByMs = ReportTime.end(ofDay: ReportTime.businessDay(limits.optOutBusinessDays, after: day))
      extendByMs = .min
    case .ccpa:
      acknowledgeByMs = ReportTime.end(
        ofDay: ReportTime.businessDay(limits.acknowledgeBusinessDays, after: day))
      extendByMs = end(limits.ccpaAnswerDays)
      answerByMs =
        Self.isExtended(request, by: extendByMs)
        ? end(limits.ccpaAnswerDays + limits.ccpaExtensionDays) : extendByMs
    }
  }

  private static func isExtended(_ request: StatutoryRequest, by limit: Int64) -> Bool {
    request.extendedMs.map { $0 <= limit } ?? false
  }

  /// How the request stands.
  package enum Status: String, Sendable, CaseIterable {
    case open, overdue
    case onTime = "on time"
    case late
  }

  /// Whether the answer came, or may still come, in time.
  package func status(_ request: StatutoryRequest, nowMs: Int64) -> Status {
    if let answered = request.answeredMs { return answered <= answerByMs ? .onTime : .late }
    return nowMs <= answerByMs ? .open : .overdue
  }

  /// Whether it was acknowledged in time; nil if nobody had to, or may still do so. An answer acknowledges
  /// too.
  package func isAcknowledged(_ request: StatutoryRequest, nowMs: Int64) -> Bool? {
    guard let acknowledgeByMs else { return nil }
    let first = [request.acknowledgedMs, request.answeredMs].compactMap { $0 }.min()
    if let first { return first <= acknowledgeByMs }
    return nowMs <= acknowledgeByMs ? nil : false
  }
}
