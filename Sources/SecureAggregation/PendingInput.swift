package import Cryptography

/// A masked input on its way in: chunks of any size are appended, nothing takes effect before `finish`
/// and `AggregationCoordinator.accept`. Holds at most the packed bytes of one input; independent of the
/// coordinator, so that uploads can be received in parallel.
package struct PendingInput: Sendable {
  private let parameters: AggregationParameters
  private var bytes: [UInt8] = []
  private var hash = InputDigest()

  /// Starts an empty upload.
  package init(parameters: AggregationParameters) {
    self.parameters = parameters
    bytes.reserveCapacity(parameters.packedByteCount)
  }

  /// The number of bytes received so far.
  package var receivedByteCount: Int { bytes.count }

  /// Adds the next chunk, and hashes what it completes while it is in cache.
  ///
  /// - Throws: `wrongInputLength` as soon as the upload is too long; the chunk is not kept.
  package mutating func append(_ chunk: some Collection<UInt8>) throws(AggregationError) {
    let total = bytes.count + chunk.count
    guard total <= parameters.packedByteCount else {
      throw .wrongInputLength(expected: parameters.packedByteCount, actual: total)
    }
    bytes.append(contentsOf: chunk)
    bytes.withUnsafeBytes { hash.absorb(completeChunksOf: $0) }
  }

  /// Ends the upload.
  ///
  /// - Throws: `wrongInputLength` if it is too short, `nonZeroPadding`.
  package func finish() throws(AggregationError) -> CompleteInput {
    try RingVector.checkPacked(bytes, dimension: parameters.dimension, ringBits: parameters.ringBits)
    return CompleteInput(
      parameters: parameters, packed: bytes, digest: bytes.withUnsafeBytes { hash.digest(of: $0) })
  }
}

/// A masked input of exactly the right length: made by `PendingInput.finish` only.
package struct CompleteInput: Sendable {
  let parameters: AggregationParameters
  let packed: [UInt8]
  /// The digest of the packed bytes, see `InputDigest`.
  package let digest: Digest

  fileprivate init(parameters: AggregationParameters, packed: [UInt8], digest: Digest) {
    self.parameters = parameters
    self.packed = packed
    self.digest = digest
  }
}
