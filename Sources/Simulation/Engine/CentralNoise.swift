import Cryptography
import Foundation

/// Gaussian noise of a simulated trusted server: the same for a seed whatever the number of threads.
///
/// Normal numbers in double precision (Marsaglia's polar method), added to a sum of real numbers. For simulations only:
/// what is deployed adds integer noise (`DistributedMechanism`).
struct CentralNoise: Sendable {
  /// Coordinates that one thread draws at a time.
  private static let chunk = 2_048
  private let key: [UInt8]

  init(seed: UInt64) { key = withUnsafeBytes(of: seed.littleEndian) { Array($0) } }

  /// Fills `noise` with independent normal numbers of standard deviation `deviation` for a round.
  func fill(_ noise: NoiseBuffer, deviation: Double, round: Int, pool: WorkerPool) throws {
    let count = noise.count
    let chunks = (count + Self.chunk - 1) / Self.chunk
    try pool.run(chunks) { _, chunks in
      for chunk in chunks {
        let range = chunk * Self.chunk..<min((chunk + 1) * Self.chunk, count)
        fill(UnsafeMutableBufferPointer(rebasing: noise.values[range]), deviation, round, chunk)
      }
    }
  }

  private func fill(
    _ values: UnsafeMutableBufferPointer<Double>, _ deviation: Double, _ round: Int, _ chunk: Int
  ) {
    let place = withUnsafeBytes(of: (UInt64(round).littleEndian, UInt64(chunk).littleEndian)) { Array($0) }
    let digest = Hash.blake2b(domain: "accord simulation central noise", [key, place])
    var stream = RandomStream(seed: SecretBytes(copying: digest.bytes))
    // A pair takes 1.27 attempts on average, two words each.
    var words = [UInt64](repeating: 0, count: min(values.count + values.count / 2 + 16, 1_024))
    var used = words.count
    func symmetric() -> Double {
      if used == words.count {
        words.withUnsafeMutableBytes { stream.fill($0) }
        used = 0
      }
      used += 1
      return Double(Int64(truncatingIfNeeded: UInt64(littleEndian: words[used - 1])) >> 11) * 0x1p-52
    }
    for index in stride(from: 0, to: values.count, by: 2) {
      var (x, y, square) = (0.0, 0.0, 0.0)
      repeat {
        x = symmetric()
        y = symmetric()
        square = x * x + y * y
      } while square >= 1 || square == 0
      let factor = deviation * (-2 * log(square) / square).squareRoot()
      values[index] = x * factor
      if index + 1 < values.count { values[index + 1] = y * factor }
    }
  }
}

/// Memory for a round's noise.
final class NoiseBuffer: @unchecked Sendable {
  // Threads write to disjoint ranges; the caller reads when all have returned.
  let values: UnsafeMutableBufferPointer<Double>
  var count: Int { values.count }

  init(count: Int) {
    values = .allocate(capacity: count)
    values.initialize(repeating: 0)
  }

  deinit { values.deallocate() }
}
