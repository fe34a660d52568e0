import Cryptography
import Foundation

@testable import SecureAggregation

/// Vectors of the building blocks, without any party.
enum VectorsPrimitives {
  // MARK: Shamir

  static func shamir() throws -> JSON {
    var random = RandomStream(testSeed: 201)
    func scalars(_ count: Int) -> [Scalar] { (0..<count).map { _ in Scalar(using: &random) } }
    let largest = Scalar(0) - Scalar(1)
    let cases: [(String, [Scalar], xs: [Int], recover: [[Int]])] = [
      ("3 + 5x", [Scalar(3), Scalar(5)], [1, 2, 3], [[1, 2], [3, 1]]),
      ("threshold 1: every share is the secret", scalars(1), [1, 2, 7], [[7]]),
      ("the largest coefficients", [largest, largest, largest], [1, 2, 3, 4], [[1, 2, 3], [4, 2, 1]]),
      ("t = 7 of 10", scalars(7), Array(1...10), [[1, 2, 3, 4, 5, 6, 7], [10, 8, 6, 4, 2, 1, 3]]),
      (
        "sparse x-coordinates up to 2^20", scalars(4), [5, 77, 1_000, 65_536, 1_048_576],
        [[5, 77, 1_000, 1_048_576], [1_048_576, 65_536, 77, 5]]
      ),
    ]
    return [
      "comment":
        "f(x) = Σ coefficient_i·x^i modulo l; the secret is f(0), a share f(x). Scalars little endian",
      "format": "accord/secagg/1/shamir",
      "order": "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
      "cases": .list(cases.map { shamir($0, coefficients: $1, xs: $2, recover: $3) }),
    ]
  }

  private static func shamir(
    _ comment: String, coefficients: [Scalar], xs: [Int], recover: [[Int]]
  ) -> JSON {
    func share(_ x: Int) -> Scalar { Shamir.evaluate(coefficients, at: Scalar(UInt64(x))) }
    return [
      "comment": .text(comment), "threshold": .int(coefficients.count),
      "coefficients": .list(coefficients.map { .hex($0) }),
      "shares": .list(xs.map { ["x": .int($0), "share": .hex(share($0))] }),
      "recoveries": .list(
        recover.map {
          ["xs": .ints($0), "secret": .hex(LagrangeWeights(xs: $0).secret(of: $0.map(share)))]
        }),
    ]
  }

  // MARK: Key streams

  static func keyStreams() throws -> JSON {
    let seed = SecretBytes(copying: Hash.blake2b(Array("accord key-stream vector".utf8)).bytes)
    let streams = try KeyStreamSuite.allCases.flatMap { suite in
      try [UInt32(0), 1, 70_000].map { chunk -> JSON in
        let stream = try KeyStream(seed: seed, suite: suite)
        var bytes = [UInt8](repeating: 0, count: KeyStream.chunkBytes)
        bytes.withUnsafeMutableBytes { stream.writeChunk(chunk, into: $0) }
        return [
          "suite": .text(suite.rawValue), "chunk": .int(chunk), "first": .hex(bytes.prefix(32)),
          "last": .hex(bytes.suffix(32)), "blake2b_256": .hex(Hash.blake2b(bytes)),
        ]
      }
    }
    // Dimensions that end shortly behind the first chunk.
    let masks = try KeyStreamSuite.allCases.flatMap { suite in
      try [(16, 32_771), (20, 16_387), (24, 16_386), (32, 16_385)].map { width, dimension -> JSON in
        var words = [UInt32](repeating: 0, count: dimension)
        let stream = try KeyStream(seed: seed, suite: suite)
        MaskKernel.apply([Mask(stream: stream, isAdded: true)], to: &words, ringBits: width)
        return [
          "suite": .text(suite.rawValue), "ring_bits": .int(width), "dimension": .int(dimension),
          "first": .ints(Array(words.prefix(3))), "last": .ints(Array(words.suffix(4))),
          "blake2b_256_of_packed": .hex(Hash.blake2b(RingKernel.pack(words, ringBits: width))),
        ]
      }
    }
    return [
      "comment": "Full chunks of 65536 bytes, and masks: their words in the ring, across the chunk's end",
      "format": "accord/secagg/1/key-streams", "seed": .hex(seed), "chunks": .list(streams),
      "masks": .list(masks),
    ]
  }

  // MARK: Hashing

