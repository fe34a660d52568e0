import CSodium
import Crypto

/// Hash functions. BLAKE2b (libsodium) for everything of Accord's own; SHA-256 (swift-crypto, with the
/// processor's instructions) only where RFC 6962 and C2SP ask for it.
package enum Hash {
  /// BLAKE2b-256, optionally keyed.
  package static func blake2b(_ bytes: [UInt8], key: SecretBytes? = nil) -> Digest {
    Sodium.ready()
    var output = [UInt8](repeating: 0, count: 32)
    if let key {
      key.withBytes { key in
        _ = crypto_generichash(
          &output, 32, bytes, UInt64(bytes.count),
          key.baseAddress!.assumingMemoryBound(to: UInt8.self), key.count)
      }
    } else {
      _ = crypto_generichash(&output, 32, bytes, UInt64(bytes.count), nil, 0)
    }
    return Digest(unchecked: output)
  }

  /// BLAKE2b-256 over a domain name and parts, each preceded by its 64-bit little-endian length, so that
  /// no two different lists of parts hash the same bytes.
  package static func blake2b(domain: String, _ parts: [[UInt8]], key: SecretBytes? = nil) -> Digest {
    blake2b(framed(domain: domain, parts), key: key)
  }

  /// A keyed derivation of a secret: BLAKE2b-256 of the framed parts under `key`.
  package static func derive(domain: String, _ parts: [[UInt8]], key: SecretBytes) -> SecretBytes {
    Sodium.ready()
    let message = framed(domain: domain, parts)
    return SecretBytes(count: 32) { output in
      key.withBytes { key in
        _ = crypto_generichash(
          output.baseAddress!.assumingMemoryBound(to: UInt8.self), 32, message, UInt64(message.count),
          key.baseAddress!.assumingMemoryBound(to: UInt8.self), key.count)
      }
    }
  }

  /// The framing of `blake2b(domain:_:)`, also what signatures are made over.
  package static func framed(domain: String, _ parts: [[UInt8]]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(parts.reduce(8 + domain.utf8.count) { $0 + 8 + $1.count })
    for part in [Array(domain.utf8)] + parts {
      withUnsafeBytes(of: UInt64(part.count).littleEndian) { bytes.append(contentsOf: $0) }
      bytes.append(contentsOf: part)
    }
    return bytes
  }

  /// SHA-256.
  package static func sha256(_ bytes: [UInt8]) -> Digest {
    Digest(unchecked: Array(SHA256.hash(data: bytes)))
  }

  /// SHA-256 of one prefix byte and up to two parts, without concatenating them (RFC 6962, 2.1).
  package static func sha256(prefix: UInt8, _ first: [UInt8], _ second: [UInt8] = []) -> Digest {
    var hasher = SHA256()
    withUnsafeBytes(of: prefix) { hasher.update(bufferPointer: $0) }
    first.withUnsafeBytes { hasher.update(bufferPointer: $0) }
    second.withUnsafeBytes { hasher.update(bufferPointer: $0) }
    return Digest(unchecked: Array(hasher.finalize()))
  }

  /// Hashes `count` pairs of neighbouring 32-byte nodes of a buffer to their parents, SHA-256(0x01 ‖ left ‖
  /// right) (RFC 6962, 2.1): the pairs begin at byte `source`, the parents are written from byte `target` on.
  /// The parents may overwrite the pairs (`target` <= `source`); otherwise the two must not overlap.
  package static func sha256Nodes(
    _ nodes: inout [UInt8], from source: Int, count: Int, to target: Int
  ) {
    precondition(
      source >= 0 && target >= 0 && count >= 0 && source + 64 * count <= nodes.count
        && target + 32 * count <= nodes.count, "the nodes are outside the buffer")
    precondition(
      target <= source || target >= source + 64 * count, "parents would overwrite pairs not yet hashed")
    nodes.withUnsafeMutableBytes { nodes in
      for index in 0..<count {
        let start = source + 64 * index
        // Copying the state after the prefix byte costs less than hashing that byte anew.
        var hasher = nodePrefix
        hasher.update(bufferPointer: UnsafeRawBufferPointer(rebasing: nodes[start..<(start + 64)]))
        let parent = UnsafeMutableRawBufferPointer(rebasing: nodes[(target + 32 * index)...])
        hasher.finalize().withUnsafeBytes { parent.copyMemory(from: $0) }
      }
    }
  }

  /// SHA-256 after the byte 0x01.
  private static let nodePrefix = {
    var hasher = SHA256()
    withUnsafeBytes(of: UInt8(1)) { hasher.update(bufferPointer: $0) }
    return hasher
  }()
}

/// BLAKE2b-256 over bytes that arrive in pieces. One thread at a time; not copyable by value.
package final class StreamingHash {
  private let state: UnsafeMutableRawPointer
  private var opaque: OpaquePointer { OpaquePointer(state) }

  /// Starts a hash bound to a domain name.
  package init(domain: String) {
    Sodium.ready()
    // libsodium asks for 64-byte alignment of this state.
    state = .allocate(byteCount: crypto_generichash_statebytes(), alignment: 64)
    _ = crypto_generichash_init(OpaquePointer(state), nil, 0, 32)
    update(Hash.framed(domain: domain, []))
  }

  deinit {
    sodium_memzero(state, crypto_generichash_statebytes())
    state.deallocate()
  }

  /// Adds bytes.
  package func update(_ bytes: [UInt8]) {
    _ = crypto_generichash_update(opaque, bytes, UInt64(bytes.count))
  }

  /// Adds bytes without a copy.
  package func update(_ bytes: UnsafeRawBufferPointer) {
    guard let base = bytes.baseAddress else { return }
    _ = crypto_generichash_update(opaque, base.assumingMemoryBound(to: UInt8.self), UInt64(bytes.count))
  }

  /// The digest of all bytes so far. Call once.
  package func finalize() -> Digest {
    var output = [UInt8](repeating: 0, count: 32)
    _ = crypto_generichash_final(opaque, &output, 32)
    return Digest(unchecked: output)
  }
}
