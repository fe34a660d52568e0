import Cryptography
import Federation
import Privacy
import SecureAggregation

/// What one session starts from.
struct FederatedSession: Sendable {
  /// From 1.
  let number: UInt64
  /// The cohort's nodes, ascending.
  let members: [Int]
  /// Those that finish, ascending.
  let survivors: [Int]
  let signed: SignedDescriptor
  let serverKey: SigningKey
  let artifact: ModelArtifact
}

/// The nodes' side of sessions: contributions, and the exchange of every message.
struct FederatedWire: Sendable {
  /// What a survivor puts into the sum, and the stream that its `NodeRound` is started with.
  struct Input: Sendable {
    let values: [Int64]
    let random: RandomStream
    /// Contributors whose update was computed.
    let updates: Int
  }

  let task: FederatedTask
  let nodes: FederatedNodes
  let work: NodeWork
  let streams: SimulatedStreams

  /// A name for a node that sends no messages.
  static func placeholder(_ node: Int) -> ParticipantID {
    let number = withUnsafeBytes(of: UInt64(node).littleEndian) { Array($0) }
    return ParticipantID(unchecked: Hash.blake2b(domain: "accord/simulation/node", [number]).bytes)
  }

  /// A node's integers for a session, as its daemon builds them, and the contributors that it trained on.
  static func contribution(
    of node: Int, _ builder: ContributionBuilder, _ nodes: FederatedNodes, _ session: FederatedSession,
    random: inout RandomStream
  ) throws -> (values: [Int64], updates: Int) {
    guard let pipeline = session.artifact.model?.pipeline else {
      let batches = try nodes.batches(of: node)
      let values = try builder.build(
        training: batches.training, heldOut: batches.heldOut, random: &random)
      return (values, 0)
    }
    let rows = try nodes.rows(of: node, pipeline)
    let descriptor = session.signed.descriptor
    let updates =
      descriptor.kind == .training
      ? min(rows.contributorCount(of: .training), descriptor.maximumContributors) : 0
    return (try builder.build(rows, random: &random), updates)
  }

  /// An exchange of all messages. `inputs` are those of the survivors, in their order.
  func exchange(_ session: FederatedSession, _ inputs: [Input]) throws -> FederatedExchange {
    let streams = streams
    let identities = try work.map("aggregate", session.members.count) { position in
      var random = streams.identity(session.members[position])
      return SigningKey(using: &random)
    }
    let policy = NodePolicy(
      purposes: [task.task.purpose], budget: task.task.trainingBudget, minimumCohort: 2)
    let survives = Set(session.survivors)
    var next = inputs.makeIterator()
    var nodes: [FederatedExchange.Node] = []
    for (position, member) in session.members.enumerated() {
      let input = survives.contains(member) ? next.next() : nil
      // Who drops out makes keys and shares as well; nothing of its stream gets into the sum.
      var own = streams.node(member, session: session.number)
      let received = try SignedDescriptor(
        verifying: session.signed.bytes, signature: session.signed.signature,
        serverKey: session.serverKey.verifyingKey)
      try policy.check(
        received.descriptor, task: task.task, federation: FederatedTask.id,
        lastSession: session.number - 1, now: UInt64(FederatedNodes.decidedAtMs))
      nodes.append(
        FederatedExchange.Node(
          id: identities[position].verifyingKey,
          round: try NodeRound(
            signed: received, task: task.task, policy: policy, identity: identities[position],
            random: input?.random ?? own.fork()), values: input?.values))
    }
    return try FederatedExchange(
      session: session, task: task.task, nodes: nodes, work: work)
  }
}
