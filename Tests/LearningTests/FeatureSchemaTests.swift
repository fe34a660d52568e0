import Foundation
import Testing

@testable import Learning

@Suite struct FeatureSchemaTests {
  private func column(_ name: String) -> FeatureColumn { FeatureColumn(name: name, kind: .numeric) }

  @Test func `refuses schemas beyond the limits`() throws {
    #expect(throws: LearningError.self) { try FeatureSchema(columns: []) }
    #expect(throws: LearningError.self) { try FeatureSchema(columns: [column("a"), column("a")]) }
    #expect(throws: LearningError.self) { try FeatureSchema(columns: [column("")]) }
    #expect(throws: LearningError.self) {
      try FeatureSchema(columns: [column(String(repeating: "é", count: 65))])
    }
    #expect(throws: LearningError.self) { try FeatureSchema(columns: (0...1024).map { column("c\($0)") }) }
    let largest = try FeatureSchema(columns: (0..<1024).map { column("c\($0)") })
    #expect(largest.columns.count == 1024)
    try largest.validate()
  }

  @Test func `decoding applies the limits too`() throws {
    let schema = try FeatureSchema(columns: [
      column("age"), FeatureColumn(name: "city", kind: .categorical),
    ])
    let bytes = try JSONEncoder().encode(schema)
    #expect(try JSONDecoder().decode(FeatureSchema.self, from: bytes) == schema)
    let twice = #"{"columns":[{"name":"a","kind":"numeric"},{"name":"a","kind":"numeric"}]}"#
    for text in [#"{"columns":[]}"#, twice, #"{"columns":[{"name":"a","kind":"prose"}]}"#, "{}"] {
      #expect(throws: (any Error).self) {
        try JSONDecoder().decode(FeatureSchema.self, from: Data(text.utf8))
      }
    }
    let many = (0...1024).map { #"{"name":"c\#($0)","kind":"numeric"}"# }.joined(separator: ",")
    #expect(throws: LearningError.self) {
      try JSONDecoder().decode(FeatureSchema.self, from: Data("{\"columns\":[\(many)]}".utf8))
    }
  }

  @Test func `the category hash gives FNV-1a's known answers`() {
    #expect(CategoryHash.fnv1a("") == 0xcbf2_9ce4_8422_2325)
    #expect(CategoryHash.fnv1a("a") == 0xaf63_dc4c_8601_ec8c)
    #expect(CategoryHash.fnv1a("foobar") == 0x8594_4171_f739_67e8)
    #expect(CategoryHash.fnv1a("Straße") == 0xfdad_232c_fde8_9ed8)
    #expect(CategoryHash.bucket(of: "Mobile Phone") == 31)
    #expect(CategoryHash.bucket(of: "") == 37)
  }

  @Test func `values become cells by the schema's rules`() throws {
    let schema = try FeatureSchema(columns: [
      column("n"), FeatureColumn(name: "c", kind: .categorical),
    ])
    func cells(_ record: RawRecord) throws -> [Cell] {
      var cells: [Cell] = []
      try schema.forEachCell(of: record) { _, cell in cells.append(cell) }
      return cells
    }
    #expect(try cells([.number(1.5), .text("a")]) == [.number(1.5), .bucket(CategoryHash.bucket(of: "a"))])
    #expect(try cells([.missing, .missing]) == [.missing, .missing])
    #expect(try cells([.number(.nan), .number(.infinity)]) == [.missing, .missing])
    let three = Cell.bucket(CategoryHash.bucket(of: "3"))
    #expect(try cells([.number(3), .number(3)])[1] == three)
    #expect(try cells([.number(3), .number(1e300)])[1] != three)
    #expect(throws: LearningError.textInNumericColumn(name: "n")) { try cells([.text("1"), .missing]) }
    #expect(throws: LearningError.wrongColumnCount(expected: 2, actual: 1)) { try cells([.missing]) }
  }
}
