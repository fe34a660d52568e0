import Testing

@testable import Simulation

@Suite struct `Files of the idx format` {
  private func idx(_ sizes: [UInt32], _ values: [UInt8], type: UInt8 = 8) -> [UInt8] {
    [0, 0, type, UInt8(sizes.count)]
      + sizes.flatMap { size in withUnsafeBytes(of: size.bigEndian, Array.init) }
      + values
  }

  private func error(_ bytes: [UInt8]) -> TableError? {
    #expect(throws: TableError.self) { try IDXFile.table(bytes, path: "a.idx") }
  }

  @Test func `reads labels and images`() throws {
    let labels = try IDXFile.table(idx([3], [5, 0, 255]), path: "a.idx")
    #expect(labels.columns == ["value"] && labels.rows == [["5"], ["0"], ["255"]])
    let images = try IDXFile.table(idx([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8]), path: "a.idx")
    #expect(images.columns == ["value-1", "value-2", "value-3", "value-4"])
    #expect(images.rows == [["1", "2", "3", "4"], ["5", "6", "7", "8"]])
    let deep = try IDXFile.table(idx([1, 1, 3, 1], [9, 8, 7]), path: "a.idx")
    #expect(deep.rows == [["9", "8", "7"]])
  }

  @Test func `reads them from files, plain or gzip`() throws {
    let scratch = try Scratch()
    let bytes = idx([2, 1, 2], [1, 2, 3, 4])
    for (name, content) in [("a.idx", bytes), ("a.gz", try gzip(bytes))] {
      let table = try TableReader.read(path: scratch.file(content, name: name))
      #expect(table.rows == [["1", "2"], ["3", "4"]])
    }
  }

  @Test func `refuses files that are cut off or too long, at every length`() {
    let whole = idx([2, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8])
    for count in 8..<whole.count {
      #expect(error(Array(whole[..<count])) == .idxDamaged(path: "a.idx"), "\(count) bytes")
    }
    #expect(error(whole + [0]) == .idxDamaged(path: "a.idx"))
  }

  @Test func `refuses sizes of nothing and sizes without end`() {
    #expect(error(idx([0], [])) == .headerOnly(path: "a.idx"))
    #expect(error(idx([0, 2], [])) == .headerOnly(path: "a.idx"))
    #expect(error(idx([2, 0], [])) == .idxDamaged(path: "a.idx"))
    #expect(error(idx([2, 3, 0], [])) == .idxDamaged(path: "a.idx"))
    #expect(error(idx([.max], [1])) == .idxDamaged(path: "a.idx"))
    #expect(error(idx([.max, .max, .max, .max], [1])) == .idxDamaged(path: "a.idx"))
    #expect(error(idx([1, 1 << 31, 1 << 31, 2], [1])) == .idxDamaged(path: "a.idx"))
    #expect(
      error(idx([1, 5_000], [UInt8](repeating: 1, count: 5_000)))
        == .tooManyColumns(path: "a.idx", limit: TableReader.maximumColumns))
    #expect(error(idx([1, .max], [1])) == .tooManyColumns(path: "a.idx", limit: TableReader.maximumColumns))
  }

  @Test func `knows its own files`() {
    #expect(IDXFile.isIDX(idx([1], [1])))
    #expect(!IDXFile.isIDX(idx([1], [1], type: 0x0D)), "floating point numbers")
    #expect(!IDXFile.isIDX(idx([], [1, 1, 1, 1])))
    #expect(!IDXFile.isIDX(idx([1, 1, 1, 1, 1], [1])))
    #expect(!IDXFile.isIDX([0, 0, 8, 1]) && !IDXFile.isIDX([]) && !IDXFile.isIDX(Array("a,b\n1,2\n".utf8)))
  }

  @Test func `mutations are read or refused, never more`() {
    let whole = idx([3, 2, 2], (0..<12).map { UInt8($0) })
    var draws = SeededDraws(seed: 8, purpose: "mutations")
    for _ in 0..<2_000 {
      var bytes = whole
      bytes[2 + draws.uniform(below: 14)] = UInt8(draws.uniform(below: 256))
      guard IDXFile.isIDX(bytes) else { continue }
      if let table = try? IDXFile.table(bytes, path: "a.idx") { #expect(!table.rows.isEmpty) }
    }
  }
}
