#if DEBUG
  import Cryptography
  import Federation
  import Foundation
  import Messages
  import SecureAggregation
  import SwiftProtobuf

  extension FuzzTargets {
    /// The messages of the aggregation, one target each; a new conformance needs a line here.
    static let wire: [FuzzTarget] = [
      wire(Advertisement.self, "wire-advertisement") { $0.advertisements },
      wire(Roster.self, "wire-roster") { $0.rosters },
      wire(RosterCommitment.self, "wire-roster-commitment") { $0.commitments },
      wire(NeighbourRequest.self, "wire-neighbour-request") { $0.requests },
      wire(RosterOpening.self, "wire-roster-opening") { $0.openings },
      wire(ShareUpload.self, "wire-share-upload") { $0.uploads },
      wire(ShareDelivery.self, "wire-share-delivery") { $0.deliveries },
      wire(SurvivorNotice.self, "wire-survivor-notice") { $0.notices },
      wire(ConsistencySignature.self, "wire-consistency-signature") { $0.confirmations },
      wire(Quorum.self, "wire-quorum") { $0.quorums },
      wire(QuorumClaim.self, "wire-quorum-claim") { $0.claims },
      wire(QuorumChallenge.self, "wire-quorum-challenge") {
        $0.claims.map { QuorumChallenge(signers: $0.signers) }
      },
      wire(UnmaskShares.self, "wire-unmask-shares") { $0.reveals },
    ]

    private static func wire<Message: WireRepresentable & Equatable & Sendable>(
      _ type: Message.Type, _ name: String, _ messages: @escaping @Sendable (MessagePool) -> [Message]
    ) -> FuzzTarget {
      FuzzTarget(name) {
        let messages = try [NeighbourGraph.complete, AggregationScript.sparse].flatMap { graph in
          messages(try FuzzWorld.finished(graph).pool).prefix(3).map(\.wireBytes)
        }
        // Fields that are there but empty, behind the others: a second form of the same value.
        return messages
          + messages.prefix(1).flatMap { bytes in (1...4).map { bytes + [UInt8($0 << 3 | 2), 0] } }
      } run: { bytes in
        try checkRoundTrip(
          bytes, isCanonical: true, refusal: FederationError.self,
          decode: { try Message(wireBytes: $0, peer: "a peer") }, encode: { $0.wireBytes })
      }
    }

    /// The messages that are read field by field where they arrive.
    static let messages: [FuzzTarget] = [
      message(WireServerInfo.self, "message-server-info") {
        $0.protocolVersion = 1
        $0.federation = "accord.test/consent"
        $0.serverKey = .init(FuzzWorld.authority.verifyingKey.bytes)
      },
      message(WireRefusal.self, "message-refusal") {
        $0.code = "late"
        $0.message = "the step is over"
      },
      message(WireInvitationRequest.self, "message-invitation-request") { $0.lastSession = 300 },
      message(WireInvitation.self, "message-invitation") {
        $0.descriptor = .init([1, 2, 3])
        $0.signature = .init([UInt8](repeating: 7, count: 64))
        $0.task = .init(Array("{}".utf8))
      },
      message(WireModelRequest.self, "message-model-request") {
        $0.digest = .init(FuzzWorld.digest("model").bytes)
      },
      message(WireInputHeader.self, "message-input-header") {
        $0.sealedKey = .init([UInt8](repeating: 1, count: 80))
        $0.streamHeader = .init([UInt8](repeating: 2, count: 24))
        $0.plainBytes = 4_000
        $0.digest = .init(FuzzWorld.digest("input").bytes)
      },
      message(WireSessionOutcome.self, "message-session-outcome") {
        $0.transcript = .init(FuzzWorld.digest("transcript").bytes)
      },
      message(WireLedgerAppend.self, "message-ledger-append") {
        $0.statements = [.init([1]), .init([2, 3])]
      },
      message(WireLedgerAppended.self, "message-ledger-appended") {
        var receipt = WireLedgerReceipt()
        receipt.index = 5
        receipt.treeSize = 9
        receipt.proof = [.init(FuzzWorld.digest("node").bytes)]
        $0.receipts = [receipt]
        $0.checkpoint = "a signed note"
      },
      message(WireLedgerEntries.self, "message-ledger-entries") { $0.leaves = [.init([1])] },
      message(WireTaskSubmission.self, "message-task-submission") {
        $0.task = .init(Array("{}".utf8))
        $0.signature = .init([UInt8](repeating: 7, count: 64))
      },
      message(WireTaskAccepted.self, "message-task-accepted") { $0.id = "task-1" },
    ]

    private static func message<Message: SwiftProtobuf.Message & Equatable>(
      _ type: Message.Type, _ name: String, _ fill: @escaping @Sendable (inout Message) -> Void
    ) -> FuzzTarget {
      FuzzTarget(name, maximumLength: 1_024) {
        var message = Message()
        fill(&message)
        return [encodeMessage(message)]
      } run: { bytes in
        try checkRoundTrip(
          bytes, isCanonical: true, refusal: FederationError.self,
          decode: { try wireMessage(Message.self, $0, peer: "a peer") }, encode: { encodeMessage($0) })
      }
    }
  }
#endif
