import Consent
import ConsentLedger
import Cryptography
import Federation
import MerkleLog
import Privacy
import SecureAggregation
import Storage

/// A law that was broken.
package struct FaultViolation: Error, Sendable, Hashable, CustomStringConvertible {
  /// Which law, in a word or two.
  package let law: String
  /// What happened.
  package let detail: String

  package var description: String { "\(law): \(detail)" }
}

/// Sees everything that happens in a run, believes nobody, and says which law was broken. It keeps its own
/// account of the log, of what was promised to whom, and of what went into every sum.
struct FaultOracle {
  /// What a node put into a session.
  struct Contribution {
    let integers: [Int64]
    let customers: [String]
  }

  let federation: FaultFederation
  private let coordinates: [String: Int]
  /// Whose tag it is.
  var owners: [SubjectTag: String] = [:]

  // MARK: The log
  private var range = CompactRange()
  private var roots: [UInt64: Digest] = [0: MerkleTree.emptyRoot]
  private var leaves: [Digest] = []
  /// Where acknowledged statements stand.
  private var acknowledged: [UInt64: Digest] = [:]
  /// Where each customer's last acknowledged withdrawal and last grant stand.
  private var withdrawnAt: [String: UInt64] = [:]
  private var grantedAt: [String: UInt64] = [:]
  /// Notes that a hostile server signed apart from its log.
  var forged: Set<String> = []

  // MARK: Sessions
  private var numbers: [UInt64: Digest] = [:]
  /// Sessions that a node must not join, and why.
  private var forbidden: [Digest: String] = [:]
  private var joined: [Int: [UInt64: Digest]] = [:]
  private var contributions: [Digest: [Int: Contribution]] = [:]
  private var inputs: [Digest: Set<Int>] = [:]
  private var reveals: [Digest: [Int: UnmaskShares]] = [:]
  private(set) var released: [UInt64: Digest] = [:]
  private var pending: [UInt64: [Int64]] = [:]
  private var serverDebits: Set<String> = []
  private var nodeDebits: [Int: Set<String>] = [:]
  /// The sum of all released sums, each times its session's number.
  private(set) var total: [Int64]

  init(_ federation: FaultFederation) {
    self.federation = federation
    coordinates = Dictionary(uniqueKeysWithValues: federation.customers.enumerated().map { ($1, $0) })
    total = [Int64](repeating: 0, count: federation.customers.count)
  }

  func require(_ condition: Bool, _ law: String, _ detail: @autoclosure () -> String) throws {
    if !condition { throw FaultViolation(law: law, detail: detail()) }
  }

  // MARK: Ledger

  /// Reads what the ledger published since the last time. What was read before has to be there still.
  mutating func follow(_ ledger: LedgerStore) throws {
    let size = ledger.size
    try require(
      size >= range.size, "append-only", "the ledger shows \(size) entries, it showed \(range.size) before")
    while range.size < size {
      let from = range.size
      let to = min(size, from + LedgerStore.maximumEntriesPerAnswer)
      for leaf in try ledger.entries(from..<to) { try read(leaf) }
    }
    try require(
      ledger.root == roots[size], "append-only",
      "the tree of \(size) entries has another root than its leaves")
  }

  private mutating func read(_ leaf: [UInt8]) throws {
    let index = range.size
    let hash = MerkleTree.leafHash(leaf)
    range.append(leafHash: hash)
    leaves.append(hash)
    if let promised = acknowledged[index] {
      try require(promised == hash, "acknowledged entries stay", "entry \(index) is another one now")
    }
    let root = range.root
    if let known = roots[range.size] {
      try require(known == root, "no fork", "two trees of \(range.size) entries were signed")
    }
    roots[range.size] = root
    guard case .consent(let event) = try LedgerEntry(leaf: leaf).body, let customer = owners[event.subject],
      event.state.isGrant
    else { return }
    grantedAt[customer] = index
  }

  /// After a restart: everything that was seen or promised has to be in the log as it was.
  func reread(_ ledger: LedgerStore) throws {
    try require(
      ledger.size >= range.size, "append-only",
      "after a restart the ledger has \(ledger.size) entries, it showed \(range.size) before")
    var again = CompactRange()
    while again.size < range.size {
      let from = again.size
      let to = min(range.size, from + LedgerStore.maximumEntriesPerAnswer)
      for leaf in try ledger.entries(from..<to) {
        let hash = MerkleTree.leafHash(leaf)
        try require(
          hash == leaves[Int(again.size)], "acknowledged entries stay",
          "entry \(again.size) is another one after a restart")
        again.append(leafHash: hash)
      }
    }
  }

