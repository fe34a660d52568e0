import CSodium

/// Constants of libsodium's secret streams (XChaCha20-Poly1305, chunked): a long upload is encrypted,
/// sent and opened piece by piece, in order, and its end is authenticated.
package enum SecretStream {
  /// Length of the header that starts a stream.
  package static let headerBytes = 24
  /// How many bytes longer an encrypted chunk is.
  package static let overhead = 17
  static let tagMessage: UInt8 = 0
  static let tagFinal: UInt8 = 3
}

/// The sending end of a secret stream.
package struct SecretStreamWriter {
  private var state: crypto_secretstream_xchacha20poly1305_state
  /// The header to send first.
  package let header: [UInt8]

  /// Starts a stream under a 32-byte key that is used for nothing else.
  package init(key: SecretBytes) {
    Sodium.ready()
    precondition(key.count == 32, "a stream's key has 32 bytes")
    var header = [UInt8](repeating: 0, count: SecretStream.headerBytes)
    var state = crypto_secretstream_xchacha20poly1305_state()
    key.withBytes { key in
      _ = crypto_secretstream_xchacha20poly1305_init_push(
        &state, &header, key.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    self.state = state
    self.header = header
  }

  /// Encrypts the next chunk; `isLast` marks the end of the stream.
  package mutating func push(_ chunk: [UInt8], isLast: Bool) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: chunk.count + SecretStream.overhead)
    _ = crypto_secretstream_xchacha20poly1305_push(
      &state, &output, nil, chunk, UInt64(chunk.count), nil, 0,
      isLast ? SecretStream.tagFinal : SecretStream.tagMessage)
    return output
  }
}

/// The receiving end of a secret stream.
package struct SecretStreamReader {
  private var state = crypto_secretstream_xchacha20poly1305_state()
  /// True once the chunk that ends the stream was read: more bytes are an error.
  package private(set) var isFinished = false

  /// Starts from the header and the key.
  package init(header: [UInt8], key: SecretBytes) throws(CryptographyError) {
    Sodium.ready()
    guard header.count == SecretStream.headerBytes else {
      throw .wrongLength(what: "stream header", expected: SecretStream.headerBytes, actual: header.count)
    }
    let status = key.withBytes { key in
      crypto_secretstream_xchacha20poly1305_init_pull(
        &state, header, key.baseAddress!.assumingMemoryBound(to: UInt8.self))
    }
    guard status == 0 else { throw .authenticationFailed(what: "a stream header") }
  }

  /// Opens the next chunk.
  package mutating func pull(_ chunk: [UInt8]) throws(CryptographyError) -> [UInt8] {
    guard !isFinished, chunk.count >= SecretStream.overhead else {
      throw .authenticationFailed(what: "a stream chunk")
    }
    var output = [UInt8](repeating: 0, count: chunk.count - SecretStream.overhead)
    var tag: UInt8 = 0
    let status = crypto_secretstream_xchacha20poly1305_pull(
      &state, &output, nil, &tag, chunk, UInt64(chunk.count), nil, 0)
    guard status == 0 else { throw .authenticationFailed(what: "a stream chunk") }
    isFinished = tag == SecretStream.tagFinal
    return output
  }
}
