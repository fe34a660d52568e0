import Foundation
import Testing

@testable import Learning

@Suite struct TreeParametersTests {
  private static func model(splitting: TreeSettings.Splitting = .best) throws -> BoostedTrees {
    try BoostedTrees(
      settings: TreeSettings(
        trees: 3, maximumDepth: 3, learningRate: 0.1, minimumChildWeight: 0.5, columnShare: 1,
        splitting: splitting),
      shape: TreeData.shape)
  }

  /// A tree of the given nodes after the header, as the only one begun or as the first of two.
  private static func parameters(_ nodes: [TreeNode], count: Float? = nil) -> [Float] {
    [1, 2, 1, 0.5, count ?? Float(nodes.count)] + nodes.flatMap(\.numbers)
  }

  @Test func `nodes keep their numbers`() throws {
    var set = BinSet()
    for bin in [0, 3, 4] { set.insert(bin) }
    let all: [TreeNode] = [
      .open, .leaf(-0.25), .ordered(column: 0, last: 6, missingLeft: false),
      .ordered(column: 1, last: 2, missingLeft: true), .unordered(column: 2, left: set),
    ]
    for node in all {
      let read = node.numbers.withUnsafeBufferPointer {
        TreeNode($0, at: 0, shape: TreeData.shape, largestLeaf: 1)
      }
      #expect(read == node && node.numbers.count == TreeNode.width)
    }
    let wide = FeatureShape(bins: [BinnedColumn(count: 72, isOrdered: false, hasMissing: false)])
    var odd = BinSet()
    for bin in stride(from: 1, to: 72, by: 2) { odd.insert(bin) }
    let node = TreeNode.unordered(column: 0, left: odd)
    let read = node.numbers.withUnsafeBufferPointer { TreeNode($0, at: 0, shape: wide, largestLeaf: 1) }
    #expect(read == node && odd.count == 36 && odd.complement.intersection(odd).isEmpty)
  }

  @Test func `accepts a growing tree`() throws {
    let nodes: [TreeNode] = [.ordered(column: 0, last: 2, missingLeft: false), .open, .leaf(0.1)]
    try Self.model().check(parameters: Self.parameters(nodes))
    #expect(try Self.model().contributionLength(parameters: Self.parameters(nodes)) == 2 * 25)
  }

  @Test func `refuses impossible trees`() throws {
    let split = TreeNode.ordered(column: 0, last: 2, missingLeft: false)
    let leaf = TreeNode.leaf(0.1)
    var (none, beyond) = (BinSet(), BinSet())
    beyond.insert(60)
    none.insert(0)
    let deep: [TreeNode] = [split, split, leaf, split, leaf, split, leaf, .leaf(0), .leaf(0)]
    let broken: [(String, [TreeNode])] = [
      ("open nodes below and above", [split, .open, split, .open, .open]),
      ("a split without children", [split]),
      ("half of the children", [split, .open]),
      ("a node without a parent", [.open, leaf]),
      ("a split without a parent", [.open, split, .open, .open]),
      ("a second root behind a leaf", [leaf, .open]),
      ("deeper than allowed", deep),
      ("nothing open before the last tree", [leaf]),
      ("a column that does not exist", [.ordered(column: 5, last: 0, missingLeft: false), .open, .open]),
      ("a threshold behind the last bin", [.ordered(column: 0, last: 7, missingLeft: false), .open, .open]),
      ("everything left", [.ordered(column: 1, last: 4, missingLeft: true), .open, .open]),
      ("a direction for what cannot miss", [.ordered(column: 0, last: 2, missingLeft: true), .open, .open]),
      ("an ordered split of categories", [.ordered(column: 3, last: 0, missingLeft: false), .open, .open]),
      ("a set of an ordered column", [.unordered(column: 0, left: BinSet(below: 9)), .open, .open]),
      ("an empty set", [.unordered(column: 2, left: BinSet()), .open, .open]),
      ("the full set", [.unordered(column: 2, left: BinSet(below: 6)), .open, .open]),
      ("a bin beyond", [.unordered(column: 2, left: beyond), .open, .open]),
      ("a constant column", [.ordered(column: 4, last: 0, missingLeft: false), .open, .open]),
      ("an infinite leaf", [split, .open, .leaf(.infinity)]),
      ("a leaf that is no number", [split, .open, .leaf(.nan)]),
      ("a leaf beyond the limit", [split, .open, .leaf(0.41)]),
    ]
    let model = try Self.model()
    for (what, nodes) in broken {
      let parameters = Self.parameters(nodes)
      #expect(throws: LearningError.self, "\(what)") { try model.check(parameters: parameters) }
      #expect(model.contributionLength(parameters: parameters) == 0)
      #expect(!model.isFinished(parameters: parameters))
    }
    try model.check(parameters: Self.parameters([.unordered(column: 2, left: none), .open, .open]))
    try model.check(parameters: Self.parameters([split, .open, .leaf(0.4)]))
  }

