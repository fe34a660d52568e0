import CZlib

/// Decompression of gzip (RFC 1952) with zlib.
enum Gzip {
  /// True if the bytes begin with gzip's magic number.
  static func isGzip(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x1F, 0x8B]) }

  /// The content of all members, at most `limit` bytes. Bytes after the last member are an error; `path` is
  /// for error sentences.
  static func inflate(_ bytes: [UInt8], limit: Int, path: String) throws(TableError) -> [UInt8] {
    var stream = z_stream()
    // 16 asks zlib for the gzip wrapper with its checksum.
    let size = Int32(MemoryLayout<z_stream>.size)
    guard inflateInit2_(&stream, MAX_WBITS + 16, ZLIB_VERSION, size) == Z_OK else {
      throw .unreadable(path: path)
    }
    defer { inflateEnd(&stream) }
    var input = bytes
    return try input.withUnsafeMutableBufferPointer { input throws(TableError) in
      stream.next_in = input.baseAddress
      stream.avail_in = UInt32(clamping: input.count)
      return try run(&stream, inputBytes: input.count, limit: limit, path: path)
    }
  }

  /// Runs a stream whose input is set to its end.
  private static func run(
    _ stream: inout z_stream, inputBytes: Int, limit: Int, path: String
  ) throws(TableError) -> [UInt8] {
    var output: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 1 << 18)
    while true {
      let (status, written) = piece.withUnsafeMutableBufferPointer { piece in
        stream.next_out = piece.baseAddress
        stream.avail_out = UInt32(piece.count)
        let status = CZlib.inflate(&stream, Z_NO_FLUSH)
        return (status, piece.count - Int(stream.avail_out))
      }
      guard output.count + written <= limit else { throw .tooLarge(path: path, limit: limit) }
      output += piece[..<written]
      switch status {
      case Z_STREAM_END:
        guard stream.avail_in > 0 else { return output }
        // Another member may follow; anything else fails at its header.
        guard inflateReset(&stream) == Z_OK else { throw .unreadable(path: path) }
      case Z_OK where stream.avail_in > 0 || stream.avail_out == 0:
        continue
      case Z_OK, Z_BUF_ERROR:
        throw .gzipEndsTooEarly(path: path, bytes: inputBytes)
      default:
        throw .gzipCorrupt(path: path, offset: inputBytes - Int(stream.avail_in))
      }
    }
  }
}
