import Cryptography
import Foundation
import MerkleLog
import Testing

/// A small log with its keys.
struct SampleLog {
  static func key(_ seed: UInt64) -> SigningKey {
    var random = RandomStream(testSeed: seed)
    return SigningKey(using: &random)
  }
  let logKey = key(1)
  let freshnessKey = key(2)
  let leaves: [[UInt8]]
  let tree: TileTree
  let verifiers: CheckpointVerifiers

  init(_ count: Int) throws {
    leaves = (0..<count).map { Array("leaf \($0)".utf8) }
    var tree = TileTree()
    for leaf in leaves { tree.append(leafHash: MerkleTree.leafHash(leaf)) }
    self.tree = tree
    verifiers = try CheckpointVerifiers(
      origin: "accord.test/log", logKey: logKey.verifyingKey, freshnessKey: freshnessKey.verifyingKey)
  }

  func signed(_ timestampSeconds: UInt64 = 1_790_000_000) throws -> SignedCheckpoint {
    try SignedCheckpoint.sign(
      Checkpoint(origin: verifiers.origin, size: tree.size, root: tree.root),
      timestampSeconds: timestampSeconds, logKey: logKey, freshnessKey: freshnessKey)
  }

  /// Of a log of at most 255 leaves.
  func receipt(_ index: UInt64) throws -> TransparencyProof {
    let tile = tree.partialTiles()[0]
    let proof = InclusionProof(index: index, size: tree.size, tile: { (_: TilePosition) in tile })
    return TransparencyProof(
      extra: leaves[Int(index)], index: index, path: proof.path, checkpointNote: try signed().noteText)
  }
}

struct TransparencyProofTests {
  @Test func `a receipt comes back and verifies without the log`() throws {
    let log = try SampleLog(11)
    for index in UInt64(0)..<11 {
      let receipt = try log.receipt(index)
      let read = try TransparencyProof(parsing: receipt.encoded)
      #expect(read == receipt && read.encoded == receipt.encoded)
      let leaf = MerkleTree.leafHash(try #require(read.extra))
      #expect(try read.verify(leafHash: leaf, verifiers: log.verifiers).checkpoint.size == 11)
    }
    let text = try log.receipt(3).encoded
    #expect(text.hasPrefix("c2sp.org/tlog-proof@v1\nextra bGVhZiAz\nindex 3\n"))
    #expect(text.contains("\n\naccord.test/log\n11\n"))
  }

  @Test func `a tree of one leaf and a proof without extra data`() throws {
    let log = try SampleLog(1)
    let receipt = try log.receipt(0)
    let bare = TransparencyProof(extra: nil, index: 0, path: [], checkpointNote: receipt.checkpointNote)
    #expect(bare.encoded.hasPrefix("c2sp.org/tlog-proof@v1\nindex 0\n\naccord.test/log\n1\n"))
    #expect(try TransparencyProof(parsing: bare.encoded) == bare)
    try bare.verify(leafHash: log.tree.root, verifiers: log.verifiers)
  }

  @Test func `no changed byte of a receipt is accepted`() throws {
    let log = try SampleLog(11)
    let bytes = Array(try log.receipt(6).encoded.utf8)
    func accepts(_ bytes: some Collection<UInt8>) -> Bool {
      guard let read = try? TransparencyProof(parsing: String(decoding: bytes, as: UTF8.self)),
        let extra = read.extra
      else { return false }
      return (try? read.verify(leafHash: MerkleTree.leafHash(extra), verifiers: log.verifiers)) != nil
    }
    #expect(accepts(bytes))
    var accepted: [Int] = []
    for index in bytes.indices {
      for bit in [UInt8(1), 4, 0x20, 0x80] {
        var changed = bytes
        changed[index] ^= bit
        if accepts(changed) { accepted.append(index) }
      }
      if accepts(bytes[..<index]) { accepted.append(index) }
      var longer = bytes
      longer.insert(10, at: index)
      if accepts(longer) { accepted.append(index) }
    }
    #expect(accepted == [])
  }

  @Test func `refuses what is no proof`() throws {
    let log = try SampleLog(11)
    let good = try log.receipt(6).encoded
    let hash = String(good.split(separator: "\n")[3])
    func changed(_ old: String, _ new: String) -> String {
      let parts = good.components(separatedBy: old)
      return parts[0] + new + parts.dropFirst().joined(separator: old)
    }
    let bad = [
      "", "\n", "c2sp.org/tlog-proof@v1\n", changed("@v1", "@v2"), " " + good, good + "\n", "\n" + good,
      changed("extra ", "Extra "), changed("extra ", "extra  "), changed("extra bGVhZiA2", "extra "),
      changed("extra bGVhZiA2", "extra bGVhZiA"),
      changed("extra bGVhZiA2\n", "extra bGVhZiA2\nextra bGVhZiA2\n"),
      changed("index 6", "index 06"), changed("index 6", "index +6"), changed("index 6", "index -6"),
      changed("index 6", "index"), changed("index 6", "index 6 "),
      changed("index 6", "index 281474976710656"),
      changed("index 6", "index 99999999999999999999"), changed("index 6\n", ""), changed("\n", "\r\n"),
      changed("extra bGVhZiA2\nindex 6\n", "index 6\nextra bGVhZiA2\n"),
      changed(hash, String(hash.dropLast())), changed(hash, "AAAA"), changed(hash, hash + " "),
      changed(hash, Array(repeating: hash, count: 60).joined(separator: "\n")),
      changed("\n\naccord", "\naccord"), changed("\n\naccord", "\n\n\naccord"),
      changed("\n\naccord", "\n\n" + String(repeating: "a", count: 200_000)),
    ]
    for text in bad { #expect(throws: MerkleLogError.self) { try TransparencyProof(parsing: text) } }
  }

  @Test func `another leaf, index, path or log does not verify`() throws {
    let log = try SampleLog(11)
    let receipt = try log.receipt(6)
    let leaf = MerkleTree.leafHash(log.leaves[6])
    func refuses(_ index: UInt64, _ path: [Digest], _ leaf: Digest) {
      let proof = TransparencyProof(
        extra: nil, index: index, path: path, checkpointNote: receipt.checkpointNote)
      #expect(throws: MerkleLogError.wrongProof("inclusion")) {
        try proof.verify(leafHash: leaf, verifiers: log.verifiers)
      }
    }
    try receipt.verify(leafHash: leaf, verifiers: log.verifiers)
    refuses(6, receipt.path, MerkleTree.leafHash(log.leaves[5]))
    refuses(7, receipt.path, leaf)
    refuses(11, receipt.path, leaf)
    refuses(6, Array(receipt.path.dropLast()), leaf)
    refuses(6, receipt.path + [leaf], leaf)
    let other = try CheckpointVerifiers(
      origin: "accord.test/log", logKey: SampleLog.key(8).verifyingKey,
      freshnessKey: log.freshnessKey.verifyingKey)
    #expect(throws: MerkleLogError.missingSignature(by: "accord.test/log")) {
      try receipt.verify(leafHash: leaf, verifiers: other)
    }
  }
}

