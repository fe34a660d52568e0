import Foundation
import Testing

@testable import Simulation

@Suite struct `Reading CSV` {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  @Test func `reads quoted fields with commas, doubled marks and line breaks`() throws {
    let table = try scratch.read("a,b\n\"1,5\",\"say \"\"hi\"\"\"\n\"two\nlines\",\"\"\n")
    #expect(table.columns == ["a", "b"])
    #expect(table.rows == [["1,5", "say \"hi\""], ["two\nlines", ""]])
  }

  @Test func `keeps spaces, empty fields and a last field without a line break`() throws {
    #expect(try scratch.read("a,b\n  x , \n,").rows == [["  x ", " "], ["", ""]])
  }

  @Test func `keeps a comma apart from the combining mark after it`() throws {
    #expect(try scratch.read("a,b\n1,\u{301}x\n").rows == [["1", "\u{301}x"]])
  }

  @Test(arguments: ["\n", "\r\n", "\r"])
  func `takes any line end`(end: String) throws {
    let text = ["a,b", "1,\"x\"", "2,y"].joined(separator: end)
    let expected = [["1", "x"], ["2", "y"]]
    #expect(try scratch.read(text).rows == expected)
    #expect(try scratch.read(text + end).rows == expected)
    #expect(try scratch.read(text + end + end + end).rows == expected)
  }

  @Test func `ignores a byte-order mark, also before a quotation mark`() throws {
    #expect(try scratch.read("\u{FEFF}a,b\n1,2\n").columns == ["a", "b"])
    #expect(try scratch.read("\u{FEFF}\"a\",b\r\n1,2\r\n").columns == ["a", "b"])
  }

  @Test func `names a column that has no name and trims the others`() throws {
    #expect(try scratch.read(", b \n0,1\n").columns == ["column-1", "b"])
  }

  @Test func `reads empty cells of a single column as records`() throws {
    #expect(try scratch.read("a\n1\n\n2\n\n").rows == [["1"], [""], ["2"], [""]])
  }

  @Test func `names a missing file and a directory`() throws {
    let missing = scratch.directory.appendingPathComponent("nothing.csv").path
    #expect(throws: TableError.fileMissing(path: missing)) { try TableReader.read(path: missing) }
    let directory = scratch.directory.path
    #expect(throws: TableError.isDirectory(path: directory)) { try TableReader.read(path: directory) }
  }

  @Test(.enabled(if: getuid() != 0, "root reads every file"))
  func `says that a file is not readable`() throws {
    let path = try scratch.file("a\n1\n")
    try FileManager.default.setAttributes([.posixPermissions: 0], ofItemAtPath: path)
    #expect(throws: TableError.unreadable(path: path)) { try TableReader.read(path: path) }
  }

  @Test(arguments: ["", "\u{FEFF}", "\n\n", "\r\n"])
  func `refuses an empty file`(text: String) throws {
    let (error, path) = try scratch.error(reading: text)
    #expect(error == .empty(path: path))
  }

  @Test(arguments: ["a,b", "a,b\n", "a,b\r\n\r\n"])
  func `refuses a header without records`(text: String) throws {
    let (error, path) = try scratch.error(reading: text)
    #expect(error == .headerOnly(path: path))
  }

  @Test func `refuses two columns of one name`() throws {
    let (error, path) = try scratch.error(reading: "a,b, a\n1,2,3\n")
    #expect(error == .duplicateColumn(path: path, name: "a", first: 1, second: 3))
    #expect(error?.description.contains("columns 1 and 3 are both called \"a\"") == true)
  }