  /// A node was told that its entry is in the log.
  mutating func acknowledge(_ event: ConsentEvent?, leaf: [UInt8], at index: UInt64) throws {
    let hash = MerkleTree.leafHash(leaf)
    if let known = acknowledged[index] {
      try require(
        known == hash, "acknowledged entries stay", "entry \(index) was acknowledged as another one")
    }
    acknowledged[index] = hash
    if index < range.size {
      try require(
        leaves[Int(index)] == hash, "acknowledged entries stay", "entry \(index) is not the one named")
    }
    guard let event, let customer = owners[event.subject], !event.state.isGrant else { return }
    withdrawnAt[customer] = max(withdrawnAt[customer] ?? 0, index)
  }

  /// All that was promised is there.
  func requireAcknowledged(_ ledger: LedgerStore) throws {
    for (index, hash) in acknowledged.sorted(by: { $0.key < $1.key }) {
      try require(
        index < ledger.size && leaves[Int(index)] == hash, "acknowledged entries stay",
        "entry \(index) was acknowledged and is gone")
    }
  }

  /// A note left the server: there must be one root for a size.
  mutating func note(_ text: String) throws {
    guard !forged.contains(text) else { return }
    let checkpoint = try SignedCheckpoint.verify(text, federation.verifiers).checkpoint
    if let known = roots[checkpoint.size] {
      try require(known == checkpoint.root, "no fork", "two trees of \(checkpoint.size) entries were signed")
    }
    roots[checkpoint.size] = checkpoint.root
  }

  /// The root that a tree of this size has in the true log.
  func root(_ size: UInt64) -> Digest? { roots[size] }

  /// Whether the log, as acknowledged, forbids to use the customer's records now.
  func isDenied(_ customer: String) -> Bool {
    guard let withdrawn = withdrawnAt[customer] else { return false }
    return (grantedAt[customer] ?? 0) < withdrawn
  }

  // MARK: Sessions

  /// The server began a session.
  mutating func announce(_ signed: SignedDescriptor) throws {
    let number = signed.descriptor.sessionNumber
    try require(
      numbers[number] == nil || numbers[number] == signed.sessionID, "session numbers are used once",
      "session \(number) was announced twice with different content")
    try require(
      released[number] == nil, "session numbers are used once", "session \(number) released a sum before")
    numbers[number] = signed.sessionID
  }

  /// A node must not join this session.
  mutating func forbid(_ session: Digest, _ reason: String) { forbidden[session] = reason }

  /// A node sends its keys for a session.
  mutating func join(_ node: Int, _ signed: SignedDescriptor) throws {
    let number = signed.descriptor.sessionNumber
    if let reason = forbidden[signed.sessionID] {
      throw FaultViolation(
        law: "a node refuses weaker parameters", detail: "node \(node) joined session \(number): \(reason)")
    }
    let last = joined[node]?.keys.max() ?? 0
    try require(
      number > last, "no session is joined twice",
      "node \(node) joined session \(number) after session \(last)")
    joined[node, default: [:]][number] = signed.sessionID
  }

  /// A node masked its contribution.
  mutating func masked(_ node: Int, _ session: Digest, _ contribution: Contribution) throws {
    try require(
      contributions[session]?[node] == nil, "no second contribution", "node \(node) masked twice in a session"
    )
    contributions[session, default: [:]][node] = contribution
  }

  /// The server took an input into the sum.
  mutating func take(_ node: Int, _ session: Digest, isHostile: Bool) throws {
    try require(
      inputs[session, default: []].insert(node).inserted, "no second contribution",
      "two inputs of node \(node) were taken")
    guard !isHostile else { return }
    let contribution = contributions[session]?[node]
    try require(contribution != nil, "no invented input", "node \(node) has no contribution to this session")
    for customer in contribution?.customers ?? [] {
      try require(
        !isDenied(customer), "withdrawals count",
        "\(customer), whose withdrawal was acknowledged, is in an input that was taken after it")
    }
    let owed = "\(session.hex)/query-0"
    try require(
      nodeDebits[node]?.contains(owed) == true, "debit before upload",
      "the input of node \(node) was taken, but its own debit is not on disk")
  }