private func base64(_ bytes: [UInt8]) -> String { Data(bytes).base64EncodedString() }

struct WitnessTests {
  private static let origin = "accord.test/log"
  private let keys = (10..<14).map { SampleLog.key($0) }

  private func note(_ log: SampleLog) throws -> SignedNote { try SignedNote(parsing: log.signed().noteText) }

  @Test func `a witness cosigns under its name and its time is read back`() throws {
    let log = try SampleLog(5)
    var note = try note(log)
    let line = try note.cosign(asWitness: keys[0], timestampSeconds: 1_790_000_007)
    let key = keys[0].verifyingKey
    let name = Witness.name(origin: Self.origin, key: key)
    #expect(name == "accord.test/log/witness/" + key.hex.prefix(16) && line.name == name)
    #expect(try Witness.verifier(origin: Self.origin, key: key).algorithm == .cosignatureV1)
    #expect(note.encoded.hasSuffix(line.encoded))
    let read = try SignedNote(parsing: note.encoded)
    #expect(try read.cosignatureTime(ofWitness: key) == 1_790_000_007)
    #expect(try read.cosignatureTime(ofWitness: keys[1].verifyingKey) == nil)
    let signed = try SignedCheckpoint.verify(note.encoded, log.verifiers)
    #expect(signed.checkpoint == (try log.signed().checkpoint) && signed.noteText == note.encoded)
    #expect(signed.timestampSeconds == 1_790_000_000)
  }