  @Test func `refuses malformed headers and lengths`() throws {
    let model = try Self.model()
    let good = Self.parameters([.open])
    try model.check(parameters: good)
    try model.check(parameters: [0, 0, 0, 0])
    let replaced: [(Int, Float)] = [
      (0, -1), (0, 0.5), (0, 16_777_216), (0, .nan), (1, 1e20), (2, 4), (2, -1), (2, 0), (2, 2), (2, .nan),
      (3, .infinity), (3, 31), (3, .nan), (4, 0), (4, 2), (4, -3), (4, .infinity), (4, 1.5), (4, 3e38),
      (5, -2),
      (6, 1), (8, 0.1),
    ]
    for (index, value) in replaced {
      var parameters = good
      parameters[index] = value
      #expect(throws: LearningError.self, "\(index): \(value)") { try model.check(parameters: parameters) }
    }
    for count in 0..<good.count {
      #expect(throws: LearningError.self) { try model.check(parameters: Array(good[..<count])) }
    }
    #expect(throws: LearningError.self) { try model.check(parameters: good + [0]) }
    // Trees before the last one are closed.
    let two = Self.parameters([.open]) + [1] + TreeNode.open.numbers
    var parameters = two
    parameters[2] = 2
    #expect(throws: LearningError.self) { try model.check(parameters: parameters) }
  }

  @Test(arguments: [TreeSettings.Splitting.best, .random])
  func `whatever passes the check is safe to compute with`(splitting: TreeSettings.Splitting) throws {
    let data = TreeData(seed: 1, contributors: 12, largestCount: 2)
    let (model, batch) = (try Self.model(splitting: splitting), try data.batch)
    let history = try grow(model, batch)
    var generator = SplitMix64(seed: 99)
    func draw(_ count: Int) -> Int { Int(generator.next() % UInt64(count)) }
    let values: [Float] = [
      -1, 0, 1, 2, 3, 4, 5, 6, 7, 0.5, -0.3, .nan, .infinity, -.infinity, 16_777_215, 16_777_216, 1e30, 33,
    ]
    var accepted = 0
    var optimizer = ServerOptimizer(kind: .sgd(learningRate: 1), parameterCount: 1)
    for trial in 0..<3_000 {
      var parameters = history[draw(history.count)]
      for _ in 0...draw(3) { parameters[draw(parameters.count)] = values[draw(values.count)] }
      if trial % 7 == 0 { parameters.removeLast(draw(parameters.count)) }
      if trial % 11 == 0 { parameters += [values[draw(values.count)]] }
      guard (try? model.check(parameters: parameters)) != nil else {
        #expect(throws: LearningError.self) { try contributions(model, parameters, batch) }
        continue
      }
      accepted += 1
      let vectors = try contributions(model, parameters, batch)
      #expect(vectors.allSatisfy { l2($0) <= 1 + 1e-6 })
      let scores = try model.scores(parameters: parameters, features: data.features)
      #expect(scores.allSatisfy { $0.isFinite })
      let sum = total(vectors)
      try model.step(
        mean: sum.map { Float($0 / 12) }, contributors: 12, optimizer: &optimizer, parameters: &parameters)
      try model.check(parameters: parameters)
    }
    #expect(accepted > 100)
  }

  @Test func `refuses impossible settings and shapes`() throws {
    let broken = [
      TreeSettings(objective: .classes(count: 3)), TreeSettings(objective: .huber(delta: 0)),
      TreeSettings(trees: 0), TreeSettings(trees: 4_097), TreeSettings(maximumDepth: 0),
      TreeSettings(maximumDepth: 13), TreeSettings(learningRate: 0), TreeSettings(learningRate: .nan),
      TreeSettings(learningRate: 1.1), TreeSettings(l2: -1), TreeSettings(l2: .infinity),
      TreeSettings(minimumChildWeight: -1), TreeSettings(minimumGain: .nan), TreeSettings(columnShare: 0),
      TreeSettings(columnShare: 2), TreeSettings(gradientLimit: 0), TreeSettings(gradientLimit: .infinity),
    ]
    for settings in broken {
      #expect(throws: LearningError.self) { try BoostedTrees(settings: settings, shape: TreeData.shape) }
    }
    let columns = [
      BinnedColumn(count: 0, isOrdered: true, hasMissing: false),
      BinnedColumn(count: 1, isOrdered: true, hasMissing: true),
      BinnedColumn(count: 257, isOrdered: true, hasMissing: false),
      BinnedColumn(count: 73, isOrdered: false, hasMissing: false),
    ]
    for column in columns {
      #expect(throws: LearningError.self) {
        try BoostedTrees(settings: TreeSettings(), shape: FeatureShape(bins: [column]))
      }
    }
    #expect(throws: LearningError.self) {
      try BoostedTrees(settings: TreeSettings(), shape: FeatureShape(columns: 3))
    }
    #expect(throws: LearningError.self) {
      try BoostedTrees(settings: TreeSettings(), shape: FeatureShape(bins: []))
    }
    let wide = [BinnedColumn](
      repeating: BinnedColumn(count: 256, isOrdered: true, hasMissing: false), count: 512)
    #expect(throws: LearningError.self) {
      try BoostedTrees(settings: TreeSettings(maximumDepth: 12), shape: FeatureShape(bins: wide))
    }
    #expect(throws: LearningError.self) {
      try BoostedTrees(settings: TreeSettings(trees: 4_096, maximumDepth: 12), shape: TreeData.shape)
    }
    let decoded = try JSONDecoder().decode(
      TreeSettings.self, from: JSONEncoder().encode(TreeSettings(trees: 7, splitting: .random)))
    #expect(decoded == TreeSettings(trees: 7, splitting: .random))
  }
}