  /// A node revealed shares: of one peer one kind, for one list of survivors.
  mutating func reveal(_ node: Int, _ session: Digest, _ message: UnmaskShares, survivors: [Int]) throws {
    let seeds = Set(message.seedShares.map(\.index))
    let keys = Set(message.maskKeyShares.map(\.index))
    if let earlier = reveals[session]?[node] {
      let both = seeds.union(earlier.seedShares.map(\.index)).intersection(
        keys.union(earlier.maskKeyShares.map(\.index)))
      try require(
        both.isEmpty, "one kind of share",
        "node \(node) revealed both kinds of shares of member \(both.min() ?? -1)")
    }
    try require(seeds.isDisjoint(with: keys), "one kind of share", "node \(node) revealed both kinds at once")
    reveals[session, default: [:]][node] = message
    try require(
      survivors.count >= 2, "no small sums", "node \(node) unmasks a sum of \(survivors.count) inputs")
    for (other, message) in reveals[session] ?? [:] where other != node {
      let theirs = Set(message.seedShares.map(\.index))
      try require(
        keys.isDisjoint(with: theirs) && seeds.isDisjoint(with: message.maskKeyShares.map(\.index)),
        "one list of survivors", "nodes \(other) and \(node) unmask for different survivors")
    }
  }

  /// A sum is about to be released: it is exactly what was taken, and its cost is on disk.
  mutating func release(_ sum: [Int64], _ result: ReleasedSum, survivors: [Int], hostile: Set<Int>) throws {
    let number = result.descriptor.sessionNumber
    let session = result.sessionID
    try require(
      released[number] == nil, "exact sums", "session \(number) releases a second sum")
    released[number] = session
    try require(
      Set(survivors) == inputs[session] ?? [], "exact sums",
      "survivors and inputs of session \(number) differ")
    var expected = [Int64](repeating: 0, count: sum.count)
    for node in survivors {
      for (index, value) in (contributions[session]?[node]?.integers ?? []).enumerated() {
        expected[index] += value
      }
    }
    try require(
      sum == expected, "exact sums", "session \(number) releases \(sum) instead of \(expected)")
    let unit = Int64(result.descriptor.segments[0].scale)
    try require(
      sum.allSatisfy { $0 == 0 || $0 == unit }, "no second contribution",
      "a customer counts more than once in session \(number)")
    try require(
      serverDebits.contains("\(session.hex)/query-0"), "debit before release",
      "session \(number) is released, but its debit is not on disk")
    pending[number] = sum
  }

  /// The released sum is on disk: from here on it counts, once.
  mutating func store(_ number: UInt64) {
    guard let sum = pending.removeValue(forKey: number) else { return }
    for index in sum.indices { total[index] += sum[index] * Int64(number) }
  }

  /// Every session has its record in the log.
  func requireRecords(_ rows: SimulatedServer.Rows, _ ledger: LedgerStore) throws {
    for (number, session) in rows.sessions.sorted(by: { $0.key < $1.key }) {
      guard let index = session.recordedAt, index < ledger.size,
        case .round(let record) = try LedgerEntry(leaf: try ledger.leaf(index)).body
      else {
        throw FaultViolation(
          law: "every session is recorded", detail: "session \(number) is not in the ledger")
      }
      try require(
        record.sessionID == session.sessionID && record.round == number, "every session is recorded",
        "entry \(index) is not the record of session \(number)")
    }
    try require(rows.total == total, "exact sums", "the server's total is \(rows.total) instead of \(total)")
  }

  /// Whether the server's log had this tree.
  func hasRoot(_ checkpoint: Checkpoint) -> Bool { roots[checkpoint.size] == checkpoint.root }

  /// A node that believes its copy has the true log in it.
  func requireView(_ node: Int, _ held: Checkpoint) throws {
    try require(
      roots[held.size] == held.root, "one log for all", "node \(node) believes another log than the server's")
  }

  // MARK: Budgets

  /// Reads a party's debits from its file: no debit ever goes away.
  mutating func readDebits(server book: BudgetBook) throws {
    let found = Set(try Self.debits(book))
    let missing = serverDebits.subtracting(found)
    try require(missing.isEmpty, "costs stay", "the server has lost \(missing.count) of its debits")
    serverDebits = found
  }

  mutating func readDebits(node: Int, _ book: BudgetBook) throws {
    let found = Set(try Self.debits(book))
    let missing = nodeDebits[node, default: []].subtracting(found)
    try require(missing.isEmpty, "costs stay", "node \(node) has lost \(missing.count) of its debits")
    nodeDebits[node] = found
  }

  private static func debits(_ book: BudgetBook) throws -> [String] {
    try book.debits(of: Population.training.accountName).map(\.id)
  }
}
