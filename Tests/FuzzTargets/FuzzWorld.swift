#if DEBUG
  import Cryptography

  @testable import SecureAggregation

  /// Keys and real messages from which seeds are made; the same in every run.
  enum FuzzWorld {
    /// More than any script has participants, sorted by public key, so that position and roster index agree.
    static let identities: [SigningKey] = {
      var random = RandomStream(testSeed: 1)
      return (0..<8).map { _ in SigningKey(using: &random) }.sorted { $0.verifyingKey < $1.verifyingKey }
    }()
    /// The key of whoever else has to sign: server, operator, log.
    static let authority = key(2)
    static let freshness = key(3)
    static let uploadKey: AgreementKey = {
      var random = RandomStream(testSeed: 4)
      return AgreementKey(using: &random)
    }()

    private static func key(_ seed: UInt64) -> SigningKey {
      var random = RandomStream(testSeed: seed)
      return SigningKey(using: &random)
    }

    static func digest(_ text: String) -> Digest { Hash.blake2b(Array(text.utf8)) }

    /// A session of each graph whose last member drops out before it uploads, with all its messages.
    static func finished(_ graph: NeighbourGraph) throws -> AggregationScript {
      var script = try AggregationScript(graph)
      for step in AggregationScript.Step.allCases {
        try script.honest(step, without: step >= .mask ? [0] : [])
      }
      return script
    }
  }
#endif
