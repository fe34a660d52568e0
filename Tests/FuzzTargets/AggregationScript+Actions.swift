#if DEBUG
  import Cryptography

  @testable import SecureAggregation

  extension AggregationScript {
    /// The two graphs, as targets.
    static let targets: [FuzzTarget] = [
      target("aggregation-complete") { try completeSnapshots.get() },
      target("aggregation-sparse") { try sparseSnapshots.get() },
    ]

    // Made when the first script of a graph runs.
    static let completeSnapshots = Result { try snapshots(.complete) }
    static let sparseSnapshots = Result { try snapshots(sparse) }

    private static func target(
      _ name: String, _ starts: @escaping @Sendable () throws -> [AggregationScript]
    ) -> FuzzTarget {
      FuzzTarget(name, maximumLength: 400) {
        seeds
      } run: { bytes in
        _ = try play(bytes, from: try starts())
      }
    }

    /// Runs a script: which of the beginnings, then one action after the other.
    static func play(_ bytes: [UInt8], from starts: [AggregationScript]) throws -> AggregationScript {
      var reader = ScriptReader(bytes)
      var script = starts[reader.number(below: starts.count)]
      var actions = 0
      while !reader.isAtEnd, actions < 100 {
        actions += 1
        do { try script.act(&reader) } catch let error as AggregationError {
          try expect(error.description != "secure aggregation was refused", "\(error) has no sentence")
        } catch let finding as FuzzFinding {
          throw finding
        } catch { throw FuzzFinding("refused with \(type(of: error)): \(error)") }
      }
      return script
    }

    /// The session before each step, so that short inputs reach late steps: everybody there, or client 0
    /// lost before it uploads.
    private static func snapshots(_ graph: NeighbourGraph) throws -> [AggregationScript] {
      var snapshots: [AggregationScript] = []
      for absent in [Set<Int>(), [0]] {
        var script = try AggregationScript(graph)
        for step in Step.allCases {
          snapshots.append(script)
          try script.honest(step, without: step >= .mask ? absent : [])
        }
      }
      return snapshots
    }

    /// The beginning, then actions: what, which client, and what else that action reads. A step of everybody
    /// is [20, 0, whom to leave out]. The first three end with a sum.
    static let seeds: [[UInt8]] = [
      [0] + (0..<5).flatMap { _ in [20, 0, 0] },
      [0, 20, 0, 0, 20, 0, 0, 20, 0, 1, 20, 0, 1, 20, 0, 1],
      [5, 20, 0, 0, 20, 0, 0, 20, 0, 1, 20, 0, 1, 20, 0, 1],
      // Before masking: a delivery without somebody, another's, a changed one; then two inputs of one client.
      [
        2, 7, 1, 8, 1, 0, 1, 6, 2, 0, 7, 2, 8, 1, 0, 0, 0, 8, 2, 0, 0, 0, 8, 2, 0, 0, 3, 20, 0, 0, 20, 0, 0,
        20, 0, 0,
      ],
      // Before confirming: a list without somebody, the corrupt client's signature on it, then the true one.
      [3, 11, 0, 0, 1, 2, 4, 13, 0, 0, 0, 12, 0, 0, 0, 11, 2, 0, 0, 20, 0, 0, 16, 0, 0, 0, 20, 0, 0],
      // Before unmasking: a quorum with changes, shares with changes, the end.
      [4, 16, 1, 0, 1, 2, 3, 16, 1, 0, 0, 17, 1, 0, 1, 3, 0, 3, 3, 1, 7, 20, 0, 2, 18, 0],
      // A forged advertisement, a dealer that deals wrongly, a client at a time.
      [0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 0, 1, 20, 0, 0, 22, 0, 22, 1, 6, 0, 0, 0, 1, 1, 255, 3, 20, 0, 2],
    ]

    /// One action; what it is and on what is read from the script.
    mutating func act(_ reader: inout ScriptReader) throws {
      let action = reader.number(below: 24)
      let index = reader.number(below: clients.count)
      switch action {
      case 0: try advertise(index)
      case 1: try sendAdvertisement(&reader)
      case 2...5: try orderShares(action, index, &reader)
      case 6: try sendUpload(&reader)
      case 7: pool.deliveries.append(try coordinator.delivery(for: clients[index].id))
      case 8:
        let delivery = reader.forged(pool.deliveries) { $0.edit(&$1) }
        if let delivery { _ = try mask(index, delivery, variant: reader.number(below: 4) == 3 ? 1 : 0) }
      case 9:
        if let packed = reader.forged(pool.inputs, { $0.list(&$1) { $1 ^= 1 ^ $0.byte() } }) {
          try accept(packed, from: index)
        }
      case 10: clients[index].acknowledgeInput()
      case 11:
        if let notice = reader.forged(pool.notices, { $0.edit(&$1) }) {
          pool.notices.append(notice)
          _ = try confirm(index, notice)
        }
      case 12: try sendConfirmation(&reader)
      case 13: forgeConfirmation(&reader)
      case 14:
        if let claim = reader.forged(
          pool.claims + [coordinator.quorumClaim].compactMap { $0 },
          {
            $0.indices(&$1.signers)
          })
        {
          pool.claims.append(claim)
          _ = try clients[index].challenge(claim)
        }
      case 15:
        var signers = pool.claims.last?.signers ?? []
        reader.indices(&signers)
        pool.quorums.append(try coordinator.quorum(of: signers, for: clients[index].id))
      case 16:
        let all = pool.confirmations
        let quorum = reader.forged(pool.quorums + [Quorum(signatures: all)]) { reader, quorum in
          reader.list(&quorum.signatures) { $1 = all.last ?? $1 }
        }
        if let quorum { _ = try reveal(index, quorum) }
      case 17:
        if let message = reader.forged(pool.reveals, { $0.edit(&$1) }) { try receive(message) }
      case 18: try finish()
      case 19: clients[index].abort()
      case 20: try everybody(without: Int(reader.byte()))
      case 21: try close(Step.allCases[reader.number(below: Step.allCases.count)])
      default: try honest(currentStep, of: index)
      }
    }

    private var currentStep: Step {
      switch coordinator.step {
      case .advertise: .advertise
      case .share: .share
      case .mask: .mask
      case .confirm: .confirm
      case .unmask, .finished: .unmask
      }
    }

    /// The current step of everybody but those in the bit set; who refuses is left out.
    private mutating func everybody(without absent: Int) throws {
      let step = currentStep
      for index in clients.indices where absent >> index & 1 == 0 {
        do { try honest(step, of: index) } catch is AggregationError { continue }
      }
      try close(step)
    }

    // MARK: Towards the server

    private mutating func sendAdvertisement(_ reader: inout ScriptReader) throws {
      guard var message = reader.forged(pool.advertisements, { $0.edit(&$1) }) else { return }
      let identity = FuzzWorld.identities[Self.corrupt]
      if reader.number(below: 2) == 1, message.id == identity.verifyingKey {
        message.signature = identity.sign(
          Advertisement.signedBytes(
            sid: parameters.sessionID, id: message.id, shareKey: message.shareKey, maskKey: message.maskKey,
            seedCommitment: message.seedCommitment))
      }
      try coordinator.receive(message)
    }

    private mutating func sendUpload(_ reader: inout ScriptReader) throws {
      guard var upload = reader.forged(pool.uploads, { $0.edit(&$1) }) else { return }
      let identity = FuzzWorld.identities[Self.corrupt]
      if upload.id == identity.verifyingKey, reader.number(below: 2) == 1 {
        if reader.number(below: 2) == 1 { try dealWrongly(&upload, &reader) }
        let bundle = ShareUpload.bundleDigest(of: upload.shares)
        upload.signature = identity.sign(
          ShareUpload.signedBytes(
            sid: parameters.sessionID, root: upload.root, id: upload.id, bundle: bundle))
        liars.insert(Self.corrupt)
        // The corrupt client goes on with what it sent.
        if case .shared(let secrets, let sharing) = clients[Self.corrupt].state {
          clients[Self.corrupt].state = .shared(
            secrets,
            AggregationClient.Sharing(
              cohort: sharing.cohort, bundleDigest: bundle, peers: sharing.peers, own: sharing.own))
        }
      }
      try coordinator.receive(upload)
    }

    /// Seals other plaintexts to some recipients: no scalars, or other ones.
    private func dealWrongly(_ upload: inout ShareUpload, _ reader: inout ScriptReader) throws {
      let client = clients[Self.corrupt]
      guard case .shared(_, let sharing) = client.state else { return }
      let victims = Int(reader.byte())
      var random = RandomStream(testSeed: UInt64(reader.byte()))
      for position in upload.shares.indices where victims >> (position % 8) & 1 == 1 {
        guard let peer = sharing.peers[upload.shares[position].recipient] else { continue }
        let first = random.word().isMultiple(of: 8)
        let plain =
          first
          ? [UInt8](repeating: 255, count: 64)
          : Scalar(using: &random).exportBytes() + Scalar(using: &random).exportBytes()
        upload.shares[position].ciphertext = AEAD.seal(
          plain, key: peer.shareKey,
          additionalData: client.schedule.shareAdditionalData(
            root: sharing.cohort.root, sender: client.id, recipient: peer.id), using: &random)
      }
    }

    private mutating func sendConfirmation(_ reader: inout ScriptReader) throws {
      if let message = reader.forged(pool.confirmations, { $0.edit(&$1) }) {
        try coordinator.receive(message)
      }
    }

    /// The corrupt client signs any list.
    private mutating func forgeConfirmation(_ reader: inout ScriptReader) {
      guard let notice = reader.forged(pool.notices, { $0.edit(&$1) }), let root = coordinator.roster?.root
      else { return }
      let identity = FuzzWorld.identities[Self.corrupt]
      pool.confirmations.append(
        ConsistencySignature(
          id: identity.verifyingKey,
          signature: identity.sign(notice.signedBytes(sid: parameters.sessionID, root: root))))
    }

    // MARK: In the server's name

    private mutating func orderShares(
      _ action: Int, _ index: Int, _ reader: inout ScriptReader
    ) throws {
      switch action {
      case 2:
        guard var roster = reader.forged(pool.rosters, { $0.edit(&$1) }) else { return }
        if reader.number(below: 2) == 1 {
          roster.root = Roster.root(of: roster.members, sid: parameters.sessionID)
        }
        _ = try share(index, roster)
      case 3:
        guard let commitment = reader.forged(pool.commitments, { $0.edit(&$1) }) else { return }
        _ = try draw(index, commitment)
      case 4:
        guard let request = reader.forged(pool.requests, { $0.edit(&$1) }) else { return }
        pool.openings.append(try coordinator.open(request))
      default:
        guard let opening = reader.forged(pool.openings, { $0.edit(&$1) }) else { return }
        _ = try share(index, opening)
      }
    }
  }
#endif
