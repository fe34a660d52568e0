package import Consent
package import ConsentLedger
package import Cryptography
import Federation
import Foundation
import MerkleLog
import Messages
import Storage

/// Erases customers at a node: begins, goes on after a crash, and issues the certificate. The order is the
/// vault's (`SubjectVault.markErasing`): denied first, then the log's entry, then the data, the certificate last.
package struct Erasure: Sendable {
  /// Why an erasure did not begin.
  package enum Refusal: Error, Sendable, CustomStringConvertible {
    /// The vault knows nobody of this name.
    case unknownSubject
    /// The policy asks for two people.
    case needsApprovals(tag: SubjectTag, found: Int)

    package var description: String {
      switch self {
      case .unknownSubject: "this node knows nothing about that customer: there is nothing to erase"
      case .needsApprovals(let tag, let found):
        """
        the policy in force asks two officers to approve an erasure, \(found) did; each approves with: \
        accord subject approve-erasure \(tag) --trust … --key …
        """
      }
    }
  }

  private let files: NodeFiles
  private let vault: SubjectVault
  private let store: LocalStore
  private let client: FederationClient
  private let view: LedgerView

  /// Works on a node's files.
  package init(
    files: NodeFiles, vault: SubjectVault, store: LocalStore, client: FederationClient, view: LedgerView
  ) {
    self.files = files
    self.vault = vault
    self.store = store
    self.client = client
    self.view = view
  }

  /// Erases a customer and returns the certificate, which is also in the node's directory `certificates`.
  package func erase(_ subject: String, timeMs: Int64) async throws -> ErasureCertificate {
    let rules = try view.rules()
    if let tag = try vault.tag(for: subject, create: false),
      rules.current?.policy.needsTwoPeople(.erasure) == true
    {
      let approvers = rules.approvers(of: .erasure, target: Digest(unchecked: tag.bytes))
      guard approvers.count >= 2 else { throw Refusal.needsApprovals(tag: tag, found: approvers.count) }
    }
    var random = RandomStream.system()
    let eventID = try EventID.ordered(timeMs: timeMs, using: &random)
    guard let pending = try vault.markErasing(subject, eventID: eventID, timeMs: timeMs) else {
      throw Refusal.unknownSubject
    }
    return try await complete(pending)
  }

  /// Goes on with what a crash cut off.
  package func completePending() async throws -> [ErasureCertificate] {
    var certificates: [ErasureCertificate] = []
    for pending in try vault.pendingErasures() { certificates.append(try await complete(pending)) }
    return certificates
  }

  private func complete(_ pending: PendingErasure) async throws -> ErasureCertificate {
    let event = ConsentEvent(
      eventID: pending.eventID, subject: pending.tag, purpose: .every, state: .erased, regime: .optIn,
      legalBasis: "eu-gdpr:A17", jurisdiction: Jurisdiction.unknown, channel: "erasure", method: "request",
      eventTimeMs: pending.beganMs, recorder: files.name,
      recordID: EventID.record(of: pending.tag, purpose: Purpose.every.id), actor: .controller,
      ageBand: .unknown)
    let proven = try await LedgerSubmission.send(
      [SignedStatement.sign(.consent(event), key: files.identity)], client: client, key: files.identity)
    if let subject = pending.subjectID { try store.erase(subject: subject) }
    let counts = try vault.erase(pending)
    let rules = try view.rules()
    let target = Digest(unchecked: pending.tag.bytes)
    let certificate = try ErasureCertificate.issue(
      subject: pending.tag, proof: try TransparencyProof(parsing: proven[0].text),
      approvals: rules.approvals(of: .erasure, target: target), deleted: counts,
      timeMs: Int64(client.clock()), key: files.identity)
    let directory = files.path + "/certificates"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try DurableFile.write(
      try certificate.encoded(), to: "\(directory)/erasure-\(pending.tag.hex.prefix(16)).json")
    try vault.finishErasure(pending)
    return certificate
  }
}

extension SubjectVault {
  /// Deletes again whom a restored backup brought back: the customers whose erasure this node has signed, first
  /// their records, which only the vault can still tell apart, then their keys.
  package func replayErasures(of mirror: LedgerMirror, by node: VerifyingKey, store: LocalStore) throws -> Int
  {
    let erased = try mirror.erasedSubjects(by: node)
    guard !erased.isEmpty else { return 0 }
    for (subject, tag) in try tags(for: store.subjects(), create: false) where erased.contains(tag) {
      try store.erase(subject: subject)
    }
    return try replayErasures(erased: erased)
  }
}
