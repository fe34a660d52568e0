#if DEBUG
  import Cryptography
  import Federation
  import Foundation
  import Learning
  import MerkleLog
  import Privacy

  /// JSON that people write or peers send, and proofs.
  extension FuzzTargets {
    static let texts: [FuzzTarget] = [task, trust, privacyEvent, merkleProof]

    private static func sampleTask(
      _ architecture: ModelArchitecture, _ algorithm: LocalAlgorithm, _ optimizer: ServerOptimizer.Kind
    ) throws -> TaskSpecification {
      TaskSpecification(
        id: "task-1", purpose: "recommendations",
        schema: try FeatureSchema(columns: [
          FeatureColumn(name: "visits", kind: .numeric), FeatureColumn(name: "channel", kind: .categorical),
        ]),
        architecture: architecture, algorithm: algorithm, optimizer: optimizer, rounds: 4, clipNorm: 2,
        quantileBins: 4, evaluationBins: 8, statisticsShare: 0.1, finalEvaluationShare: 0.4,
        trainingBudget: PrivacyBudget(epsilon: 8, delta: 1e-5),
        evaluationBudget: PrivacyBudget(epsilon: .infinity, delta: 1e-5), minimumCohort: 3,
        minimumSurvivors: 3)
    }

    private static func sampleStatistics() throws -> FederationTask {
      let budget = PrivacyBudget(epsilon: 8, delta: 1e-5)
      return .statistics(
        StatisticsSpecification(
          id: "task-2", purpose: "recommendations",
          schema: try FeatureSchema(columns: [
            FeatureColumn(name: "visits", kind: .numeric), FeatureColumn(name: "channel", kind: .categorical),
          ]),
          questions: [
            StatisticsQuestion(name: "n", ask: .count, weight: 2, recordsPerContributor: 3),
            StatisticsQuestion(name: "b", column: "visits", ask: .bins(edges: [0, 1, 2])),
            StatisticsQuestion(name: "m", column: "visits", ask: .mean(lower: 0, upper: 9, resolution: 64)),
            StatisticsQuestion(
              name: "q", column: "visits",
              ask: .quantiles(lower: 0, upper: 9, bins: 9, probabilities: [0.5])),
            StatisticsQuestion(name: "h", column: "channel", ask: .histogram(categories: ["a", "b"])),
            StatisticsQuestion(
              name: "f", column: "channel",
              ask: .heavyHitters(keyBytes: 4, bitsPerRound: 4, maximumPrefixes: 8)),
          ], budget: budget, populationBudget: budget, minimumCohort: 3, minimumSurvivors: 3))
    }

    private static let task = FuzzTarget("task-specification", maximumLength: 8_192) {
      [
        try sampleTask(.logisticRegression, .fedSGD, .sgd(learningRate: 1)).canonicalBytes(),
        try sampleTask(.multiLayerPerceptron(hidden: [8, 4]), .fedSGD, .sgd(learningRate: 0.5))
          .canonicalBytes(),
        try sampleStatistics().canonicalBytes(),
      ]
    } run: { bytes in
      try checkRoundTrip(
        bytes, isCanonical: false, refusal: FederationError.self,
        decode: { try FederationTask.decode($0) }, encode: { try $0.canonicalBytes() })
    }

    private static let trust = FuzzTarget("trust-bundle") {
      let key = FuzzWorld.authority.verifyingKey
      return [
        try TrustBundle(
          federation: "accord.test/consent", url: "https://localhost:8443",
          certificate: "-----BEGIN CERTIFICATE-----\n", serverKey: key, operatorKey: key, logKey: key,
          freshnessKey: FuzzWorld.freshness.verifyingKey
        ).encode()
      ]
    } run: { bytes in
      try checkRoundTrip(
        bytes, isCanonical: false, refusal: FederationError.self,
        decode: { try TrustBundle.decode($0, source: "trust.json") }, encode: { try $0.encode() })
    }

    /// Events as they stand in budgets, and what the accountant makes of them.
    private static let privacyEvent = FuzzTarget("privacy-event", maximumLength: 1_024) {
      let mechanisms: [PrivacyMechanism] = [
        .gaussian(noiseMultiplier: 1.1), .none, .unsupported(name: "laplace"),
        .skellam(
          variance: 12.5, sensitivityL2Squared: 1_263_656, sensitivityL1: 1_151_103.5, dimension: 1 << 20,
          samplerErrorLog2: -.infinity),
      ]
      return try mechanisms.flatMap { mechanism in
        try [PrivacySampling.none, .poisson(rate: 0.01)].map { sampling in
          Array(
            try JSONEncoder().encode(PrivacyEvent(mechanism: mechanism, sampling: sampling, count: 3)))
        }
      }
    } run: { bytes in
      func decode(_ bytes: [UInt8]) throws -> PrivacyEvent {
        try JSONDecoder().decode(PrivacyEvent.self, from: Data(bytes))
      }
      try checkRoundTrip(
        bytes, isCanonical: false, refusal: DecodingError.self, decode: decode,
        encode: { Array(try JSONEncoder().encode($0)) })
      guard let event = try? decode(bytes) else { return }
      let spent = try attempt(PrivacyError.self) {
        var accountant = RenyiAccountant()
        try accountant.compose(event)
        return try accountant.epsilon(delta: 1e-5)
      }
      if let spent { try expect(spent.epsilon >= 0, "an event costs \(spent.epsilon)") }
    }

    // MARK: Merkle proofs

    /// A log of some leaves with all its complete nodes.
    private struct Tree: Sendable {
      struct MissingNode: Error {}
      var leaves: [Digest] = []
      var roots = [MerkleTree.emptyRoot]
      private var nodes: [NodePosition: Digest] = [:]

      init(_ count: Int) {
        var range = CompactRange()
        for index in 0..<count {
          let leaf = MerkleTree.leafHash([UInt8(index)])
          range.append(leafHash: leaf) { nodes[$0] = $1 }
          leaves.append(leaf)
          roots.append(range.root)
        }
      }

      func node(_ position: NodePosition) throws(MissingNode) -> Digest {
        guard let node = nodes[position] else { throw MissingNode() }
        return node
      }
    }

    private static let tree = Tree(40)

    /// Kind of proof, its two numbers (small or any), how many of its nodes are changed, dropped or added.
    private static let merkleProof = FuzzTarget("merkle-proof", maximumLength: 256) {
      [[0, 0, 11, 23], [1, 0, 8, 33], [0, 0, 11, 23, 1, 2], [1, 0, 7, 33, 2], [2, 5, 1, 2]]
    } run: { bytes in
      var script = ScriptReader(bytes)
      let kind = script.number(below: 3)
      let isAny = script.number(below: 2) == 1
      var (first, second) = (script.number(below: 41), script.number(below: 41))
      if first > second { swap(&first, &second) }
      let change = script.number(below: 4)
      func changed(_ path: [Digest]) -> [Digest] {
        var path = path
        let at = script.number(below: path.count)
        switch change {
        case 1 where !path.isEmpty:
          path[at] = Digest(unchecked: path[at].bytes.map { $0 ^ UInt8(1 + Int(script.byte()) % 255) })
        case 2 where !path.isEmpty: path.remove(at: at)
        case 3: path.insert(FuzzWorld.digest("stranger"), at: at)
        default: break
        }
        return path
      }
      switch kind {
      case 0 where first < second:
        let truth = try InclusionProof(index: UInt64(first), size: UInt64(second)) {
          position throws(Tree.MissingNode) in try tree.node(position)
        }
        let proof = InclusionProof(
          index: isAny ? script.word() : truth.index, size: isAny ? script.word() : truth.size,
          path: changed(truth.path))
        let isAccepted =
          try attempt(MerkleLogError.self) {
            try proof.verify(leafHash: tree.leaves[first], root: tree.roots[second])
          } != nil
        if !isAny { try expect(isAccepted == (proof == truth), "inclusion, accepted: \(isAccepted)") }
      case 1:
        let truth = try ConsistencyProof(oldSize: UInt64(first), newSize: UInt64(second)) {
          position throws(Tree.MissingNode) in try tree.node(position)
        }
        let proof = ConsistencyProof(
          oldSize: isAny ? script.word() : truth.oldSize, newSize: isAny ? script.word() : truth.newSize,
          path: changed(truth.path))
        let isAccepted =
          try attempt(MerkleLogError.self) {
            try proof.verify(oldRoot: tree.roots[first], newRoot: tree.roots[second])
          } != nil
        if !isAny { try expect(isAccepted == (proof == truth), "consistency, accepted: \(isAccepted)") }
      default:
        let size = script.word()
        var range = try attempt(MerkleLogError.self) {
          try CompactRange(size: size, edge: Array(tree.leaves.prefix(first)))
        }
        if size < .max { range?.append(leafHash: tree.leaves[0]) }
        _ = range?.root
      }
    }
  }
#endif
