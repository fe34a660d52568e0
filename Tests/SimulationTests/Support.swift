import CZlib
import Foundation
import Learning
import Testing

@testable import Simulation

/// A directory of its own that goes away with the test.
final class Scratch {
  let directory: URL

  init() throws {
    directory = FileManager.default.temporaryDirectory
      .appendingPathComponent("accord-simulation-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: directory) }

  /// Writes a file and returns its path.
  func file(_ bytes: [UInt8], name: String = "table.csv") throws -> String {
    let url = directory.appendingPathComponent(name)
    try Data(bytes).write(to: url)
    return url.path
  }

  func file(_ text: String, name: String = "table.csv") throws -> String {
    try file(Array(text.utf8), name: name)
  }

  func read(_ text: String) throws -> Table { try TableReader.read(path: file(text)) }

  /// The error of reading `text`, and the path in it.
  func error(reading text: String) throws -> (error: TableError?, path: String) {
    try error(reading: Array(text.utf8))
  }

  func error(reading bytes: [UInt8]) throws -> (error: TableError?, path: String) {
    let path = try file(bytes)
    return (#expect(throws: TableError.self) { try TableReader.read(path: path) }, path)
  }
}

/// One gzip member made by zlib.
func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
  var stream = z_stream()
  let size = Int32(MemoryLayout<z_stream>.size)
  try #require(
    deflateInit2_(
      &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      size) == Z_OK)
  defer { deflateEnd(&stream) }
  var input = bytes
  var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, UInt(bytes.count))))
  let status = input.withUnsafeMutableBufferPointer { input in
    output.withUnsafeMutableBufferPointer { output in
      stream.next_in = input.baseAddress
      stream.avail_in = UInt32(input.count)
      stream.next_out = output.baseAddress
      stream.avail_out = UInt32(output.count)
      return deflate(&stream, Z_FINISH)
    }
  }
  try #require(status == Z_STREAM_END)
  return Array(output.prefix(Int(stream.total_out)))
}

/// A table in memory.
func table(_ columns: [String], _ rows: [[String]]) -> Table {
  Table(columns: columns, rows: rows, path: "memory.csv")
}

/// The area under the ROC curve of a score: the probability that a positive scores above a negative.
func areaUnderCurve(_ scored: [(score: Double, isPositive: Bool)]) -> Double {
  let sorted = scored.sorted { $0.score < $1.score }
  var rankSum = 0.0
  var start = 0
  while start < sorted.count {
    var end = start
    while end < sorted.count, sorted[end].score == sorted[start].score { end += 1 }
    let rank = Double(start + 1 + end) / 2
    rankSum += rank * Double(sorted[start..<end].count { $0.isPositive })
    start = end
  }
  let positives = Double(sorted.count { $0.isPositive })
  let negatives = Double(sorted.count) - positives
  return (rankSum - positives * (positives + 1) / 2) / (positives * negatives)
}
