package import Consent
import ConsentLedger
import Cryptography
import Federation
import Foundation
import Messages

/// Records what customers decided: events signed by this node, acknowledged by the ledger once durable.
package struct ConsentRecorder: Sendable {
  /// What a customer decided, as it is entered.
  package struct Entry: Sendable {
    /// The customer.
    package var subject: String
    /// The decision.
    package var state: ConsentState
    /// When, ms of UTC since 1970.
    package var timeMs: Int64
    /// Key of idempotence; nil draws one.
    package var eventID: EventID?

    package init(subject: String, state: ConsentState, timeMs: Int64, eventID: EventID? = nil) {
      self.subject = subject
      self.state = state
      self.timeMs = timeMs
      self.eventID = eventID
    }
  }

  /// How the decisions were taken; the same for a batch.
  package struct Circumstances: Sendable {
    /// What for.
    package var purpose: Purpose
    /// Under which regime.
    package var regime: Regime
    /// The legal basis, such as `eu-gdpr:A6-1-a`.
    package var legalBasis: String
    /// Which law applies, such as `EU`.
    package var jurisdiction: String
    /// SHA-256 of the notice shown, hexadecimal, or empty.
    package var noticeHash: String
    /// Where, such as `till`.
    package var channel: String
    /// How, such as `signature`.
    package var method: String

    package init(
      purpose: Purpose, regime: Regime = .optIn, legalBasis: String = "eu-gdpr:A6-1-a",
      jurisdiction: String = "EU", noticeHash: String = "", channel: String = "store",
      method: String = "spoken"
    ) {
      self.purpose = purpose
      self.regime = regime
      self.legalBasis = legalBasis
      self.jurisdiction = jurisdiction
      self.noticeHash = noticeHash
      self.channel = channel
      self.method = method
    }
  }

  /// An acknowledged event.
  package struct Receipt: Sendable {
    /// The customer.
    package let subject: String
    /// Where the event stands in the log.
    package let index: UInt64
    /// The size of the tree that the proof is for.
    package let treeSize: UInt64
  }

  private static let batch = 512
  private let files: NodeFiles
  private let vault: SubjectVault
  private let client: FederationClient

  /// A recorder over a node's vault and keys.
  package init(files: NodeFiles, client: FederationClient) throws {
    self.files = files
    self.client = client
    vault = try files.openVault()
  }

  /// Records the entries in order; returns when the ledger has acknowledged all of them, each with a proof
  /// that was checked against a checkpoint signed by the pinned keys.
  package func record(
    _ entries: [Entry], _ circumstances: Circumstances
  ) async throws -> [Receipt] {
    var receipts: [Receipt] = []
    var random = RandomStream.system()
    for start in stride(from: 0, to: entries.count, by: Self.batch) {
      let part = Array(entries[start..<min(start + Self.batch, entries.count)])
      // The vault first: a tag in the log without its key in the vault could never be opened.
      let tags = try vault.tags(for: part.map(\.subject), create: true)
      var leaves: [[UInt8]] = []
      for entry in part {
        guard let tag = tags[entry.subject] else { continue }
        let event = ConsentEvent(
          eventID: try entry.eventID ?? EventID(random.bytes(16)), subject: tag,
          purpose: circumstances.purpose, state: entry.state, regime: circumstances.regime,
          legalBasis: circumstances.legalBasis, jurisdiction: circumstances.jurisdiction,
          noticeHash: circumstances.noticeHash, channel: circumstances.channel,
          method: circumstances.method, eventTimeMs: entry.timeMs, recorder: files.name)
        leaves.append(try LedgerEntry.consent(event, signedBy: files.identity).leafBytes())
      }
      receipts += try await submit(leaves, subjects: part.map(\.subject))
    }
    return receipts
  }

  private func submit(_ leaves: [[UInt8]], subjects: [String]) async throws -> [Receipt] {
    let answer = try await LedgerSubmission.send(leaves, client: client, key: files.identity)
    let verified = try files.openMirror().size
    for receipt in answer {
      guard receipt.treeSize >= verified else {
        throw EdgeNodeError.badAnswer(
          what: "receipt",
          reason:
            "it is for a log of \(receipt.treeSize) entries, but this node has verified \(verified): the "
            + "server was restored from an older copy, and what it acknowledges now may be lost")
      }
      // The gate denies until this node's copy of the log has come as far.
      try vault.noteAcknowledged(treeSize: receipt.treeSize)
    }
    return zip(subjects, answer).map { Receipt(subject: $0, index: $1.index, treeSize: $1.treeSize) }
  }
}
