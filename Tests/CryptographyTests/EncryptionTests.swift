import Cryptography
import Testing

struct EncryptionTests {
  private let key = SecretBytes(copying: Array(0..<32))
  private let message = Array("the quick brown fox".utf8)

  /// Every way to damage a ciphertext that the tests try: each bit-flipped byte, cut, extended.
  private func damaged(_ bytes: [UInt8]) -> [[UInt8]] {
    bytes.indices.map { index in
      var changed = bytes
      changed[index] ^= 1 << UInt8(index % 8)
      return changed
    } + (0..<bytes.count).map { Array(bytes.prefix($0)) } + [bytes + [0], []]
  }

  @Test func `AEAD opens what it sealed and nothing else`() throws {
    var random = RandomStream(testSeed: 1)
    let sealed = AEAD.seal(message, key: key, additionalData: [7], using: &random)
    #expect(sealed.count == message.count + AEAD.overhead)
    #expect(try AEAD.open(sealed, key: key, additionalData: [7]) == message)
    for changed in damaged(sealed) {
      #expect(throws: CryptographyError.authenticationFailed(what: "a ciphertext")) {
        try AEAD.open(changed, key: key, additionalData: [7])
      }
    }
    for data in [[], [8], [7, 7]] as [[UInt8]] {
      #expect(throws: CryptographyError.self) { try AEAD.open(sealed, key: key, additionalData: data) }
    }
    #expect(throws: CryptographyError.self) {
      try AEAD.open(sealed, key: SecretBytes(count: 32) { _ in }, additionalData: [7])
    }
    #expect(AEAD.seal(message, key: key, additionalData: [7], using: &random) != sealed)
    let empty = AEAD.seal([], key: key, additionalData: [], using: &random)
    #expect(try AEAD.open(empty, key: key, additionalData: []).isEmpty)
  }

  @Test func `a sealed box opens for its recipient and only unchanged`() throws {
    var random = RandomStream(testSeed: 2)
    let recipient = AgreementKey(using: &random)
    let sealed = try SealedBox.seal(message, to: recipient.publicKey)
    #expect(sealed.count == message.count + SealedBox.overhead)
    #expect(try recipient.open(sealed: sealed) == message)
    for changed in damaged(sealed) {
      #expect(throws: CryptographyError.authenticationFailed(what: "a sealed box")) {
        try recipient.open(sealed: changed)
      }
    }
    let other = AgreementKey(using: &random)
    #expect(throws: CryptographyError.self) { try other.open(sealed: sealed) }
  }

  @Test func `a sealed box is not sealed to a point of small order`() {
    let zero = AgreementPublicKey(unchecked: [UInt8](repeating: 0, count: 32))
    #expect(throws: CryptographyError.unusableKey(what: "X25519 public key")) {
      try SealedBox.seal(message, to: zero)
    }
  }

  private func stream() -> (header: [UInt8], chunks: [[UInt8]]) {
    var writer = SecretStreamWriter(key: key)
    let chunks = [
      writer.push([1, 2, 3], isLast: false), writer.push([], isLast: false), writer.push([4], isLast: true),
    ]
    return (writer.header, chunks)
  }

  @Test func `a secret stream opens chunk by chunk and knows its end`() throws {
    let (header, chunks) = stream()
    #expect(header.count == SecretStream.headerBytes)
    var reader = try SecretStreamReader(header: header, key: key)
    #expect(chunks[0].count == 3 + SecretStream.overhead)
    #expect(try reader.pull(chunks[0]) == [1, 2, 3])
    #expect(try reader.pull(chunks[1]).isEmpty)
    #expect(!reader.isFinished)
    #expect(try reader.pull(chunks[2]) == [4])
    #expect(reader.isFinished)
    #expect(throws: CryptographyError.self) { try reader.pull(chunks[0]) }
  }

  @Test func `a secret stream refuses changed, dropped, repeated and reordered chunks`() throws {
    let (header, chunks) = stream()
    for changed in damaged(chunks[0]) {
      var reader = try SecretStreamReader(header: header, key: key)
      #expect(throws: CryptographyError.authenticationFailed(what: "a stream chunk")) {
        try reader.pull(changed)
      }
    }
    for order in [[1], [2], [0, 0], [0, 2]] {
      var reader = try SecretStreamReader(header: header, key: key)
      for index in order.dropLast() { _ = try reader.pull(chunks[index]) }
      #expect(throws: CryptographyError.self) { try reader.pull(chunks[order[order.count - 1]]) }
    }
    #expect(throws: CryptographyError.wrongLength(what: "stream header", expected: 24, actual: 23)) {
      try SecretStreamReader(header: Array(header.dropLast()), key: key)
    }
    var wrong = try SecretStreamReader(header: header, key: SecretBytes(count: 32) { _ in })
    #expect(throws: CryptographyError.self) { try wrong.pull(chunks[0]) }
  }

  @Test func `the key stream is ChaCha20 with the chunk number as nonce`() {
    // RFC 8439, appendix A.1, test vector 1: key, nonce and counter zero.
    let stream = KeyStream(seed: SecretBytes(count: 32) { _ in })
    func chunk(_ index: UInt32, count: Int) -> [UInt8] {
      var bytes = [UInt8](repeating: 0xAA, count: count)
      bytes.withUnsafeMutableBytes { stream.writeChunk(index, into: $0) }
      return bytes
    }
    #expect(
      Hex.encode(chunk(0, count: 64))
        == "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        + "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586")
    #expect(chunk(1, count: 64) != chunk(0, count: 64))
    #expect(chunk(3, count: KeyStream.chunkBytes).prefix(100) == chunk(3, count: 100)[...])
    #expect(chunk(0, count: 0).isEmpty)
  }
}
