import Foundation
import Learning

/// Who trains when and arrives when, on a virtual clock: decided by the seed alone, whatever is computed.
///
/// The unit of time is the round of a median node (of `constant` and `lognormal` speeds).
struct ArrivalSchedule {
  private struct Flight {
    let end: Double
    /// Breaks ties: who began first arrives first.
    let order: Int
    let node: Int
    let version: Int
  }

  /// The time.
  private(set) var now = 0.0
  /// What the same number of synchronous rounds would have taken: each as long as its slowest node.
  private(set) var synchronous = (buffer: 0.0, concurrency: 0.0)
  private let settings: AsynchronousRounds
  private let seed: UInt64
  private let sampler: CohortSampler
  private var free: FreeNodes
  /// The next to arrive is the last.
  private var flights: [Flight] = []
  private var started = 0
  private var steps = 0

  init(settings: AsynchronousRounds, nodeCount: Int, seed: UInt64) {
    self.settings = settings
    self.seed = seed
    sampler = CohortSampler(seed: seed ^ 0x7379_6e63_6872_6f6e, nodeCount: nodeCount)
    free = FreeNodes(
      nodeCount: nodeCount, busy: settings.buffer + settings.concurrency, seed: seed ^ 0x6275_6666_6572_6564)
  }

  /// The nodes whose arrivals fill the next buffer, with the version that each began with. Who begins until then
  /// begins with `version`.
  mutating func nextBuffer(version: Int) -> [(node: Int, version: Int)] {
    var buffer: [(node: Int, version: Int)] = []
    while true {
      while flights.count < settings.concurrency, let node = free.take() { begin(node, version: version) }
      guard buffer.count < settings.buffer, let flight = flights.popLast() else { break }
      now = flight.end
      buffer.append((flight.node, flight.version))
      // Whoever begins after the last arrival begins with the next version.
      if buffer.count == settings.buffer { break }
    }
    for (node, _) in buffer { free.release(node) }
    steps += 1
    synchronous.buffer += slowest(of: settings.buffer)
    synchronous.concurrency += slowest(of: settings.concurrency)
    return buffer
  }

  /// The versions that nodes in flight began with.
  var versionsInFlight: Set<Int> { Set(flights.map(\.version)) }

  private mutating func begin(_ node: Int, version: Int) {
    let flight = Flight(
      end: now + duration(of: node, round: UInt64(started)), order: started, node: node, version: version)
    started += 1
    var (low, high) = (0, flights.count)
    while low < high {
      let middle = (low + high) / 2
      if (flights[middle].end, flights[middle].order) > (flight.end, flight.order) {
        low = middle + 1
      } else {
        high = middle
      }
    }
    flights.insert(flight, at: low)
  }

  private func slowest(of size: Int) -> Double {
    sampler.cohort(round: steps, size: size).reduce(0) {
      max($0, duration(of: $1, round: 1 << 48 | UInt64(steps)))
    }
  }

  /// How long a node takes for its part in a round.
  private func duration(of node: Int, round: UInt64) -> Double {
    var pace = SplitMix64(seed: seed ^ 0x7370_6565_6400 ^ UInt64(node) &* 0x9e37_79b9_7f4a_7c15)
    let usual =
      switch settings.speed {
      case .constant: 1.0
      case .lognormal: exp(settings.spread * Self.normal(&pace))
      case .halfNormal: max(0.05, abs(settings.spread * Self.normal(&pace)))
      }
    guard settings.jitter > 0 else { return usual }
    var own = SplitMix64(seed: pace.next() ^ round &* 0xd1b5_4a32_d192_ed03)
    return usual * exp(settings.jitter * Self.normal(&own))
  }

  /// A standard normal number (Box and Muller).
  private static func normal(_ generator: inout SplitMix64) -> Double {
    let first = (Double(generator.next() >> 11) + 1) * 0x1p-53
    let second = Double(generator.next() >> 11) * 0x1p-53
    return (-2 * log(first)).squareRoot() * cos(2 * Double.pi * second)
  }
}

/// Nodes that are neither in flight nor in the open buffer, to be drawn uniformly.
private struct FreeNodes {
  private let nodeCount: Int
  private var generator: SplitMix64
  /// All that are free; nil where they are so many that others are listed instead.
  private var list: [Int]?
  private var busy: Set<Int> = []

  init(nodeCount: Int, busy: Int, seed: UInt64) {
    self.nodeCount = nodeCount
    generator = SplitMix64(seed: seed)
    // A population may be larger than memory, what is busy is not.
    list = nodeCount / 4 <= busy ? Array(0..<nodeCount) : nil
  }

  private mutating func draw(below bound: Int) -> Int {
    Int(generator.next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  mutating func take() -> Int? {
    if let count = list?.count {
      guard count > 0 else { return nil }
      let place = draw(below: count)
      list?.swapAt(place, count - 1)
      return list?.popLast()
    }
    // At most a quarter is busy.
    while true {
      let node = draw(below: nodeCount)
      if busy.insert(node).inserted { return node }
    }
  }

  mutating func release(_ node: Int) {
    if list != nil { list?.append(node) } else { busy.remove(node) }
  }
}
