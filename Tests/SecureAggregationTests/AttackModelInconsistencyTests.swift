import Cryptography
import Testing

@testable import SecureAggregation

/// Attack 1: different models for different participants (Pasquini et al. 2022). A server that gives all
/// but one a model on which their updates are zero reads the last one's update from the sum. The digest of
/// the model is in the descriptor, whose hash is sid, so the check is that everything is bound to sid.
struct AttackModelInconsistencyTests {
  private let victim = 0

  /// The victim sees model A, everybody else model B, on which their inputs are zero.
  private func cohorts(_ graph: NeighbourGraph) throws -> (mine: Session, theirs: Session) {
    let mine = try Session.attacked(graph, sid: "model A")
    var theirs = try Session.attacked(graph, sid: "model B", seed: 8)
    for index in theirs.everybody { theirs.inputs[index] = [Int64](repeating: 0, count: 16) }
    theirs.inputs[victim] = mine.inputs[victim]
    return (mine, theirs)
  }

  /// What the attacker gains from a cohort that accepts each other's keys.
  @Test(arguments: attackedGraphs)
  func `the sum is one participant's input where the others' inputs are zero`(graph: NeighbourGraph) throws {
    var (_, session) = try cohorts(graph)
    let result = try session.run([Fate](repeating: .stays, count: 12))
    #expect(result.centredSum == session.inputs[victim])
  }

  /// Guarded check: sid in `Advertisement.signedBytes`, verified by `AggregationClient.peers`
  /// (AggregationClient+Sharing.swift). Without it the server joins participants of two models in one roster.
  @Test(arguments: attackedGraphs)
  func `keys that were advertised for another model are refused`(graph: NeighbourGraph) throws {
    let (mine, theirs) = try cohorts(graph)
    // The attacker composes the roster of the victim's advertisement and the others' for model B.
    var session = mine
    for index in session.everybody where index != victim {
      session.roster.members[index] = theirs.roster.members[index]
    }
    let members = session.roster.members
    session.roster.root = Roster.root(of: members, sid: session.parameters.sessionID)
    session.coordinator.roster = session.roster
    session.coordinator.tree = RosterTree.tree(members)
    let error = refusal { _ = try session.upload(of: victim) }
    guard case .badSignature(let stranger, .advertise) = error else {
      Issue.record("the victim shared with participants of another model: \(String(describing: error))")
      return
    }
    #expect(stranger != session.clients[victim].id)
  }

  /// Guarded check: sid in `Advertisement.signedBytes`, verified by `AggregationCoordinator.receive`
  /// (AggregationCoordinator.swift).
  @Test(arguments: attackedGraphs)
  func `a coordinator refuses keys of another model`(graph: NeighbourGraph) throws {
    let (mine, theirs) = try cohorts(graph)
    var coordinator = AggregationCoordinator(
      parameters: mine.parameters, graphPolicy: .unchecked, isEnrolled: Fixture.isEnrolled)
    let foreign = theirs.roster.members[3]
    #expect(throws: AggregationError.badSignature(foreign.id, .advertise)) {
      try coordinator.receive(foreign)
    }
  }

  private func bytes(_ stream: KeyStream) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: KeyStream.chunkBytes) { buffer, count in
      stream.writeChunk(0, into: UnsafeMutableRawBufferPointer(buffer))
      count = 64
    }
  }

  /// Guarded check: sid in every derivation of KeySchedule.swift. Were one missing, the same keys would
  /// give the same mask, seal or commitment under two models: pairs would cancel across them, and shares
  /// of one session would open in the other.
  @Test(arguments: [
    "self mask", "pair mask", "mask key", "share key", "commitment", "share's additional data",
  ])
  func `every derivation differs between two models, for the same keys and roster`(name: String) throws {
    var random = RandomStream(testSeed: 5)
    let (a, b) = (AgreementKey(using: &random), AgreementKey(using: &random))
    let scalar = Scalar(using: &random)
    let (id, peer) = (Fixture.identities[0].verifyingKey, Fixture.identities[1].verifyingKey)
    let root = Hash.blake2b([1])
    func derive(_ model: String) throws -> [UInt8] {
      let schedule = KeySchedule(sid: Hash.blake2b(Array(model.utf8)), suite: .chacha20)
      switch name {
      case "self mask": return bytes(try schedule.selfMask(of: scalar, id: id))
      case "pair mask":
        return bytes(try schedule.pairMask(of: a, id: id, with: b.publicKey, peerID: peer, root: root))
      case "mask key": return schedule.maskKey(of: scalar, id: id).publicKey.bytes
      case "share key":
        return try schedule.shareKey(of: a, with: b.publicKey, peerID: peer).exportBytes()
      case "commitment": return schedule.commitment(to: scalar, id: id).bytes
      default: return schedule.shareAdditionalData(root: root, sender: id, recipient: peer)
      }
    }
    #expect(try derive("model A") == derive("model A"))
    #expect(try derive("model A") != derive("model B"))
  }
}
