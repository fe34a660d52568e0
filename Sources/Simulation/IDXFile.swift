/// The idx format of the MNIST family: a big-endian header (two zero bytes, type 8 for unsigned bytes, the number of
/// dimensions, then each dimension as 32 bits), then the values.
enum IDXFile {
  /// Whether bytes begin like an idx file of unsigned bytes.
  static func isIDX(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 8 && bytes[0] == 0 && bytes[1] == 0 && bytes[2] == 8 && (1...4).contains(bytes[3])
  }

  /// One record per entry of the first dimension; the others are the columns `value-1`, `value-2` and so on, or
  /// `value` if there are none.
  static func table(_ bytes: [UInt8], path: String) throws(TableError) -> Table {
    let dimensions = Int(bytes[3])
    let start = 4 + 4 * dimensions
    guard bytes.count >= start else { throw .idxDamaged(path: path) }
    let sizes = (0..<dimensions).map { index in
      bytes[(4 + 4 * index)..<(8 + 4 * index)].reduce(0) { $0 << 8 | Int($1) }
    }
    var columns = 1
    for size in sizes.dropFirst() {
      let (product, overflow) = columns.multipliedReportingOverflow(by: size)
      guard !overflow, product >= 1 else { throw .idxDamaged(path: path) }
      columns = product
    }
    guard columns <= TableReader.maximumColumns else {
      throw .tooManyColumns(path: path, limit: TableReader.maximumColumns)
    }
    guard sizes[0] >= 1 else { throw .headerOnly(path: path) }
    guard bytes.count == start + sizes[0] * columns else { throw .idxDamaged(path: path) }
    let names = columns == 1 ? ["value"] : (1...columns).map { "value-\($0)" }
    let texts = (0...255).map(String.init)
    let rows = (0..<sizes[0]).map { record in
      let first = start + record * columns
      return bytes[first..<first + columns].map { texts[Int($0)] }
    }
    return Table(columns: names, rows: rows, path: path)
  }
}
