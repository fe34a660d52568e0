/// SCAFFOLD (Karimireddy et al., *SCAFFOLD: Stochastic Controlled Averaging for Federated Learning*, ICML 2020,
/// algorithm 1 with option II): every contributor i keeps a control variate cᵢ, its estimate of its own
/// gradient, the server keeps their mean c, and a local step is y ← y − η (gᵢ(y) − cᵢ + c). Local steps then
/// follow the gradient of everybody's objective, so that many of them no longer lead to the contributor's own
/// optimum.
///
/// **One vector instead of two.** In the paper a contributor that took Kᵢ steps from x to yᵢ sends yᵢ − x and
/// cᵢ⁺ − cᵢ with cᵢ⁺ = cᵢ − c + (x − yᵢ) / (Kᵢ η). Accord's vector is the displacement at its own average pace,
/// scaled to T public steps (`LocalSettings.normalise`): uᵢ = (yᵢ − x) T / Kᵢ. So (x − yᵢ) / (Kᵢ η) = −uᵢ / (T η), and
///
///     cᵢ⁺ − cᵢ = −c − uᵢ / (T η)
///
/// is a function of the vector that is sent anyway and of c, which everybody knows. The server's step with S of
/// N contributors,
///
///     c⁺ = c + |S| / N · mean(cᵢ⁺ − cᵢ) = c + |S| / N · (−c − mean(uᵢ) / (T η)),
///
/// follows from the mean update alone. There is no second vector to clip, to mask and to noise: c is a function of
/// released sums, and costs no privacy. |S| / N is the public share of the nodes that a round asks.
///
/// **Clipping.** Both sides take the clipped vector. With s uᵢ sent (0 < s ≤ 1) the contributor's step becomes
/// cᵢ⁺ = (1 − s)(cᵢ − c) + s · (its mean gradient): the same fixed point, approached more slowly, and without
/// noise c stays the mean of all cᵢ. Towards the optimum displacements vanish and nothing is clipped any more.
/// With noise, c follows the noised mean.
///
/// cᵢ depends on the contributor's records and must never leave it. Rounds are those of linear models and
/// networks.
package final class ControlVariates: @unchecked Sendable {
  // `server` changes between rounds alone. A contributor's variates belong to its node, and a round trains a node
  // on one thread.

  /// One thread's memory.
  package final class Bench {
    fileprivate let correction: UnsafeMutablePointer<Float>

    fileprivate init(count: Int) { correction = VectorKernels.allocate(count) }

    deinit { correction.deallocate() }
  }

  /// The server's variate.
  package private(set) var server: [Float]
  private let settings: LocalSettings
  /// cᵢ of a node's contributors, one after the other; nil before the node's first round, when all are 0.
  private let nodes: UnsafeMutableBufferPointer<UnsafeMutableBufferPointer<Float>?>
  private let shared: UnsafeMutableBufferPointer<Float>

  /// Variates that are all 0.
  ///
  /// - Parameter settings: of local descent with `controlVariates` that passed `validate`.
  package init(settings: LocalSettings, parameterCount: Int, nodeCount: Int) {
    precondition(settings.controlVariates == true && settings.normalise != nil, "settings of SCAFFOLD")
    self.settings = settings
    server = .init(repeating: 0, count: parameterCount)
    nodes = .allocate(capacity: nodeCount)
    nodes.initialize(repeating: nil)
    shared = .allocate(capacity: parameterCount)
    shared.initialize(repeating: 0)
  }

  deinit {
    for case let own? in nodes { own.deallocate() }
    nodes.deallocate()
    shared.deallocate()
  }

  /// What one thread needs.
  package func makeBench() -> Bench { Bench(count: server.count) }

  /// Trains a node's contributors with corrected steps and moves their variates on.
  ///
  /// - Parameters:
  ///   - worker: of the settings that the variates were made for.
  ///   - bench: this thread's.
  ///   - body: gets the contributor's position and its update, which it clips in place: what is left is what the
  ///     server counts on.
  package func train(
    node: Int, worker: LocalWorker, bench: Bench, parameters: UnsafeBufferPointer<Float>,
    batch: TrainingBatch, seed: UInt64, body: (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) throws {
    let (length, common, correction) = (shared.count, shared.baseAddress!, bench.correction)
    let own = variates(of: node, contributors: batch.contributorCount).baseAddress!
    let pace = -1 / (Float(settings.normalise ?? 1) * settings.learningRate)
    try worker.forEachContribution(
      parameters: parameters, batch: batch, contributors: 0..<batch.contributorCount, seed: seed,
      correction: { contributor in
        VectorKernels.subtract(own + contributor * length, common, count: length, into: correction)
        return UnsafePointer(correction)
      },
      body: { contributor, update in
        try body(contributor, update)
        // An update that is not finite counts as zeros in the sum.
        let isFinite = VectorKernels.squaredNorm(update.baseAddress!, count: length).isFinite
        let variate = own + contributor * length
        for index in 0..<length {
          variate[index] = correction[index] + (isFinite ? pace * update[index] : 0)
        }
      })
  }

  /// Moves the server's variate on by the mean update of a round.
  ///
  /// - Parameter share: the part of all nodes that the round asked, 0 to 1.
  package func follow(mean: [Float], share: Double) {
    precondition(mean.count == server.count, "variates are as long as the parameters")
    let pace = 1 / (Double(settings.normalise ?? 1) * Double(settings.learningRate))
    for index in server.indices {
      let value = Double(server[index])
      server[index] = Float(value + share * (-value - Double(mean[index]) * pace))
      shared[index] = server[index]
    }
  }

  /// cᵢ of one contributor, for tests.
  func variate(node: Int, contributor: Int) -> [Float] {
    guard let own = nodes[node] else { return .init(repeating: 0, count: server.count) }
    return Array(own[contributor * server.count..<(contributor + 1) * server.count])
  }

  private func variates(of node: Int, contributors: Int) -> UnsafeMutableBufferPointer<Float> {
    if let own = nodes[node] {
      precondition(own.count == contributors * server.count, "a node keeps its contributors")
      return own
    }
    let made = UnsafeMutableBufferPointer<Float>.allocate(capacity: contributors * server.count)
    made.initialize(repeating: 0)
    nodes[node] = made
    return made
  }
}
