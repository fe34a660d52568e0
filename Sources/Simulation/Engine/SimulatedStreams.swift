package import Cryptography

/// The random streams of a federated simulation: every draw of a run follows from the seed. Who shares the seed
/// knows the noise, so these are for simulations and tests alone; a deployed node draws from its system.
package struct SimulatedStreams: Sendable {
  /// The seed of the run.
  package let seed: UInt64

  package init(seed: UInt64) { self.seed = seed }

  /// What a node draws from in one session, in the order of a deployed node: its contributors and the rounding
  /// of their updates first, then what `NodeRound` is started with (`fork`).
  package func node(_ node: Int, session: UInt64) -> RandomStream {
    stream("node", session, UInt64(node))
  }

  /// The noise of a session that is drawn at once.
  package func noise(session: UInt64) -> RandomStream { stream("noise", session, 0) }

  /// Who drops out of a session.
  package func dropouts(session: UInt64) -> RandomStream { stream("drop-outs", session, 0) }

  /// A node's long-term identity.
  package func identity(_ node: Int) -> RandomStream { stream("identity", 0, UInt64(node)) }

  /// The server's keys.
  package var server: RandomStream { stream("server", 0, 0) }

  private func stream(_ purpose: String, _ session: UInt64, _ node: UInt64) -> RandomStream {
    let numbers = [seed, session, node].map { number in
      withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }
    let digest = Hash.blake2b(domain: "accord/simulation/1", [Array(purpose.utf8)] + numbers)
    return RandomStream(seed: SecretBytes(copying: digest.bytes))
  }
}
