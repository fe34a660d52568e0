package import Consent
package import Cryptography

/// A policy in the log.
package struct LoggedPolicy: Hashable, Sendable {
  /// The policy hash that grants name.
  package let digest: Digest
  /// What it says.
  package let policy: Policy
  /// Where it was proposed.
  package let proposedAt: UInt64
  /// Who proposed it.
  package let proposer: VerifyingKey
  /// Where it came into force; nil while one approval is missing.
  package internal(set) var inForceFrom: UInt64?
  /// Who approved it.
  package internal(set) var approver: VerifyingKey?
}

/// What the rules ask of a consent, found out before it is the consent's turn.
struct ConsentClaim: Sendable {
  let timeMs: Int64
  let purpose: String
  let isGrant: Bool
  /// The policy that has room for the grant.
  let permittedBy: Digest?
}

/// Who may write what after what is in the log: the same rules for the store that takes entries, for the mirror
/// that reads them, and for the verifier (protocol/CONSENT-LEDGER.md, section 2).
package struct LedgerRules: Sendable {
  /// The log's own key, which signs rounds and notices.
  package let logKey: VerifyingKey
  /// The operator; pinned, or the signer of the first enrolment.
  package private(set) var operatorKey: VerifyingKey?
  /// The keys in force.
  package private(set) var enrolments: [VerifyingKey: EnrolmentRecord] = [:]
  /// All keys that were ever enrolled, in the order of the log.
  package private(set) var order: [VerifyingKey] = []
  /// Every policy by its digest.
  package private(set) var policies: [Digest: LoggedPolicy] = [:]
  /// The policy in force.
  package private(set) var current: LoggedPolicy? {
    didSet { currentHash = current?.digest.hex }
  }
  /// Its hash as grants name it.
  private var currentHash: String?
  /// Ids of purposes that any policy in force has ever named.
  package private(set) var knownPurposes: Set<String> = []
  /// Who agreed to what, and where: each officer's first agreement counts.
  private var approvals: [Approval: [(key: VerifyingKey, index: UInt64)]] = [:]
  /// When the last entry was taken.
  package private(set) var lastRecordedMs: Int64 = 0

  private struct Approval: Hashable {
    let action: ApprovalAction
    let target: Digest
  }

  package init(logKey: VerifyingKey, operatorKey: VerifyingKey?) {
    self.logKey = logKey
    self.operatorKey = operatorKey
  }

  /// The officers who agreed to an action, in the order of the log.
  package func approvers(of action: ApprovalAction, target: Digest) -> [VerifyingKey] {
    approvals[Approval(action: action, target: target), default: []].map(\.key)
  }

  /// Where these agreements stand.
  package func approvals(of action: ApprovalAction, target: Digest) -> [UInt64] {
    approvals[Approval(action: action, target: target), default: []].map(\.index)
  }

  /// Takes an entry, or says why its signer may not write it after what is in the log.
  /// - Parameter isNew: false when an entry is read that the ledger took: the enrolment's day has passed then.
  package mutating func admit(
    _ body: EntryBody, signer: VerifyingKey, index: UInt64, recordedMs: Int64, isNew: Bool
  ) throws(LedgerError) {
    try admit(body, signer: signer, index: index, recordedMs: recordedMs, isNew: isNew, knownPolicy: nil)
  }

  /// The same; a policy that was read before is not read again.
  mutating func admit(
    _ body: EntryBody, signer: VerifyingKey, index: UInt64, recordedMs: Int64, isNew: Bool,
    knownPolicy: Policy?
  ) throws(LedgerError) {
    if let time = body.timeMs, time > recordedMs + EntryCoding.allowedClockSkewMs {
      throw .clockAhead(aheadMs: time - recordedMs)
    }
    guard recordedMs >= lastRecordedMs else { throw .timeWentBack }
    try requireRight(body, signer: signer, recordedMs: recordedMs, isNew: isNew)
    if isNew { try requireApprovals(body) }
    switch body {
    case .consent(let event): try admit(event)
    case .enrolment(let record):
      operatorKey = signer
      enrolments[record.nodeKey] = record
      order.append(record.nodeKey)
    case .revocation(let record):
      guard enrolments.removeValue(forKey: record.key) != nil else { throw .notEnrolled(signer: record.key) }
    case .policy(let record): try propose(record, signer: signer, index: index, known: knownPolicy)
    case .approval(let record): try approve(record, signer: signer, index: index)
    case .request, .round, .notice: break
    }
    lastRecordedMs = recordedMs
  }

  /// The policy under which the grant of a claim is in order; nil for any other event, and for a grant that the rules
  /// have to refuse or to look at themselves.
  func policy(permitting event: ConsentEvent) -> Digest? {
    guard event.state.isGrant, let current, event.policyHash == currentHash,
      current.policy.refusal(for: event) == nil
    else { return nil }
    return current.digest
  }

  /// Takes a consent about which it was found out before what is needed here, exactly as `admit` does. False decides
  /// nothing: then `admit` says what is wrong.
  mutating func admits(_ claim: ConsentClaim, signer: VerifyingKey, recordedMs: Int64) -> Bool {
    guard claim.timeMs <= recordedMs + EntryCoding.allowedClockSkewMs, recordedMs >= lastRecordedMs,
      let enrolment = enrolments[signer], enrolment.kind.maySign(.consent),
      enrolment.validFromMs <= recordedMs
    else { return false }
    if claim.isGrant {
      // Purposes of a policy in force are known.
      guard let permitted = claim.permittedBy, permitted == current?.digest else { return false }
    } else {
      guard claim.purpose == Purpose.every.id || knownPurposes.contains(claim.purpose) else { return false }
    }
    lastRecordedMs = recordedMs
    return true
  }

  /// Goes on after entries that are not replayed: no others than consents, requests, rounds and notices.
  mutating func resume(lastRecordedMs: Int64) {
    self.lastRecordedMs = max(self.lastRecordedMs, lastRecordedMs)
  }

  /// Asked at the door only: whoever reads the log later sees the approvals that there are.
  private func requireApprovals(_ body: EntryBody) throws(LedgerError) {
    guard case .consent(let event) = body, event.state == .erased,
      current?.policy.needsTwoPeople(.erasure) == true
    else { return }
    let found = approvers(of: .erasure, target: Digest(unchecked: event.subject.bytes)).count
    guard found >= 2 else { throw .needsApprovals(found: found) }
  }

  private func requireRight(
    _ body: EntryBody, signer: VerifyingKey, recordedMs: Int64, isNew: Bool
  ) throws(LedgerError) {
    switch body.kind {
    case .enrolment, .revocation:
      guard signer == operatorKey ?? (body.kind == .enrolment ? signer : nil) else {
        throw .foreignOperator(key: signer)
      }
    case .round where signer == logKey, .notice where signer == logKey: break
    default:
      guard let enrolment = enrolments[signer], enrolment.kind.maySign(body.kind),
        !isNew || enrolment.validFromMs <= recordedMs
      else { throw .notEnrolled(signer: signer) }
    }
  }

  /// Denials need a purpose that exists, so that a misspelt withdrawal is noticed; grants need the policy.
  private func admit(_ event: ConsentEvent) throws(LedgerError) {
    let purpose = event.purpose.id
    guard purpose == Purpose.every.id || knownPurposes.contains(purpose) else {
      throw .unknownPurpose(purpose)
    }
    guard event.state.isGrant else { return }
    guard let current, event.policyHash == currentHash else { throw .otherPolicy }
    if let refusal = current.policy.refusal(for: event) { throw .grantRefused(refusal) }
  }

  private mutating func propose(
    _ record: PolicyRecord, signer: VerifyingKey, index: UInt64, known: Policy?
  ) throws(LedgerError) {
    let policy: Policy
    if let known {
      policy = known
    } else {
      do { policy = try Policy(canonicalBytes: record.document) } catch { throw .content(error) }
    }
    policies[record.digest] = LoggedPolicy(
      digest: record.digest, policy: policy, proposedAt: index, proposer: signer)
  }

  private mutating func approve(
    _ record: ApprovalRecord, signer: VerifyingKey, index: UInt64
  ) throws(LedgerError) {
    let approval = Approval(action: record.action, target: record.target)
    if record.action == .policy {
      guard var policy = policies[record.target] else { throw .nothingToApprove }
      guard policy.proposer != signer else { throw .approvesOwnProposal }
      // Only the first approval brings it into force: a third officer cannot bring an old policy back.
      if policy.inForceFrom == nil {
        policy.inForceFrom = index
        policy.approver = signer
        policies[record.target] = policy
        current = policy
        knownPurposes.formUnion(policy.policy.purposes.map(\.id))
      }
    }
    guard !approvals[approval, default: []].contains(where: { $0.key == signer }) else { return }
    approvals[approval, default: []].append((signer, index))
  }
}
