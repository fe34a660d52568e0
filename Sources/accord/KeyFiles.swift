import Cryptography
import Storage

/// Key files outside data directories: an operator's key. Hexadecimal seed, mode 0600.
enum KeyFile {
  /// Draws a key into a new file; an existing file is never overwritten.
  static func create(_ path: String) throws -> SigningKey {
    guard !DurableFile.exists(path) else {
      throw CommandFailure("\(path) exists already; keys are never overwritten, choose another file")
    }
    var random = RandomStream.system()
    let key = SigningKey(using: &random)
    try DurableFile.write(Array((Hex.encode(key.exportSeed()) + "\n").utf8), to: path)
    return key
  }

  /// Reads a key file; files that others can read are refused.
  static func load(_ path: String) throws -> SigningKey {
    let text = try DurableFile.readSecret(path)
    let trimmed = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard trimmed.count == 1, let seed = Hex.decode(String(trimmed[0])), seed.count == 32 else {
      throw CommandFailure("\(path) does not hold a key (64 hexadecimal digits)")
    }
    return try SigningKey(seed: SecretBytes(copying: seed))
  }
}
