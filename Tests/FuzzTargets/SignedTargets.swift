#if DEBUG
  import Consent
  import ConsentLedger
  import Cryptography
  import Federation
  import Foundation
  import MerkleLog
  import Messages
  import Privacy
  import SecureAggregation

  /// What is read only after its signature was checked: the harness signs what libFuzzer makes up.
  extension FuzzTargets {
    static let signed: [FuzzTarget] = [descriptor, request, ledgerEntry, signedNote, checkpoint]

    private static let now: UInt64 = 1_800_000_000_000

    // MARK: Round descriptors

    private static let descriptor = FuzzTarget("round-descriptor") {
      let segment = Segment(
        name: .update, length: 7, population: .training, clipNorm: 4, scale: 32, noiseVariance: 1.5)
      return [NeighbourGraph.complete, .sparse(degree: 50, threshold: 30)].map { graph in
        RoundDescriptor(
          federation: "accord.test/consent", sessionNumber: 7, kind: .training, round: 1,
          taskDigest: FuzzWorld.digest("task"), modelDigest: FuzzWorld.digest("model"), seed: 5,
          segments: [segment], ringBits: 20, minimumCohort: 3, minimumSurvivors: 3, corruptPermille: 100,
          dropoutPermille: 250, maximumContributors: 10, stepDeadlineMilliseconds: 1_000,
          trainingDeadlineMilliseconds: 5_000, checkpoint: "a signed note", issuedAtMilliseconds: now,
          uploadKey: FuzzWorld.uploadKey.publicKey, unit: .customer,
          graph: graph
        ).encode()
      }
    } run: { bytes in
      try checkRoundTrip(
        bytes, isCanonical: true, refusal: FederationError.self,
        decode: { try RoundDescriptor.decode($0, peer: "the server") }, encode: { $0.encode() })
      let signature = FuzzWorld.authority.sign(domain: RoundDescriptor.domain, [bytes])
      guard
        let signed = try attempt(
          FederationError.self,
          {
            try SignedDescriptor(
              verifying: bytes, signature: signature, serverKey: FuzzWorld.authority.verifyingKey)
          })
      else { return }
      _ = try attempt(FederationError.self) {
        try signed.descriptor.aggregationParameters(sessionID: signed.sessionID)
      }
      for segment in signed.descriptor.segments {
        _ = try attempt(FederationError.self) { try segment.privacyEvent() }
      }
    }

    // MARK: Signed requests

    /// The first byte chooses: raw bytes, or a request that is signed here with the rest as its payload and
    /// then perhaps changed in one bit.
    private static let request = FuzzTarget("signed-request") {
      let payload = Array("payload".utf8)
      return [
        [0]
          + SignedRequest.sign(
            .shares, payload: payload, session: FuzzWorld.digest("sid"), nowMilliseconds: now,
            key: FuzzWorld.identities[0]),
        [1, 3, 3, 0, 0, 0] + payload, [1, 2, 5, 0, 0, 0] + payload, [1, 3, 3, 1, 20, 3] + payload,
      ]
    } run: { bytes in
      var script = ScriptReader(bytes)
      let kinds = SignedRequest.Kind.allCases
      guard script.number(below: 2) == 1 else {
        let raw = script.rest()
        for kind in [kinds[0], .shares] {
          _ = try attempt(FederationError.self) {
            try SignedRequest(raw, expecting: kind, nowMilliseconds: now)
          }
        }
        return
      }
      let (kind, expected) = (
        kinds[script.number(below: kinds.count)], kinds[script.number(below: kinds.count)]
      )
      let isChanged = script.number(below: 2) == 1
      let (position, bit) = (Int(script.byte()), UInt8(script.number(below: 8)))
      let payload = script.rest()
      var wire = SignedRequest.sign(
        kind, payload: payload, session: position.isMultiple(of: 2) ? nil : FuzzWorld.digest("sid"),
        nowMilliseconds: now, key: FuzzWorld.identities[0])
      if isChanged { wire[position % wire.count] ^= 1 << bit }
      let read = try attempt(FederationError.self) {
        try SignedRequest(wire, expecting: expected, nowMilliseconds: now)
      }
      let isFine = read.map { $0.payload == payload && $0.kind == kind } ?? false
      try expect(
        isFine == (!isChanged && kind == expected),
        "a request of kind \(kind), read as \(expected), changed: \(isChanged), was accepted: \(read != nil)")
    }

    // MARK: Entries of the ledger

    /// The first byte chooses: a leaf as it is, or a content of a kind that is signed and wrapped here.
    private static let ledgerEntry = FuzzTarget("ledger-entry") {
      let bodies = try [consent(), enrolment(), approval(), requestStep(), round(), notice()]
      let statements = try SignedStatement.sign(bodies, key: FuzzWorld.authority)
      return try statements.map { [0] + (try $0.leaf(recordedMs: 9)) }
        + bodies.map { body in
          let kind = EntryKind.allCases.firstIndex(of: body.kind) ?? 0
          return [UInt8(1 + kind)] + (try body.canonicalContent())
        }
    } run: { bytes in
      var script = ScriptReader(bytes)
      let choice = script.number(below: 1 + EntryKind.allCases.count)
      let rest = script.rest()
      guard choice > 0 else {
        return try checkRoundTrip(
          rest, isCanonical: true, refusal: LedgerError.self, decode: { try LedgerEntry(leaf: $0) },
          encode: { try $0.statement.leaf(recordedMs: $0.recordedMs) })
      }
      let kind = EntryKind.allCases[choice - 1]
      try checkRoundTrip(
        rest, isCanonical: true, refusal: LedgerError.self,
        decode: { try EntryBody(kind: kind, content: $0) },
        encode: { try $0.canonicalContent() })
    }

    private static func consent() throws -> EntryBody {
      .consent(
        ConsentEvent(
          eventID: try EventID([UInt8](repeating: 1, count: 16)),
          subject: try SubjectTag([UInt8](repeating: 2, count: 32)),
          purpose: Purpose(id: "recommendations", version: 1), state: .given, regime: .optIn,
          legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "web/app", method: "Häkchen",
          eventTimeMs: 7, recorder: "till \"3\"", recordID: try EventID([UInt8](repeating: 4, count: 16)),
          expiresAtMs: 8))
    }

    private static func enrolment() throws -> EntryBody {
      .enrolment(
        EnrolmentRecord(
          nodeKey: FuzzWorld.identities[0].verifyingKey, name: "store-1", kind: .store, validFromMs: 5))
    }

    private static func approval() throws -> EntryBody {
      .approval(
        ApprovalRecord(
          id: try EventID([UInt8](repeating: 5, count: 16)), action: .erasure,
          target: FuzzWorld.digest("target"), text: "yes", timeMs: 6))
    }

    private static func requestStep() throws -> EntryBody {
      .request(
        RequestRecord(
          eventID: try EventID([UInt8](repeating: 6, count: 16)),
          requestID: try EventID([UInt8](repeating: 6, count: 16)), action: .received, nature: .access,
          law: .gdpr, manner: "web form", timeMs: 6))
    }

    private static func round() throws -> EntryBody {
      .round(
        RoundRecord(
          sessionID: FuzzWorld.digest("sid"), round: 3, taskID: "churn", kind: "training",
          modelIn: FuzzWorld.digest("in"), modelOut: FuzzWorld.digest("out"),
          purpose: Purpose(id: "recommendations", version: 1), checkpointSize: 3,
          checkpointRoot: FuzzWorld.digest("root"), checkpointAgeSeconds: 4, participants: 5, survivors: 4,
          dropped: 1, noisedEligible: 1_017, evidenceRoots: [FuzzWorld.digest("evidence")], epsilon: 0.1,
          delta: 1e-6, unit: "customer", mechanism: "skellam", startedMs: 7, endedMs: 9, result: .completed,
          transcriptDigest: FuzzWorld.digest("transcript")))
    }

    private static func notice() throws -> EntryBody {
      .notice(
        NoticeRecord(
          id: try EventID([UInt8](repeating: 3, count: 16)), kind: "refusal", text: "no budget", timeMs: 1))
    }

    // MARK: Notes and checkpoints

    private static let origin = "accord.test/log"

    private static func signedCheckpoint() throws -> SignedCheckpoint {
      try SignedCheckpoint.sign(
        Checkpoint(origin: origin, size: 12, root: FuzzWorld.digest("root")), timestampSeconds: 1_800_000_000,
        logKey: FuzzWorld.authority, freshnessKey: FuzzWorld.freshness)
    }

    private static let signedNote = FuzzTarget("signed-note") {
      let verifier = try NoteVerifier(
        name: origin, algorithm: .ed25519, key: FuzzWorld.authority.verifyingKey)
      return [Array(try signedCheckpoint().noteText.utf8), Array(verifier.description.utf8)]
    } run: { bytes in
      guard let text = String(validating: bytes, as: UTF8.self) else { return }
      try checkRoundTrip(
        bytes, isCanonical: true, refusal: MerkleLogError.self,
        decode: { try SignedNote(parsing: String(decoding: $0, as: UTF8.self)) },
        encode: { Array($0.encoded.utf8) })
      try checkRoundTrip(
        bytes, isCanonical: true, refusal: MerkleLogError.self,
        decode: { try NoteVerifier(text: String(decoding: $0, as: UTF8.self)) },
        encode: { Array($0.description.utf8) })
      let verifiers = try attempt(MerkleLogError.self) {
        try CheckpointVerifiers(
          origin: origin, logKey: FuzzWorld.authority.verifyingKey,
          freshnessKey: FuzzWorld.freshness.verifyingKey)
      }
      guard let verifiers else { throw FuzzFinding("the pinned keys are refused") }
      _ = try attempt(MerkleLogError.self) { try SignedCheckpoint.verify(text, verifiers) }
    }

    /// The text of a checkpoint, signed here.
    private static let checkpoint = FuzzTarget("checkpoint", maximumLength: 512) {
      [Array(try signedCheckpoint().checkpoint.text.utf8)]
    } run: { bytes in
      guard let text = String(validating: bytes, as: UTF8.self) else { return }
      try checkRoundTrip(
        bytes, isCanonical: true, refusal: MerkleLogError.self,
        decode: { try Checkpoint(text: String(decoding: $0, as: UTF8.self)) },
        encode: { Array($0.text.utf8) })
      _ = try attempt(MerkleLogError.self) {
        var note = try SignedNote(text: text)
        try note.sign(name: origin, key: FuzzWorld.authority)
        try note.cosign(
          name: CheckpointVerifiers.freshnessName(of: origin), key: FuzzWorld.freshness,
          timestampSeconds: 1_800_000_000)
        let verifiers = try CheckpointVerifiers(
          origin: origin, logKey: FuzzWorld.authority.verifyingKey,
          freshnessKey: FuzzWorld.freshness.verifyingKey)
        _ = try SignedCheckpoint.verify(note.encoded, verifiers)
      }
    }
  }
#endif
