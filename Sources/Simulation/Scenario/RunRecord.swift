import Cryptography
package import Foundation

/// One run: what was asked, on which records, and what it gave. A file of its own in `runs/`.
package struct RunRecord: Codable, Equatable, Sendable {
  /// SHA-256 of everything that decides the result, hex; the file's name.
  package var digest: String
  /// What computed it.
  package var version: String
  /// Everything but the records.
  package var setup: RunSetup
  /// Where the records come from.
  package var data: DataSpecification
  /// The files of the records.
  package var inputs: [ScenarioData.Input]
  /// What it gave.
  package var outcome: RunOutcome

  package init(
    digest: String, version: String, setup: RunSetup, data: DataSpecification,
    inputs: [ScenarioData.Input], outcome: RunOutcome
  ) {
    self.digest = digest
    self.version = version
    self.setup = setup
    self.data = data
    self.inputs = inputs
    self.outcome = outcome
  }

  /// Changes with everything that changes a result: runs of another revision are computed anew.
  private static let engineRevision = 2

  /// The digest of a run: of its setup, its records' description and files, and the program's version. The
  /// names of scenario and data are left out: they change no result.
  package static func digest(
    setup: RunSetup, data: DataSpecification, inputs: [ScenarioData.Input], version: String
  ) throws -> String {
    struct Identity: Encodable {
      let setup: RunSetup
      let data: DataSpecification
      let inputs: [String]
      let version: String
      let engine: Int
    }
    var setup = setup
    setup.name = ""
    var data = data
    data.name = ""
    let identity = Identity(
      setup: setup, data: data, inputs: inputs.map(\.sha256), version: version,
      engine: Self.engineRevision)
    return Hash.sha256(Array(try ResultsJSON.encoder().encode(identity))).hex
  }
}

/// How results are written as JSON: sorted keys, and numbers that JSON does not know as words.
package enum ResultsJSON {
  package static func encoder(pretty: Bool = false) -> JSONEncoder {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return encoder
  }

  package static func decoder() -> JSONDecoder {
    let decoder = JSONDecoder()
    decoder.nonConformingFloatDecodingStrategy = .convertFromString(
      positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
    return decoder
  }
}
