import Cryptography
import Foundation
import MerkleLog
import Testing

private struct NoteVectors: Decodable {
  struct Note: Decodable {
    let signer: String
    let verifier: String
  }
  struct Cosignature: Decodable {
    let body: String
    let time: UInt64
    let verifier: String
    let signature: String
  }
  let note: Note
  let cosignature: Cosignature
}

private let logKey = { () -> SigningKey in
  var random = RandomStream(testSeed: 1)
  return SigningKey(using: &random)
}()
private let freshnessKey = { () -> SigningKey in
  var random = RandomStream(testSeed: 2)
  return SigningKey(using: &random)
}()

private func sample() throws -> (SignedCheckpoint, CheckpointVerifiers) {
  let checkpoint = Checkpoint(origin: "accord.test/log", size: 42, root: Hash.sha256([1]))
  return (
    try SignedCheckpoint.sign(
      checkpoint, timestampSeconds: 1_790_000_000, logKey: logKey, freshnessKey: freshnessKey),
    try CheckpointVerifiers(
      origin: checkpoint.origin, logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
  )
}

@Suite(.enabled(if: Vectors.exists("signed-note.json"), "signed-note.json is not here"))
struct NoteVectorTests {
  @Test func `signs like golang.org/x/mod/sumdb/note`() throws {
    let vectors = try Vectors.load("signed-note.json", as: NoteVectors.self)
    let verifier = try NoteVerifier(text: vectors.note.verifier)
    #expect(verifier.description == vectors.note.verifier)
    let encoded = try #require(vectors.note.signer.split(separator: "+", maxSplits: 4).last)
    let seed = Array(try #require(Data(base64Encoded: String(encoded))).dropFirst())
    let key = try SigningKey(seed: SecretBytes(copying: seed))
    #expect(key.verifyingKey == verifier.key)
    var note = try SignedNote(
      text: "If you think cryptography is the answer to your problem,\n"
        + "then you don't know what your problem is.\n")
    try note.sign(name: verifier.name, key: key)
    #expect(
      note.encoded.hasSuffix(
        "\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6K"
          + "E6RyyBwJnAM=\n"))
    try SignedNote(parsing: note.encoded).verify(verifier)
  }

  @Test func `reads a witness's cosignature`() throws {
    let vectors = try Vectors.load("signed-note.json", as: NoteVectors.self).cosignature
    let verifier = try NoteVerifier(text: vectors.verifier)
    let line = "— \(verifier.name) \(vectors.signature)\n"
    let note = try SignedNote(parsing: vectors.body + "\n" + line)
    #expect(try note.verify(verifier) == vectors.time)
    let checkpoint = try Checkpoint(text: note.text)
    #expect(checkpoint.size == 300 && checkpoint.text == vectors.body)
    let changed = try SignedNote(
      parsing: vectors.body.replacingOccurrences(of: "300", with: "301") + "\n" + line)
    #expect(throws: MerkleLogError.wrongSignature(by: verifier.name)) { try changed.verify(verifier) }
  }
}

@Test func `a checkpoint comes back with its time`() throws {
  let (signed, verifiers) = try sample()
  #expect(try SignedCheckpoint.verify(signed.noteText, verifiers) == signed)
  #expect(signed.timestampSeconds == 1_790_000_000)
}

@Test func `no changed byte of a checkpoint is accepted`() throws {
  let (signed, verifiers) = try sample()
  let bytes = Array(signed.noteText.utf8)
  for index in bytes.indices {
    for bit in [UInt8(1), 4, 0x40] {
      var changed = bytes
      changed[index] ^= bit
      let text = String(decoding: changed, as: UTF8.self)
      #expect(throws: MerkleLogError.self, "byte \(index)") { try SignedCheckpoint.verify(text, verifiers) }
    }
    let cut = String(decoding: bytes[..<index], as: UTF8.self)
    #expect(throws: MerkleLogError.self) { try SignedCheckpoint.verify(cut, verifiers) }
  }
}

@Test func `a checkpoint needs both signatures and the right log`() throws {
  let (signed, verifiers) = try sample()
  var onlyLog = try SignedNote(text: signed.checkpoint.text)
  try onlyLog.sign(name: verifiers.origin, key: logKey)
  #expect(throws: MerkleLogError.missingSignature(by: "accord.test/log/freshness")) {
    try SignedCheckpoint.verify(onlyLog.encoded, verifiers)
  }
  let swapped = try CheckpointVerifiers(
    origin: verifiers.origin, logKey: freshnessKey.verifyingKey, freshnessKey: logKey.verifyingKey)
  #expect(throws: MerkleLogError.missingSignature(by: "accord.test/log")) {
    try SignedCheckpoint.verify(signed.noteText, swapped)
  }
  let elsewhere = try CheckpointVerifiers(
    origin: "other.test/log", logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
  #expect(throws: MerkleLogError.otherLog(expected: "other.test/log", actual: "accord.test/log")) {
    try SignedCheckpoint.verify(signed.noteText, elsewhere)
  }
}

@Test func `signatures of unknown keys are ignored`() throws {
  let (signed, verifiers) = try sample()
  var random = RandomStream(testSeed: 9)
  var note = try SignedNote(parsing: signed.noteText)
  try note.cosign(name: "witness.test", key: SigningKey(using: &random), timestampSeconds: 5)
  #expect(try SignedCheckpoint.verify(note.encoded, verifiers).checkpoint == signed.checkpoint)
}

@Test(arguments: [
  "", "\n", "text\n", "text\n\n", "text\n— a AAAAAAAA\n", "text\n\n— a AAAAAAAA", "text\n\n- a AAAAAAAA\n",
  "text\n\n— a+b AAAAAAAA\n", "text\n\n— a AAAA\n", "text\n\n— a AAAAAAA\n", "text\n\n—  AAAAAAAA\n",
  "te\rxt\n\n— a AAAAAAAA\n", "text\n\n— a AAAAAAAA\n\n", "text\n\n— a AAAAAAAB=\n",
  "text\n\n— a AAAAAAAAAB==\n",
])
func `refuses what is no signed note`(text: String) {
  #expect(throws: MerkleLogError.self) { try SignedNote(parsing: text) }
}

@Test(arguments: [
  "o\n1\nAAAA\n", "o\n01\nROOT\n", "o\n-1\nROOT\n", "o\n+1\nROOT\n", "o\n1\nROOT", "o\n1\nROOT\nextension\n",
  "\n1\nROOT\n", "a b\n1\nROOT\n", "o\n281474976710657\nROOT\n", "o\n99999999999999999999\nROOT\n",
])
func `refuses what is no checkpoint`(text: String) {
  let root = Data([UInt8](repeating: 7, count: 32)).base64EncodedString()
  #expect(throws: MerkleLogError.self) {
    try Checkpoint(text: text.replacingOccurrences(of: "ROOT", with: root))
  }
}

@Test func `refuses verifier keys with a wrong hash, name or algorithm`() throws {
  let good = try NoteVerifier(name: "a.test", algorithm: .ed25519, key: logKey.verifyingKey).description
  #expect(try NoteVerifier(text: good).key == logKey.verifyingKey)
  for bad in [
    good.replacingOccurrences(of: "a.test", with: "b.test"), "a.test", good + "A", "a b+00000000+AA==",
  ] {
    #expect(throws: MerkleLogError.malformedVerifierKey) { try NoteVerifier(text: bad) }
  }
}