  @Test(arguments: [("1,2\n3\n", 1), ("1,2\n3,4,5\n", 3), ("1,2\n\n3,4\n", 1)])
  func `refuses a ragged record and says which`(body: String, fields: Int) throws {
    let (error, path) = try scratch.error(reading: "a,b\n" + body)
    #expect(
      error
        == .ragged(path: path, place: TablePlace(record: 1, line: 3), expected: 2, actual: fields))
    #expect(error?.description.hasPrefix("\(path), record 1 (line 3): ") == true)
  }

  @Test func `counts lines through quoted line breaks`() throws {
    let (error, path) = try scratch.error(reading: "a,b\n\"x\n\ny\",2\n3\n")
    #expect(
      error == .ragged(path: path, place: TablePlace(record: 1, line: 5), expected: 2, actual: 1))
  }

  @Test func `refuses a quotation mark that is never closed and says where it opens`() throws {
    let (error, path) = try scratch.error(reading: "a,b\n1,2\n3,\"x\n4,5\n")
    let place = TablePlace(record: 1, line: 3, column: 2, columnName: "b")
    #expect(error == .unterminatedQuote(path: path, place: place))
    #expect(error?.description.contains("record 1 (line 3), column 2 (b)") == true)
  }

  @Test func `refuses an unclosed quotation mark in the header`() throws {
    let (error, path) = try scratch.error(reading: "a,\"b\n1,2\n")
    let place = TablePlace(record: nil, line: 1, column: 2)
    #expect(error == .unterminatedQuote(path: path, place: place))
  }

  @Test(arguments: ["1,x\"y\n", "1,\"x\"y\n", "1,\"x\" \n"])
  func `refuses a misplaced quotation mark`(record: String) throws {
    let (error, path) = try scratch.error(reading: "a,b\n" + record)
    let place = TablePlace(record: 0, line: 2, column: 2, columnName: "b")
    #expect(error == .misplacedQuote(path: path, place: place))
  }

  @Test func `refuses text that is not UTF-8 and says where`() throws {
    let latin1 = Array("a,b\n1,2\n3,caf".utf8) + [0xE9, 0x0A]
    let (error, path) = try scratch.error(reading: latin1)
    let place = TablePlace(record: 1, line: 3, column: 2, columnName: "b")
    #expect(error == .notUTF8(path: path, place: place))
  }

  @Test func `refuses more columns than the limit`() throws {
    let limit = TableReader.maximumColumns
    let header = (0..<limit).map { "c\($0)" }.joined(separator: ",")
    let record = Array(repeating: "1", count: limit).joined(separator: ",")
    #expect(try scratch.read(header + "\n" + record + "\n").columns.count == limit)
    let (error, path) = try scratch.error(reading: header + ",x\n" + record + ",1\n")
    #expect(error == .tooManyColumns(path: path, limit: limit))
  }

  @Test func `never traps on mutated files`() throws {
    let original = Array("\u{FEFF}a,\"b\"\r\n1,\"x,\"\"y\"\r\n\"\n\",é\r\n".utf8)
    let replacements: [UInt8] = [0x00, 0x0A, 0x0D, 0x22, 0x2C, 0x41, 0xC3, 0xFF]
    for position in original.indices {
      for byte in replacements {
        var bytes = original
        bytes[position] = byte
        for candidate in [bytes, Array(bytes[..<position]), Array(bytes[position...])] {
          var parser = CSVParser(candidate, path: "mutated")
          guard let table = try? parser.parse() else { continue }
          #expect(table.rows.allSatisfy { $0.count == table.columns.count })
        }
      }
    }
  }
}

@Suite struct `Reading gzip` {
  let scratch: Scratch
  let content = Array("a,b\n".utf8) + (0..<50_000).flatMap { Array("\($0),\($0 &* 7_919 % 10_007)\n".utf8) }

  init() throws { scratch = try Scratch() }

  @Test func `reads gzip whatever the file is called`() throws {
    let plain = try TableReader.read(path: scratch.file(content))
    let path = try scratch.file(try gzip(content), name: "looks-plain.csv")
    let packed = try TableReader.read(path: path)
    #expect(packed.rows == plain.rows)
    #expect(packed.rows.count == 50_000)
  }

  @Test func `reads several members in a row`() throws {
    let path = try scratch.file(try gzip(Array("a,b\n1,".utf8)) + gzip(Array("2\n".utf8)))
    #expect(try TableReader.read(path: path).rows == [["1", "2"]])
  }