  static func hashing() throws -> JSON {
    let lists: [(String, [[UInt8]])] = [
      ("accord/secagg/1/vectors", []), ("accord/secagg/1/vectors", [[]]),
      ("accord/secagg/1/vectors", [[1, 2, 3], [], [0]]),
      ("accord/secagg/1/vectors", [[1, 2], [3], [0]]), ("", [Array(repeating: 255, count: 300)]),
    ]
    let key = SecretBytes(copying: Array(0..<32))
    let framings = lists.map { domain, parts -> JSON in
      let stream = StreamingHash(domain: domain)
      for part in parts { stream.update(part) }
      return [
        "domain": .text(domain), "parts": .list(parts.map { .hex($0) }),
        "framed": .hex(Hash.framed(domain: domain, parts)),
        "hash": .hex(Hash.blake2b(domain: domain, parts)),
        "keyed_hash": .hex(Hash.blake2b(domain: domain, parts, key: key)),
        "streaming": .hex(stream.finalize()),
      ]
    }
    let indices = [[], [0], [0, 1, 2], [5, 70_000]].map { list -> JSON in
      ["indices": .ints(list), "digest": .hex(Canonical.digest(indices: list))]
    }
    return [
      "comment": "Framing, hashes of lists of roster indices, and roster trees with openings",
      "format": "accord/secagg/1/hashing", "key": .hex(key), "framings": .list(framings),
      "indices": .list(indices), "sid": .hex(sid),
      "input_digests": [
        "comment": "Of that many bytes; byte i is i mod 251", "list": .list(inputDigests()),
      ],
      "groups": ["comment": "Of the members below", "list": .list(try groups())],
      "members": [
        "comment":
          "Field f of member i is H(accord/secagg/1/vectors; f, num(i)), its signature that of 'r', 's'",
        "trees": .list(trees()),
      ],
    ]
  }

  private static let sid = Hash.blake2b(Array("accord hashing vector".utf8))

  private static func member(_ index: Int) -> Advertisement {
    func field(_ name: String) -> [UInt8] {
      Hash.blake2b(domain: "accord/secagg/1/vectors", [Array(name.utf8), Canonical.number(index)]).bytes
    }
    return Advertisement(
      id: VerifyingKey(unchecked: field("id")), shareKey: AgreementPublicKey(unchecked: field("C")),
      maskKey: AgreementPublicKey(unchecked: field("U")), seedCommitment: Digest(unchecked: field("B")),
      signature: Signature(unchecked: field("r") + field("s")))
  }

  private static func inputDigests() -> [JSON] {
    [1, 65_535, 65_536, 65_537, 200_000].map { count in
      let bytes = (0..<count).map { UInt8($0 % 251) }
      return ["count": .int(count), "digest": .hex(InputDigest.digest(of: bytes))]
    }
  }

  private static func groups() throws -> [JSON] {
    try [1, 3, 7].map { count in
      let plan = try GroupPlan(sessionID: sid, groups: count)
      return [
        "groups": .int(count), "group_of_member": .ints((0..<12).map { plan.group(of: member($0).id) }),
        "sids": .list((0..<count).map { .hex(plan.sessionID(ofGroup: $0)) }),
      ]
    }
  }

  private static func trees() -> [JSON] {
    let openings: [(Int, [[Int]])] = [
      (1, [[0]]), (2, [[0], [1], [0, 1]]), (3, [[2], [0, 2], [1, 2]]), (5, [[4], [0, 3], [1, 2, 4]]),
      (7, [[6], [0, 6], [2, 3, 5], [0, 1, 2, 3, 4, 5, 6]]), (8, [[0], [3, 4], [7]]),
      (13, [[12], [0, 5, 12], [1, 2, 3, 8]]),
    ]
    return openings.map { count, lists in
      let members = (0..<count).map(member)
      let tree = RosterTree.tree(members)
      return [
        "count": .int(count), "leaves": .list(members.map { .hex(VectorRound.leaf($0)) }),
        "top": .hex(tree.top), "root": .hex(Roster.root(of: members, sid: sid)),
        "openings": .list(
          lists.map { ["indices": .ints($0), "hashes": .list(tree.hashes(proving: $0).map { .hex($0) })] }),
      ]
    }
  }

  // MARK: Ring

  static func ring() throws -> JSON {
    var random = RandomStream(testSeed: 202)
    let packings = try RingWidth.all.flatMap { width in
      try [1, 2, 3, 4, 7].map { dimension -> JSON in
        var words = (0..<dimension).map { _ in UInt32(random.uniform(below: 1 << UInt64(width))) }
        words[0] = RingWidth.mask(width)
        let vector = try RingVector(words: words, ringBits: width)
        return [
          "ring_bits": .int(width), "words": .ints(words), "centred": .ints(vector.centred),
          "packed": .hex(vector.packed),
        ]
      }
    }
    let refused: [JSON] = [
      ["ring_bits": 20, "dimension": 1, "packed": "ffff8f", "error": "nonZeroPadding"],
      ["ring_bits": 20, "dimension": 3, "packed": "0000000000000010", "error": "nonZeroPadding"],
      ["ring_bits": 16, "dimension": 2, "packed": "000000", "error": "wrongInputLength"],
      ["ring_bits": 24, "dimension": 1, "packed": "00000000", "error": "wrongInputLength"],
    ]
    return [
      "comment": "b-bit values in a stream of bits: bit k is bit k mod 8 of byte k/8; unused bits are zero",
      "format": "accord/secagg/1/ring", "packings": .list(packings), "refused": .list(refused),
    ]
  }

