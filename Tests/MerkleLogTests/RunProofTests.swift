import Cryptography
import MerkleLog
import Testing

struct RunProofTests {
  private static let tree = SampleTree(67)

  private func hashes(_ range: ClosedRange<Int>) -> [UInt8] {
    Self.tree.leaves[range].flatMap(\.bytes)
  }

  private func proof(_ range: ClosedRange<Int>, of size: Int) throws -> RunProof {
    RunProof(
      first: try InclusionProof(index: UInt64(range.lowerBound), size: UInt64(size), node: Self.tree.node),
      last: try InclusionProof(index: UInt64(range.upperBound), size: UInt64(size), node: Self.tree.node))
  }

  @Test func `every run of every small tree leads to its root`() throws {
    var wrong: [String] = []
    for size in 1...Self.tree.leaves.count {
      for low in 0..<size {
        for high in low..<size {
          let root = try proof(low...high, of: size).root(leafHashes: hashes(low...high))
          if root != Self.tree.roots[size] { wrong.append("\(low)...\(high) of \(size)") }
        }
      }
    }
    #expect(wrong.isEmpty)
  }

  @Test func `a changed leaf or a changed hash of a path is refused`() throws {
    var accepted: [String] = []
    for size in [1, 2, 3, 5, 8, 21, 64, 67] {
      for (low, high) in [(0, size - 1), (size / 3, size / 2), (size / 2, size / 2), (size - 1, size - 1)] {
        let good = try proof(low...high, of: size)
        let leaves = hashes(low...high)
        for byte in stride(from: 0, to: leaves.count, by: 17) {
          var changed = leaves
          changed[byte] ^= 4
          if good.root(leafHashes: changed) == Self.tree.roots[size] { accepted.append("leaf of \(size)") }
        }
        for (isFirst, path) in [(true, good.first.path), (false, good.last.path)] {
          for place in path.indices {
            var other = path
            other[place] = flipped(other[place], byte: place % 32)
            let bad = InclusionProof(
              index: UInt64(isFirst ? low : high), size: UInt64(size), path: other)
            let run =
              isFirst ? RunProof(first: bad, last: good.last) : RunProof(first: good.first, last: bad)
            // One leaf has one path: the other copy of its siblings is not read where they stand on that side.
            if low < high, run.root(leafHashes: leaves) == Self.tree.roots[size],
              isUsed(isFirst, place, low, high, size)
            {
              accepted.append("path of \(low)...\(high) of \(size)")
            }
          }
        }
      }
    }
    #expect(accepted.isEmpty)
  }

  /// Whether the run reads that hash: a sibling on the outer side, or one that follows from the leaves.
  private func isUsed(_ isFirst: Bool, _ place: Int, _ low: Int, _ high: Int, _ size: Int) -> Bool {
    var (low, high, end, step) = (low, high, size - 1, -1)
    while end > 0 {
      let own = isFirst ? low : high
      if own & 1 == 1 || own < end { step += 1 }
      if step == place { return low < high || (isFirst ? own & 1 == 1 : own & 1 == 0) }
      (low, high, end) = (low >> 1, high >> 1, end >> 1)
    }
    return true
  }

  @Test func `positions, counts and path lengths that do not fit are refused`() throws {
    let good = try proof(5...9, of: 21)
    #expect(good.root(leafHashes: hashes(5...10)) == nil)
    #expect(good.root(leafHashes: []) == nil)
    let shorter = InclusionProof(index: 9, size: 21, path: Array(good.last.path.dropLast()))
    #expect(RunProof(first: good.first, last: shorter).root(leafHashes: hashes(5...9)) == nil)
    let longer = InclusionProof(index: 5, size: 21, path: good.first.path + [good.first.path[0]])
    #expect(RunProof(first: longer, last: good.last).root(leafHashes: hashes(5...9)) == nil)
    #expect(RunProof(first: good.last, last: good.first).root(leafHashes: hashes(5...9)) == nil)
    let other = InclusionProof(index: 9, size: 22, path: good.last.path)
    #expect(RunProof(first: good.first, last: other).root(leafHashes: hashes(5...9)) == nil)
  }
}