  @Test func `says that the data ends too early, wherever it is cut`() throws {
    let packed = try gzip(Array("a,b\n1,2\n".utf8))
    for count in 2..<packed.count {
      let path = try scratch.file(Array(packed.prefix(count)), name: "t.csv.gz")
      #expect(throws: TableError.gzipEndsTooEarly(path: path, bytes: count)) {
        try TableReader.read(path: path)
      }
    }
    let half = try gzip(content)
    let path = try scratch.file(Array(half.prefix(half.count / 2)), name: "t.csv.gz")
    let error = #expect(throws: TableError.self) { try TableReader.read(path: path) }
    let sentence = "t.csv.gz: the gzip data ends too early (after \(half.count / 2) bytes)"
    #expect(error?.description.contains(sentence) == true)
  }

  @Test func `says so too when the cut falls on the end of an output buffer`() throws {
    // The reader inflates 256 KiB at a time: everything was read and written, only the checksum is missing.
    let packed = try gzip([UInt8](repeating: 0x61, count: 1 << 18))
    for missing in 1...12 {
      let cut = Array(packed.dropLast(missing))
      #expect(throws: TableError.gzipEndsTooEarly(path: "cut", bytes: cut.count)) {
        try Gzip.inflate(cut, limit: 1 << 20, path: "cut")
      }
    }
  }

  @Test func `says that the data is damaged`() throws {
    var packed = try gzip(Array("a,b\n1,2\n".utf8))
    packed[packed.count - 6] ^= 1  // in the checksum
    let path = try scratch.file(packed)
    let error = #expect(throws: TableError.self) { try TableReader.read(path: path) }
    guard case .gzipCorrupt(path, _)? = error else {
      Issue.record("another error: \(String(describing: error))")
      return
    }
  }

  @Test func `refuses bytes after the end`() throws {
    let path = try scratch.file(try gzip(Array("a,b\n1,2\n".utf8)) + Array("more text".utf8))
    let error = #expect(throws: TableError.self) { try TableReader.read(path: path) }
    guard case .gzipCorrupt? = error else {
      Issue.record("another error: \(String(describing: error))")
      return
    }
  }

  @Test func `stops at the limit of decompressed bytes`() throws {
    let packed = try gzip([UInt8](repeating: 0x61, count: 1_000_000))
    #expect(packed.count < 2_000)
    #expect(try Gzip.inflate(packed, limit: 1_000_000, path: "bomb").count == 1_000_000)
    #expect(throws: TableError.tooLarge(path: "bomb", limit: 999_999)) {
      try Gzip.inflate(packed, limit: 999_999, path: "bomb")
    }
  }
}

@Suite struct `Reading row numbers` {
  let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func error(_ text: String, rowCount: Int = 10) throws -> TableError? {
    let path = try scratch.file(text, name: "rows.txt")
    let error = #expect(throws: TableError.self) {
      try TableReader.readRowNumbers(path: path, rowCount: rowCount)
    }
    #expect(error?.description.hasPrefix(path) == true)
    return error
  }

  @Test func `reads one number per line`() throws {
    for text in ["0\n3\n9\n", "9\r\n0\r\n3", "3\n9\n0\n\n"] {
      let path = try scratch.file(text, name: "rows.txt")
      #expect(try TableReader.readRowNumbers(path: path, rowCount: 10) == [0, 3, 9])
    }
  }

  @Test(arguments: ["1\nx\n", "1\n-2\n", "1\n+2\n", "1\n\n2\n", "1\n2 \n", "1\n99999999999999999999\n"])
  func `refuses garbage with its line`(text: String) throws {
    guard case .badRowNumber(_, line: 2)? = try error(text) else {
      Issue.record("another error")
      return
    }
  }

  @Test func `refuses numbers out of range and repeated ones`() throws {
    guard case .rowOutOfRange(_, line: 2, row: 10, rowCount: 10)? = try error("9\n10\n") else {
      Issue.record("another error")
      return
    }
    guard case .duplicateRow(_, line: 3, row: 4, firstLine: 1)? = try error("4\n5\n4\n") else {
      Issue.record("another error")
      return
    }
  }

  @Test func `refuses an empty list`() throws {
    guard case .empty? = try error("\n") else {
      Issue.record("another error")
      return
    }
  }
}
