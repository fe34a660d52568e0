/// One thing that goes wrong in a run, or that a customer decides: everything about it is drawn when the plan is
/// made, so that any part of a plan can be left out and the rest stays what it was.
package struct FaultEvent: Sendable, Hashable {
  /// What happens.
  package enum Kind: String, Sendable, CaseIterable {
    /// Messages of the party are lost, each with a probability.
    case lose
    /// Messages of the party arrive twice, each with a probability.
    case duplicate
    /// Messages of the party are delayed by up to a second, which reorders them.
    case delay
    /// The party hears and says nothing.
    case cut
    /// The process is killed between two steps; what it wrote stays.
    case crash
    /// The process is killed before, within or after a write to its disk.
    case crashInWrite
    /// The machine stops between two steps; what was not made durable is lost or torn.
    case powerLoss
    /// The machine stops before, within or after a write to its disk, which may be torn.
    case powerLossInWrite
    /// The party's clock is set forward or back.
    case clockStep
    /// A customer of the node withdraws.
    case withdraw
    /// A customer of the node agrees (again).
    case agree
    /// The node sends bytes that are no message.
    case garbage
    /// The node speaks in another node's name, with its own signature.
    case forgery
    /// The node sends a message of an earlier session again.
    case replay
    /// The node reveals shares that it was not dealt.
    case wrongShares
    /// The node sends a second, different message of the step.
    case equivocation
    /// The node uploads noise of its own as a masked input.
    case garbageInput
    /// The server shows one node another list of survivors.
    case splitSurvivors
    /// The server shows one node fewer survivors than the descriptor promises.
    case fewSurvivors
    /// The server gathers a quorum for a shorter list, and then asks for the shares of the longer one, too.
    case bothShares
    /// The server invites one node with weaker parameters than task and policy ask for.
    case weakerParameters
    /// The server invites one node to an earlier session again.
    case oldDescriptor
    /// The server shows one node another history of the log, signed.
    case forkedLog
    /// The server leaves entries out of an answer.
    case shortLog
    /// The server shows nobody a new checkpoint for longer than one may be old.
    case staleCheckpoint

    /// Whether it is an attack by a node.
    var isByNode: Bool {
      switch self {
      case .garbage, .forgery, .replay, .wrongShares, .equivocation, .garbageInput: true
      default: false
      }
    }

    /// Whether it is an attack by the server.
    var isByServer: Bool {
      switch self {
      case .splitSurvivors, .fewSurvivors, .bothShares, .weakerParameters, .oldDescriptor, .forkedLog,
        .shortLog,
        .staleCheckpoint:
        true
      default: false
      }
    }
  }

  /// Its place in the plan; what replays and shrinking name.
  package let index: Int
  /// What happens.
  package let kind: Kind
  /// The session, counted from 0, after whose announcement it happens.
  package let attempt: Int
  /// How long after it, milliseconds.
  package let offsetMs: UInt64
  /// Whom it happens to: a node from 0, or −1 for the server.
  package let party: Int
  /// How long it lasts, milliseconds; of a clock step how far.
  package let lengthMs: UInt64
  /// What else has to be chosen is chosen by these bits.
  package let choice: UInt64

  /// A line for people.
  package var sentence: String {
    let who = party < 0 ? "server" : "node \(party)"
    return "#\(index) session \(attempt + 1) + \(offsetMs) ms: \(kind.rawValue) \(who), \(lengthMs) ms"
  }
}

/// Everything that will go wrong in a run, decided by its seed before it begins.
package struct FaultPlan: Sendable {
  /// In the order of their indices.
  package let events: [FaultEvent]

  private static let always: [(FaultEvent.Kind, Int)] = [
    (.lose, 4), (.duplicate, 4), (.delay, 4), (.cut, 2), (.crash, 3), (.crashInWrite, 6), (.powerLoss, 3),
    (.powerLossInWrite, 6), (.clockStep, 2), (.withdraw, 10), (.agree, 5),
  ]

  /// Draws the plan of a seed. A third of the seeds has one hostile node, a third a hostile server.
  package init(seed: UInt64, rounds: Int, nodes: Int) {
    var random = SeededWords(seed ^ 0x706c_616e)
    let hostility = random.below(3)
    var events: [FaultEvent] = []
    for attempt in 0..<rounds {
      var weights = Self.always
      if hostility == 1 { weights += FaultEvent.Kind.allCases.filter(\.isByNode).map { ($0, 4) } }
      if hostility == 2 { weights += FaultEvent.Kind.allCases.filter(\.isByServer).map { ($0, 3) } }
      for _ in 0..<(1 + random.below(4)) {
        events.append(
          Self.event(index: events.count, attempt: attempt, nodes: nodes, weights: weights, random: &random))
      }
    }
    self.events = events
  }

  private static func event(
    index: Int, attempt: Int, nodes: Int, weights: [(FaultEvent.Kind, Int)], random: inout SeededWords
  ) -> FaultEvent {
    var ticket = Int(random.below(UInt64(weights.reduce(0) { $0 + $1.1 })))
    var kind = weights[0].0
    for (candidate, weight) in weights {
      if ticket < weight {
        kind = candidate
        break
      }
      ticket -= weight
    }
    var party = Int(random.below(UInt64(nodes)))
    if kind.isByNode {
      party = nodes - 1
    } else if kind.isByServer || kind == .withdraw || kind == .agree {
      // The node that it is aimed at.
    } else if random.below(3) == 0 {
      party = -1
    }
    // A session without faults takes a few hundred milliseconds; what comes late meets the pause after it.
    // Most withdrawals come while inputs are on their way.
    let late = random.below(random.below(4) == 0 ? 1500 : 400)
    let offset = kind.isByServer ? 0 : kind == .withdraw ? 60 + late % 140 : late
    let length = 50 + random.below(kind == .staleCheckpoint ? 1 : 1500)
    return FaultEvent(
      index: index, kind: kind, attempt: attempt, offsetMs: offset, party: party, lengthMs: length,
      choice: random.next())
  }
}

/// SplitMix64 (Steele, Lea, Flood 2014): for decisions of the simulated world, never for keys.
struct SeededWords {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    return Self.mix(state)
  }

  mutating func below(_ bound: UInt64) -> UInt64 { next() % bound }

  static func mix(_ word: UInt64) -> UInt64 {
    var z = word
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// One word for several: the same whenever they are the same.
  static func hash(_ words: UInt64...) -> UInt64 {
    words.reduce(0x243f_6a88_85a3_08d3) { mix($0 ^ $1) &+ $1 }
  }
}
