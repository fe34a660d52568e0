/// The hash that turns category names into buckets, so that no vocabulary ever leaves a node.
///
/// It is FNV-1a, 64 bits, over the UTF-8 of the name (offset basis 0xcbf29ce484222325, prime 0x100000001b3;
/// draft-eastlake-fnv), and the bucket is its value modulo `buckets`. Part of the protocol: every node,
/// whatever its version, must compute the same. Two names that share a bucket are one category.
package enum CategoryHash {
  /// The number of buckets of every categorical column.
  package static let buckets = 64

  /// FNV-1a, 64 bits, of the UTF-8 of `text`.
  package static func fnv1a(_ text: String) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    return hash
  }

  /// The bucket of `text`, 0 ..< `buckets`.
  package static func bucket(of text: String) -> Int { Int(fnv1a(text) % UInt64(buckets)) }
}
