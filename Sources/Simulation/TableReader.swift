import Foundation

/// Reads tables and lists of row numbers from files.
package enum TableReader {
  /// The largest table, in bytes after decompression: 1 GiB.
  package static let maximumBytes = 1 << 30
  /// The most columns of a table.
  package static let maximumColumns = 4_096

  /// Reads a CSV file with a header (RFC 4180, UTF-8 with or without byte-order mark, LF or CRLF), plain or
  /// gzip as its first bytes say.
  ///
  /// - Throws: `TableError` with the file, and the record and column where one is to blame.
  package static func read(path: String) throws(TableError) -> Table {
    try read(path: path, columns: nil)
  }

  /// Reads a CSV file, or one of the idx format, plain or gzip. `columns` names the columns of a CSV file that has
  /// no header.
  static func read(path: String, columns: [String]?) throws(TableError) -> Table {
    var bytes = try readContent(path: path)
    if IDXFile.isIDX(bytes) { return try IDXFile.table(bytes, path: path) }
    if let columns {
      let header = columns.map { "\"" + $0.replacingOccurrences(of: "\"", with: "\"\"") + "\"" }
      bytes = Array((header.joined(separator: ",") + "\n").utf8) + bytes
    }
    var parser = CSVParser(bytes, path: path)
    return try parser.parse()
  }

  /// Reads a split file: one record number per line, counted from 0 without the header, below `rowCount`,
  /// each at most once. Blank lines at the end are ignored.
  package static func readRowNumbers(path: String, rowCount: Int) throws(TableError) -> Set<Int> {
    let bytes = try readContent(path: path)
    var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .map { $0.last == UInt8(ascii: "\r") ? $0.dropLast() : $0 }
    while lines.last?.isEmpty == true { lines.removeLast() }
    guard !lines.isEmpty else { throw .empty(path: path) }
    var firstLines: [Int: Int] = [:]
    for (index, digits) in lines.enumerated() {
      let line = index + 1
      // `Int(_:)` would take a sign.
      guard digits.allSatisfy({ (0x30...0x39).contains($0) }),
        let row = Int(String(decoding: digits, as: UTF8.self))
      else { throw .badRowNumber(path: path, line: line) }
      guard row < rowCount else {
        throw .rowOutOfRange(path: path, line: line, row: row, rowCount: rowCount)
      }
      if let firstLine = firstLines.updateValue(line, forKey: row) {
        throw .duplicateRow(path: path, line: line, row: row, firstLine: firstLine)
      }
    }
    return Set(firstLines.keys)
  }

  /// The bytes of a file, decompressed if they are gzip.
  private static func readContent(path: String) throws(TableError) -> [UInt8] {
    let bytes = try readFile(path: path)
    return Gzip.isGzip(bytes) ? try Gzip.inflate(bytes, limit: maximumBytes, path: path) : bytes
  }

  private static func readFile(path: String) throws(TableError) -> [UInt8] {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) else {
      throw .fileMissing(path: path)
    }
    guard !isDirectory.boolValue else { throw .isDirectory(path: path) }
    guard let file = FileHandle(forReadingAtPath: path) else { throw .unreadable(path: path) }
    var bytes: [UInt8] = []
    do {
      while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty {
        bytes += piece
        // A device or a growing file has no size to ask for beforehand.
        if bytes.count > maximumBytes { break }
      }
      try file.close()
    } catch {
      throw .unreadable(path: path)
    }
    guard bytes.count <= maximumBytes else { throw .tooLarge(path: path, limit: maximumBytes) }
    return bytes
  }
}
