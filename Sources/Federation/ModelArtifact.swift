package import Cryptography
import Foundation
package import Learning

/// What a session starts from and what it produces: the stages from a bare schema to a trained model.
/// The digest of an artifact is part of the round descriptor, so two nodes that were given different
/// models cannot be part of one sum (their masks would not cancel).
package struct ModelArtifact: Sendable, Equatable {
  /// How far the federation has come.
  package enum Stage: Codable, Sendable, Equatable {
    /// Only the columns are known.
    case schema
    /// Ranges and vocabularies are agreed.
    case bounds(FeatureBounds)
    /// Features are fixed; parameters follow in the artifact.
    case model(FeaturePipeline)
  }

  private struct Header: Codable {
    var format = 1
    var task: String
    var version: Int
    var architecture: ModelArchitecture
    var stage: Stage
    var parameterCount: Int
  }

  /// The task that the artifact belongs to.
  package var task: String
  /// Counts the sessions that produced it, from 0.
  package var version: Int
  /// The model's shape.
  package var architecture: ModelArchitecture
  /// What is agreed so far.
  package var stage: Stage
  /// The parameters (`Model`'s flat layout); empty before the model stage.
  package var parameters: [Float]

  package init(
    task: String, version: Int, architecture: ModelArchitecture, stage: Stage, parameters: [Float]
  ) {
    self.task = task
    self.version = version
    self.architecture = architecture
    self.stage = stage
    self.parameters = parameters
  }

  /// Serialises: a JSON header (length in front, 32-bit little endian), then the parameters as
  /// little-endian IEEE 754 binary32.
  package func encode() throws(FederationError) -> [UInt8] {
    guard parameters.allSatisfy(\.isFinite) else {
      throw .badArtifact(reason: "a parameter is not a finite number")
    }
    let header = Header(
      task: task, version: version, architecture: architecture, stage: stage,
      parameterCount: parameters.count)
    let json = try component("model artifact") { try CanonicalJSON.encode(header) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(4 + json.count + 4 * parameters.count)
    withUnsafeBytes(of: UInt32(json.count).littleEndian) { bytes.append(contentsOf: $0) }
    bytes.append(contentsOf: json)
    bytes.append(contentsOf: LittleEndian.bytes(parameters.map(\.bitPattern)))
    return bytes
  }

  /// Reads what `encode` wrote; anything else is refused.
  package static func decode(_ bytes: [UInt8]) throws(FederationError) -> ModelArtifact {
    guard bytes.count >= 4 else { throw .badArtifact(reason: "it ends before its header") }
    let length = bytes[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= 1 << 24, bytes.count >= 4 + length else {
      throw .badArtifact(reason: "its header is cut off")
    }
    let header: Header
    do { header = try JSONDecoder().decode(Header.self, from: Data(bytes[4..<4 + length])) } catch {
      throw .badArtifact(reason: CanonicalJSON.explain(error))
    }
    guard header.format == 1 else { throw .badArtifact(reason: "format \(header.format) is unknown") }
    let body = bytes[(4 + length)...]
    guard header.parameterCount >= 0, header.parameterCount <= 1 << 26,
      body.count == 4 * header.parameterCount
    else {
      throw .badArtifact(reason: "it has \(body.count) bytes of parameters, not 4 × \(header.parameterCount)")
    }
    let parameters = LittleEndian.words(body).map { Float(bitPattern: $0) }
    guard parameters.allSatisfy(\.isFinite) else {
      throw .badArtifact(reason: "a parameter is not a finite number")
    }
    let artifact = ModelArtifact(
      task: header.task, version: header.version, architecture: header.architecture,
      stage: header.stage, parameters: parameters)
    try artifact.validate()
    return artifact
  }

  /// BLAKE2b-256 of an encoded artifact.
  package static func digest(of bytes: [UInt8]) -> Digest {
    Hash.blake2b(domain: "accord/v1/model", [bytes])
  }

  /// The model and its pipeline, once there is one.
  package var model: (pipeline: FeaturePipeline, model: Model)? {
    guard case .model(let pipeline) = stage else { return nil }
    guard let model = try? Model(architecture: architecture, pipeline: pipeline) else { return nil }
    return (pipeline, model)
  }

  private func validate() throws(FederationError) {
    switch stage {
    case .schema, .bounds:
      try component("architecture") { try architecture.validate() }
      guard parameters.isEmpty else { throw .badArtifact(reason: "it has parameters before a model") }
    case .model(let pipeline):
      let model = try component("architecture") { try Model(architecture: architecture, pipeline: pipeline) }
      do { try model.check(parameters: parameters) } catch { throw .badArtifact(reason: "\(error)") }
    }
  }
}

/// Words of 32 bits in little-endian byte order.
package enum LittleEndian {
  /// The words of `bytes`, four bytes each; a rest of fewer than four is ignored.
  package static func words(_ bytes: some Sequence<UInt8>) -> [UInt32] {
    var words: [UInt32] = []
    var word: UInt32 = 0
    var shift: UInt32 = 0
    for byte in bytes {
      word |= UInt32(byte) << shift
      shift += 8
      if shift == 32 {
        words.append(word)
        word = 0
        shift = 0
      }
    }
    return words
  }

  /// The bytes of `words`.
  package static func bytes(_ words: [UInt32]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(4 * words.count)
    for word in words {
      bytes.append(UInt8(truncatingIfNeeded: word))
      bytes.append(UInt8(truncatingIfNeeded: word >> 8))
      bytes.append(UInt8(truncatingIfNeeded: word >> 16))
      bytes.append(UInt8(truncatingIfNeeded: word >> 24))
    }
    return bytes
  }
}
