import Cryptography
import Testing

@testable import SecureAggregation

/// Openings of `RosterTree`: every honest one verifies, every changed one does not.
struct SparseRosterTreeTests {
  private static let members: [Advertisement] = {
    var random = RandomStream(testSeed: 31)
    return (0..<40).map { _ in
      Advertisement(
        id: VerifyingKey(unchecked: random.bytes(32)),
        shareKey: AgreementPublicKey(unchecked: random.bytes(32)),
        maskKey: AgreementPublicKey(unchecked: random.bytes(32)),
        seedCommitment: Digest(unchecked: random.bytes(32)),
        signature: Signature(unchecked: random.bytes(64)))
    }
  }()

  private func opening(_ tree: DigestTree, _ indices: [Int]) -> RosterOpening {
    RosterOpening(
      indices: indices, members: indices.map { Self.members[$0] }, hashes: tree.hashes(proving: indices))
  }

  /// Every single leaf, every pair of neighbours, everything, and random subsets.
  private func subsets(_ count: Int) -> [[Int]] {
    var random = RandomStream(testSeed: UInt64(count))
    var subsets = (0..<count).map { [$0] }
    subsets += (1..<max(count, 1)).map { [$0 - 1, $0] }
    subsets.append(Array(0..<count))
    for _ in 0..<20 {
      let size = 1 + Int(random.uniform(below: UInt64(count)))
      subsets.append(UniformSample.draw(size, of: count, using: &random))
    }
    return subsets
  }

  @Test(arguments: 1...40)
  func `every opening of a tree verifies, with the fewest hashes`(count: Int) {
    let tree = RosterTree.tree(Array(Self.members.prefix(count)))
    for indices in subsets(count) {
      let opening = opening(tree, indices)
      #expect(RosterTree.top(of: opening, count: count) == tree.top, "\(indices)")
      if indices.count == count { #expect(opening.hashes.isEmpty) }
      if indices.count == 1 {
        #expect(opening.hashes.count <= Int.bitWidth - (count - 1).leadingZeroBitCount)
      }
    }
  }

  @Test(arguments: 1...40)
  func `every changed byte of a member or hash, and every other form, is rejected`(count: Int) {
    let tree = RosterTree.tree(Array(Self.members.prefix(count)))
    var random = RandomStream(testSeed: UInt64(1_000 + count))
    let size = min(count, 3)
    let honest = opening(tree, UniformSample.draw(size, of: count, using: &random))
    var accepted: [String] = []
    func attempt(_ what: String, _ change: (inout RosterOpening) -> Void) {
      var changed = honest
      change(&changed)
      guard changed != honest else { return }
      if RosterTree.top(of: changed, count: count) == tree.top { accepted.append(what) }
    }
    func flip<Value: FixedBytes>(
      _ what: String, _ path: WritableKeyPath<RosterOpening, Value>, of opening: RosterOpening
    ) {
      for byte in opening[keyPath: path].bytes.indices {
        attempt("\(what), byte \(byte)") { opening in
          var bytes = opening[keyPath: path].bytes
          bytes[byte] ^= UInt8(1 + random.uniform(below: 255))
          opening[keyPath: path] = Value(unchecked: bytes)
        }
      }
    }
    for position in honest.members.indices {
      flip("id \(position)", \.members[position].id, of: honest)
      flip("share key \(position)", \.members[position].shareKey, of: honest)
      flip("mask key \(position)", \.members[position].maskKey, of: honest)
      flip("commitment \(position)", \.members[position].seedCommitment, of: honest)
      flip("signature \(position)", \.members[position].signature, of: honest)
    }
    for position in honest.hashes.indices {
      flip("hash \(position)", \.hashes[position], of: honest)
      attempt("without hash \(position)") { $0.hashes.remove(at: position) }
      attempt("hash \(position) twice") { $0.hashes.insert($0.hashes[position], at: position) }
    }
    attempt("an extra hash") { $0.hashes.append(tree.top) }
    attempt("no members") { $0 = .empty }
    attempt("a member too few") { $0.members.removeLast() }
    attempt("a member too many") { $0.members.append($0.members[0]) }
    if honest.members.count > 1 { attempt("members in another order") { $0.members.swapAt(0, 1) } }
    #expect(accepted.isEmpty, "\(accepted.prefix(3))")
  }

  /// An inner node presented as a leaf, or a smaller tree of inner nodes, has another domain.
  @Test func `the number of members and the list of identities are part of the root`() {
    let sid = Hash.blake2b([1])
    var roots: Set<Digest> = []
    for count in 1...40 {
      roots.insert(Roster.root(of: Array(Self.members.prefix(count)), sid: sid))
      roots.insert(
        Roster.root(
          ids: Self.members.prefix(count).map(\.id), top: RosterTree.tree(Self.members).top, sid: sid))
    }
    // The two coincide for all forty members only.
    #expect(roots.count == 79)
    #expect(!roots.contains(Roster.root(of: Self.members, sid: Hash.blake2b([2]))))
  }
}