  @Test func `a line can be sent alone and added once`() throws {
    let log = try SampleLog(5)
    var here = try note(log)
    var there = here
    let line = try there.cosign(asWitness: keys[0], timestampSeconds: 9)
    let read = try SignedNote.SignatureLine(parsing: line.encoded)
    #expect(try read == line && SignedNote.SignatureLine(parsing: String(line.encoded.dropLast())) == line)
    try here.add(read)
    try here.add(read)
    #expect(here == there)
    for bad in [
      "", "\n", "— a", "- a AAAAAAAA\n", "— a AAAAAAAA\n\n", "— a AAAAAAAA\n— b AAAAAAAA\n", "— a  AAAAAAAA",
    ] {
      #expect(throws: MerkleLogError.self) { try SignedNote.SignatureLine(parsing: bad) }
    }
    for _ in here.signatures.count..<SignedNote.maximumSignatures {
      try here.cosign(asWitness: SampleLog.key(UInt64(here.signatures.count + 50)), timestampSeconds: 1)
    }
    #expect(throws: MerkleLogError.malformedNote("it has too many signatures")) {
      try here.cosign(asWitness: keys[1], timestampSeconds: 1)
    }
    #expect(throws: MerkleLogError.malformedNote("it has too many signatures")) {
      try here.sign(name: "a.test", key: keys[1])
    }
    #expect(try SignedNote(parsing: here.encoded) == here)
  }

  @Test func `a changed or transplanted cosignature is an error`() throws {
    let (log, other) = (try SampleLog(5), try SampleLog(6))
    var note = try note(log)
    let line = try note.cosign(asWitness: keys[0], timestampSeconds: 9)
    let key = keys[0].verifyingKey
    let name = Witness.name(origin: Self.origin, key: key)
    var otherNote = try self.note(other)
    try otherNote.add(line)
    #expect(throws: MerkleLogError.wrongSignature(by: name)) { try otherNote.cosignatureTime(ofWitness: key) }
    let plain = try self.note(log)
    for byte in line.signature.indices {
      var changed = plain
      var signature = line.signature
      signature[byte] ^= 1
      let text = "— \(name) \(base64(line.keyID + signature))\n"
      try changed.add(SignedNote.SignatureLine(parsing: text))
      #expect(throws: MerkleLogError.wrongSignature(by: name)) { try changed.cosignatureTime(ofWitness: key) }
    }
    var text = try SignedNote(text: "no checkpoint\n")
    #expect(throws: MerkleLogError.self) { try text.cosign(asWitness: keys[0], timestampSeconds: 9) }
    #expect(throws: MerkleLogError.self) { try text.cosignatureTime(ofWitness: key) }
  }

  @Test func `cosignatures of several notes come together, the newest of each witness`() throws {
    let log = try SampleLog(5)
    let plain = try note(log)
    var (a, b, c) = (plain, plain, plain)
    try a.cosign(asWitness: keys[0], timestampSeconds: 100)
    try b.cosign(asWitness: keys[1], timestampSeconds: 200)
    try b.cosign(asWitness: keys[0], timestampSeconds: 300)
    try c.cosign(asWitness: keys[2], timestampSeconds: 50)
    try c.cosign(name: "stranger.test", key: keys[3], timestampSeconds: 50)
    let witnesses = keys.map(\.verifyingKey)
    for order in [[a, b, c], [c, b, a], [b, a, c, a]] {
      let merged = try plain.merging(order, witnesses: witnesses)
      #expect(merged == (try plain.merging([a, b, c], witnesses: witnesses)))
      #expect(merged.signatures.count == 5 && merged.signatures[..<2] == plain.signatures[...])
      #expect(
        try witnesses.map { try merged.cosignatureTime(ofWitness: $0) } == [300, 200, 50, nil])
      #expect(try SignedCheckpoint.verify(merged.encoded, log.verifiers).checkpoint.size == 5)
    }
    #expect(
      try c.merging([a], witnesses: [keys[0].verifyingKey]).signatures.contains { $0.name == "stranger.test" }
    )
    #expect(throws: MerkleLogError.otherCheckpoint) {
      try plain.merging([a, note(SampleLog(6))], witnesses: witnesses)
    }
  }

  @Test func `nobody crowds out a witness`() throws {
    let log = try SampleLog(5)
    let plain = try note(log)
    var good = plain
    let line = try good.cosign(asWitness: keys[0], timestampSeconds: 100)
    // The same name and key id, a later time, and no signature.
    var forged = plain
    let bytes = line.keyID + [0, 0, 0, 0, 255, 0, 0, 0] + line.signature.dropFirst(8)
    try forged.add(SignedNote.SignatureLine(parsing: "— \(line.name) \(base64(bytes))"))
    let witnesses = [keys[0].verifyingKey]
    for (first, others) in [(forged, [good]), (plain, [forged, good]), (good, [forged])] {
      let merged = try first.merging(others, witnesses: witnesses)
      #expect(try merged.cosignatureTime(ofWitness: keys[0].verifyingKey) == 100)
      #expect(merged.signatures.count == 3)
    }
    // Of more witnesses than a note has room for, the newest stay.
    let many = (0..<40).map { SampleLog.key(UInt64($0 + 100)) }
    let notes = try many.enumerated().map { place, key in
      var note = plain
      try note.cosign(asWitness: key, timestampSeconds: UInt64(1000 + place))
      return note
    }
    let merged = try plain.merging(notes, witnesses: many.map(\.verifyingKey))
    #expect(merged.signatures.count == SignedNote.maximumSignatures)
    #expect(try merged.cosignatureTime(ofWitness: many[39].verifyingKey) == 1039)
    #expect(try merged.cosignatureTime(ofWitness: many[9].verifyingKey) == nil)
    #expect(try SignedCheckpoint.verify(merged.encoded, log.verifiers).checkpoint.root == log.tree.root)
  }
}