  // MARK: Parameters

  static func graphParameters() throws -> JSON {
    let sparse: [(Int, Int, Int, Int, GraphParameters.Adversary)] = [
      (200, 100, 100, 300, .server), (500, 100, 100, 300, .server), (1_000, 100, 100, 300, .server),
      (1_000, 50, 100, 300, .server), (1_000, 100, 200, 300, .server), (2_000, 100, 100, 300, .server),
      (5_000, 100, 100, 300, .server), (10_000, 100, 100, 300, .server), (10_000, 50, 50, 300, .server),
      (200, 100, 100, 300, .semiMalicious), (1_000, 100, 100, 300, .semiMalicious),
      (10_000, 100, 100, 300, .semiMalicious), (12, 100, 100, 300, .server),
      (1_000, 400, 100, 300, .server), (1_000, 333, 333, 300, .server),
    ]
    let samples = [
      (9, 7, 12), (700, 551, 1_000), (950, 551, 1_000), (7_000, 5_501, 10_000), (9_000, 5_501, 10_000),
      (5_501, 5_501, 10_000), (100, 100, 180), (5, 4, 6),
    ]
    return [
      "comment": "Fractions in thousandths. log2 of the failures of the whole cohort; null: impossible",
      "format": "accord/secagg/1/graph-parameters",
      "sparse": .list(
        sparse.map { n, gamma, delta, chosen, adversary in
          let asked: JSON = [
            "cohort": .int(n), "corrupt_permille": .int(gamma), "dropout_permille": .int(delta),
            "chosen_dropout_permille": .int(chosen), "adversary": .text(adversary.rawValue),
          ]
          do {
            return asked
              + json(
                try GraphParameters.search(
                  cohort: n, corruptPermille: gamma, dropoutPermille: delta, chosenDropoutPermille: chosen,
                  adversary: adversary))
          } catch {
            return asked + ["error": .text(Mirror(reflecting: error).children.first?.label ?? "")]
          }
        }),
      "checked": .list(try checked()),
      "complete": .list(
        try [2, 3, 10, 50, 200].map { n in
          let found = try GraphParameters.complete(cohort: n, corruptPermille: 100, dropoutPermille: 100)
          return [
            "cohort": .int(n), "corrupt_permille": 100, "shares_needed": .int(found.threshold),
            "quorum": .int(found.quorum),
          ]
        }),
      "quorum_samples": .list(
        samples.map { claimed, quorum, n in
          [
            "claimed": .int(claimed), "quorum": .int(quorum), "cohort": .int(n),
            "sample": .int(QuorumSample.size(claimed: claimed, quorum: quorum, cohort: n)),
          ]
        }),
    ]
  }

  /// What a node decides that is told degree and threshold.
  private static func checked() throws -> [JSON] {
    let graphs = [
      (1_000, 60, 36), (1_000, 60, 2), (1_000, 60, 21), (1_000, 60, 50), (1_000, 20, 12), (1_000, 80, 36),
      (200, 36, 21), (200, 30, 21), (10_000, 116, 79), (10_000, 116, 40), (12, 6, 4),
    ]
    return try graphs.map { n, degree, threshold in
      let found = try GraphParameters.evaluate(
        cohort: n, degree: degree, threshold: threshold, corruptPermille: 100, dropoutPermille: 0)
      return [
        "cohort": .int(n), "degree": .int(degree), "shares_needed": .int(threshold), "corrupt_permille": 100,
        "chosen_dropout_permille": 300, "protects": found.protectsPrivacy ? 1 : 0,
      ]
    }
  }

  private static func json(_ found: GraphParameters) -> JSON {
    func log2(_ value: Double) -> JSON { value.isFinite ? .number(String(format: "%.3f", value)) : .null }
    return [
      "degree": .int(found.degree), "shares_needed": .int(found.threshold),
      "in_degree_cap": .int(found.inDegreeCap), "quorum": .int(found.quorum),
      "survivor_floor": .int(found.survivorFloor), "isolatable": .int(found.isolatable),
      "log2_privacy": log2(found.log2PrivacyFailure),
      "log2_correctness": log2(found.log2CorrectnessFailure),
      "log2_separation": log2(found.log2SeparationFailure),
    ]
  }
}
