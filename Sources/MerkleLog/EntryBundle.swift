/// The entries below one tile of level 0, each after its length as u16 BE (C2SP tlog-tiles, "Log entries").
package enum EntryBundle {
  /// The longest entry that the format holds, in bytes.
  package static let maximumEntryBytes = 65_535

  /// The bundle of 1 to 256 entries.
  package static func encode(_ entries: [[UInt8]]) throws(MerkleLogError) -> [UInt8] {
    guard 1...TilePosition.fullWidth ~= entries.count else {
      throw .malformedTile("a bundle of \(entries.count) entries instead of 1 to 256")
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(entries.reduce(0) { $0 + 2 + $1.count })
    for (place, entry) in entries.enumerated() {
      guard entry.count <= maximumEntryBytes else {
        throw .malformedTile("entry \(place) of the bundle has \(entry.count) bytes, more than 65,535")
      }
      bytes += [UInt8(entry.count >> 8), UInt8(entry.count & 255)]
      bytes += entry
    }
    return bytes
  }

  /// Reads the bundle of a tile of `width` entries strictly.
  /// - Parameter maximumEntryBytes: Longer entries are refused.
  package static func decode(
    _ bytes: [UInt8], width: Int, maximumEntryBytes: Int = maximumEntryBytes
  ) throws(MerkleLogError) -> [[UInt8]] {
    guard 1...TilePosition.fullWidth ~= width else {
      throw .malformedTile("a bundle of \(width) entries instead of 1 to 256")
    }
    var entries: [[UInt8]] = []
    entries.reserveCapacity(width)
    var start = 0
    for place in 0..<width {
      guard bytes.count - start >= 2 else { throw .malformedTile("the bundle ends before entry \(place)") }
      let count = Int(bytes[start]) << 8 | Int(bytes[start + 1])
      start += 2
      guard count <= maximumEntryBytes else {
        throw .malformedTile(
          "entry \(place) of the bundle has \(count) bytes, more than \(maximumEntryBytes)")
      }
      guard bytes.count - start >= count else {
        throw .malformedTile("the bundle ends within entry \(place)")
      }
      entries.append(Array(bytes[start..<(start + count)]))
      start += count
    }
    guard start == bytes.count else { throw .malformedTile("bytes follow the bundle's last entry") }
    return entries
  }
}
