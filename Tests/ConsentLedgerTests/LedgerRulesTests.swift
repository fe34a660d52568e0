import Consent
import ConsentLedger
import Cryptography
import Testing

@Suite struct LedgerRulesTests {
  private func refuses(
    _ ledger: LedgerStore, _ statement: SignedStatement, _ reason: LedgerError, nowMs: Int64 = startMs,
    at location: SourceLocation = #_sourceLocation
  ) {
    let size = ledger.size
    #expect(throws: LedgerError.refused(position: 0, reason: reason), sourceLocation: location) {
      try ledger.append([statement], nowMs: nowMs)
    }
    #expect(ledger.size == size, sourceLocation: location)
  }

  @Test func `only enrolled keys may write, each its kind of entry`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    let store = fixture.store.verifyingKey
    let stranger = fixture.stranger.verifyingKey
    refuses(ledger, try fixture.consent(), .notEnrolled(signer: store))
    _ = try ledger.append(fixture.beginning(), nowMs: startMs)
    #expect(
      ledger.isEnrolled(store) && ledger.enrolments().map(\.name) == ["store-1", "officer-1", "officer-2"])
    refuses(
      ledger, try fixture.consent(by: fixture.logKey), .notEnrolled(signer: fixture.logKey.verifyingKey))
    refuses(
      ledger, try fixture.consent(by: fixture.officer), .notEnrolled(signer: fixture.officer.verifyingKey))
    refuses(ledger, try fixture.sign(.round(fixture.round()), by: fixture.store), .notEnrolled(signer: store))
    refuses(ledger, try fixture.sign(fixture.approval(), by: fixture.store), .notEnrolled(signer: store))
    refuses(
      ledger, try fixture.sign(fixture.proposal(Fixture.policy(version: 2)), by: fixture.store),
      .notEnrolled(signer: store))
    refuses(
      ledger,
      try fixture.sign(fixture.enrolment(fixture.stranger, kind: .server), by: fixture.stranger),
      .foreignOperator(key: stranger))
    _ = try ledger.append(
      [fixture.sign(fixture.enrolment(fixture.stranger, kind: .server), by: fixture.operatorKey)],
      nowMs: startMs)
    refuses(ledger, try fixture.consent(by: fixture.stranger), .notEnrolled(signer: stranger))
    refuses(ledger, try fixture.sign(fixture.request(), by: fixture.stranger), .notEnrolled(signer: stranger))
    let taken = try ledger.append(
      [
        fixture.sign(.round(fixture.round()), by: fixture.stranger),
        fixture.sign(fixture.notice(), by: fixture.store), fixture.sign(fixture.notice(), by: fixture.logKey),
        fixture.sign(fixture.request(), by: fixture.officer),
      ], nowMs: startMs)
    #expect(taken.count == 4)
  }

  @Test func `an enrolment counts from its day`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    _ = try ledger.append([fixture.sign(fixture.enrolment(), by: fixture.operatorKey)], nowMs: startMs - 2)
    let denial = try fixture.consent(fixture.event(.erased, purpose: .every))
    refuses(ledger, denial, .notEnrolled(signer: fixture.store.verifyingKey), nowMs: startMs - 1)
    #expect(try ledger.append([denial], nowMs: startMs).count == 1)
  }

  @Test func `the pinned operator cannot be replaced`() throws {
    let fixture = try Fixture()
    let pinned = try LedgerStore.open(
      directory: fixture.path, origin: Fixture.origin, logKey: fixture.logKey,
      freshnessKey: fixture.freshnessKey, operatorKey: fixture.stranger.verifyingKey)
    refuses(
      pinned, try fixture.sign(fixture.enrolment(), by: fixture.operatorKey),
      .foreignOperator(key: fixture.operatorKey.verifyingKey))
  }

  @Test func `a revocation ends a key, and only the operator revokes`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let store = fixture.store.verifyingKey
    let revocation = EntryBody.revocation(RevocationRecord(key: store, reason: "lost", timeMs: startMs))
    refuses(
      ledger, try fixture.sign(revocation, by: fixture.officer),
      .foreignOperator(key: fixture.officer.verifyingKey))
    let before = try fixture.consent()
    let receipts = try ledger.append([before], nowMs: startMs)
    _ = try ledger.append([fixture.sign(revocation, by: fixture.operatorKey)], nowMs: startMs)
    #expect(!ledger.isEnrolled(store) && ledger.enrolments().map(\.name) == ["officer-1", "officer-2"])
    refuses(ledger, try fixture.consent(), .notEnrolled(signer: store))
    refuses(ledger, try fixture.consent(fixture.event(.withdrawn)), .notEnrolled(signer: store))
    // What it said before stays, and a repetition is told where.
    #expect(try ledger.append([before], nowMs: startMs).map(\.index) == receipts.map(\.index))
    // A revoked key cannot come back: its enrolment is in the log once.
    let again = EntryBody.enrolment(
      EnrolmentRecord(nodeKey: store, name: "again", kind: .store, validFromMs: startMs))
    #expect(throws: LedgerError.self) {
      try ledger.append([fixture.sign(again, by: fixture.operatorKey)], nowMs: startMs)
    }
    #expect(!ledger.isEnrolled(store))
    // Who was never enrolled cannot be revoked.
    let unknown = EntryBody.revocation(
      RevocationRecord(key: fixture.stranger.verifyingKey, reason: "x", timeMs: startMs))
    refuses(
      ledger, try fixture.sign(unknown, by: fixture.operatorKey),
      .notEnrolled(signer: fixture.stranger.verifyingKey))
    // And all of it again from the files.
    try ledger.close()
    let reopened = try LedgerFileReader(directory: fixture.path).rules()
    #expect(reopened.enrolments[store] == nil && reopened.order.first == store)
  }

  @Test func `a policy is in force when a second officer approved it`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.open()
    _ = try ledger.append(Array(fixture.beginning()[..<3]), nowMs: startMs)
    let proposal = try fixture.sign(fixture.proposal(), by: fixture.officer)
    refuses(ledger, try fixture.consent(), .unknownPurpose(purpose.id))
    refuses(ledger, try fixture.sign(fixture.approval(), by: fixture.secondOfficer), .nothingToApprove)
    _ = try ledger.append([proposal], nowMs: startMs)
    #expect(ledger.rules.current == nil)
    refuses(ledger, try fixture.consent(), .unknownPurpose(purpose.id))
    refuses(ledger, try fixture.sign(fixture.approval(), by: fixture.officer), .approvesOwnProposal)
    let receipt = try ledger.append(
      [fixture.sign(fixture.approval(), by: fixture.secondOfficer)], nowMs: startMs)
    let current = try #require(ledger.rules.current)
    #expect(current.digest == Fixture.policyDigest && current.inForceFrom == receipt.first?.index.value)
    #expect(
      current.proposer == fixture.officer.verifyingKey
        && current.approver == fixture.secondOfficer.verifyingKey)
    #expect(try ledger.append([fixture.consent()], nowMs: startMs).count == 1)
    try ledger.close()
    #expect(try LedgerFileReader(directory: fixture.path).rules().current == current)
  }

  @Test func `a later policy takes the place of the first, and grants have to name it`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let second = Fixture.policy(version: 2, purposes: [Purpose(id: "pricing", version: 3)])
    let digest = Hash.sha256(second.canonicalBytes)
    _ = try ledger.append([fixture.sign(fixture.proposal(second), by: fixture.secondOfficer)], nowMs: startMs)
    // Proposed is not in force.
    #expect(try ledger.append([fixture.consent()], nowMs: startMs).count == 1)
    _ = try ledger.append([fixture.sign(fixture.approval(of: digest), by: fixture.officer)], nowMs: startMs)
    refuses(ledger, try fixture.consent(), .otherPolicy)
    refuses(
      ledger, try fixture.consent(fixture.event(policy: digest)), .grantRefused(.unknownPurpose(purpose.id)))
    let pricing = Purpose(id: "pricing", version: 3)
    #expect(
      try ledger.append([fixture.consent(fixture.event(purpose: pricing, policy: digest))], nowMs: startMs)
        .count == 1)
    // Whoever agreed under the old policy can still withdraw from a purpose that is gone.
    #expect(try ledger.append([fixture.consent(fixture.event(.withdrawn))], nowMs: startMs).count == 1)
    // A third approval does not bring the first one back; it would have to be proposed anew.
    _ = try ledger.append(
      [fixture.sign(fixture.approval(), by: fixture.secondOfficer)], nowMs: startMs)
    #expect(ledger.rules.current?.digest == digest)
    refuses(ledger, try fixture.consent(), .otherPolicy)
  }

  @Test func `a policy that is not canonical or not valid is refused`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    var invalid = Fixture.policy(version: 2)
    invalid.version = 0
    for document in [Array("{}".utf8), Fixture.policyDocument + [0x20], invalid.canonicalBytes] {
      let body = EntryBody.policy(PolicyRecord(document: document, timeMs: startMs))
      #expect(throws: LedgerError.self) {
        try ledger.append([fixture.sign(body, by: fixture.officer)], nowMs: startMs)
      }
    }
    #expect(ledger.size == 5)
  }

  @Test func `a grant against the policy is refused with its reason and a denial is always taken`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    func grant(_ change: (inout ConsentEvent) -> Void) throws -> SignedStatement {
      var event = try fixture.event()
      change(&event)
      return try fixture.consent(event)
    }
    refuses(ledger, try grant { $0.policyHash = nil }, .otherPolicy)
    refuses(ledger, try grant { $0.policyHash = String(repeating: "00", count: 32) }, .otherPolicy)
    refuses(
      ledger, try grant { $0.purpose = Purpose(id: purpose.id, version: 2) },
      .grantRefused(.version(purpose: purpose.id, inForce: 1, recorded: 2)))
    refuses(
      ledger, try grant { $0.jurisdiction = "FR" },
      .grantRefused(.prohibited(purpose: purpose.id, jurisdiction: "FR")))
    refuses(ledger, try grant { $0.ageBand = .fifteen }, .grantRefused(.needsGuardian(age: 16)))
    refuses(
      ledger, try grant { $0.consentType = .implied },
      .grantRefused(.consentType(.implied, purpose: purpose.id)))
    refuses(ledger, try grant { $0.purpose = Purpose(id: "pricng", version: 1) }, .unknownPurpose("pricng"))
    // Also a denial, so that a misspelt withdrawal is noticed.
    var misspelt = try fixture.event(.withdrawn)
    misspelt.purpose = Purpose(id: "recomendations", version: 1)
    refuses(ledger, try fixture.consent(misspelt), .unknownPurpose("recomendations"))
    for state in ConsentState.allCases where !state.isGrant {
      var denial = try fixture.event(state, purpose: Purpose(id: purpose.id, version: 77))
      denial.jurisdiction = "FR"
      denial.legalBasis = "none"
      denial.ageBand = .under13
      denial.policyHash = String(repeating: "00", count: 32)
      #expect(try ledger.append([fixture.consent(denial)], nowMs: startMs).count == 1, "\(state)")
    }
    #expect(
      try ledger.append([fixture.consent(fixture.event(.erased, purpose: .every))], nowMs: startMs).count == 1
    )
  }

  @Test func `a clock ahead is refused and the ledger's own never goes back`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    func at(_ time: Int64) throws -> SignedStatement {
      var event = try fixture.event()
      event.eventTimeMs = time
      return try fixture.consent(event)
    }
    #expect(try ledger.append([at(startMs + 300_000)], nowMs: startMs).count == 1)
    refuses(ledger, try at(startMs + 300_001), .clockAhead(aheadMs: 300_001))
    // The ledger's clock was set back: entries are dated like the last one.
    let statement = try at(startMs)
    let receipt = try #require(try ledger.append([statement], nowMs: startMs - 60_000).first)
    #expect(receipt.recordedMs == startMs)
    try receipt.prove(statement, fixture.verifiers)
  }

  @Test func `an erasure is taken when two officers approved it, and a log that has it needs no more`() throws
  {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let stricter = Fixture.policy(version: 2, twoPersonActions: [.policy, .erasure])
    _ = try ledger.append(
      [
        fixture.sign(fixture.proposal(stricter), by: fixture.officer),
        fixture.sign(fixture.approval(of: Hash.sha256(stricter.canonicalBytes)), by: fixture.secondOfficer),
      ], nowMs: startMs)
    let event = try fixture.event(.erased, purpose: .every)
    let target = Digest(unchecked: event.subject.bytes)
    let erased = try fixture.consent(event)
    refuses(ledger, erased, .needsApprovals(found: 0))
    for (found, key) in [(1, fixture.officer), (1, fixture.officer), (2, fixture.secondOfficer)] {
      _ = try ledger.append([fixture.sign(fixture.approval(of: target, .erasure), by: key)], nowMs: startMs)
      if found < 2 { refuses(ledger, erased, .needsApprovals(found: found)) }
    }
    refuses(ledger, try fixture.consent(fixture.event(.erased, purpose: .every)), .needsApprovals(found: 0))
    #expect(try ledger.append([erased], nowMs: startMs).count == 1)
    try ledger.close()
    #expect(LedgerVerifier.verify(directory: fixture.path).firstProblem == nil)
  }

  @Test func `approvals are remembered by action and target, each officer once`() throws {
    let fixture = try Fixture()
    let ledger = try fixture.begun()
    let target = Hash.sha256([1])
    for key in [fixture.officer, fixture.officer, fixture.secondOfficer] {
      _ = try ledger.append([fixture.sign(fixture.approval(of: target, .erasure), by: key)], nowMs: startMs)
    }
    let both = [fixture.officer.verifyingKey, fixture.secondOfficer.verifyingKey]
    #expect(ledger.rules.approvers(of: .erasure, target: target) == both)
    #expect(ledger.rules.approvers(of: .keyRotation, target: target).isEmpty)
    #expect(ledger.rules.approvers(of: .erasure, target: Hash.sha256([2])).isEmpty)
    try ledger.close()
    #expect(
      try LedgerFileReader(directory: fixture.path).rules().approvers(of: .erasure, target: target) == both)
  }
}
