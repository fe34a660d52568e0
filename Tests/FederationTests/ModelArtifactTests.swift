import Cryptography
import Federation
import Foundation
import Learning
import Testing

@Suite struct ModelArtifactTests {
  /// The artifacts of all stages of one run without noise.
  static func stages() throws -> [ModelArtifact] {
    var federation = try TestFederation(
      Fixture.task {
        $0.trainingBudget = Fixture.endless
        $0.evaluationBudget = Fixture.endless
        $0.rounds = 1
      }, stores: (0..<3).map { try Store(seed: UInt64(90 + $0), training: 40, heldOut: 20) })
    var stages = [federation.engine.artifact]
    for _ in 0..<3 {
      _ = try federation.runSession()
      stages.append(federation.engine.artifact)
    }
    return stages
  }

  private func header(_ json: String, parameters: [UInt8] = []) -> [UInt8] {
    let bytes = Array(json.utf8)
    return LittleEndian.bytes([UInt32(bytes.count)]) + bytes + parameters
  }

  /// An artifact's header as JSON, changed, with its parameters behind.
  private func changed(
    _ artifact: ModelArtifact, _ change: (inout [String: Any]) -> Void
  ) throws -> [UInt8] {
    let bytes = try artifact.encode()
    let end = 4 + Int(LittleEndian.words(bytes[..<4])[0])
    var object = try #require(
      try JSONSerialization.jsonObject(with: Data(bytes[4..<end])) as? [String: Any])
    change(&object)
    let json = try JSONSerialization.data(withJSONObject: object)
    return LittleEndian.bytes([UInt32(json.count)]) + Array(json) + Array(bytes[end...])
  }

  @Test func `an artifact of every stage survives its encoding`() throws {
    let stages = try Self.stages()
    #expect(stages.map(\.version) == [0, 1, 2, 3])
    #expect(stages.map { $0.model != nil } == [false, false, true, true])
    for stage in stages {
      let bytes = try stage.encode()
      #expect(try ModelArtifact.decode(bytes) == stage)
      #expect(try ModelArtifact.decode(bytes).encode() == bytes)
    }
    #expect(Set(try stages.map { ModelArtifact.digest(of: try $0.encode()) }).count == 4)
    let trained = stages[3]
    #expect(trained.parameters.count == trained.model?.model.parameterCount)
    #expect(trained.parameters.contains { $0 != 0 })
  }

  @Test func `cut and extended artifacts are refused`() throws {
    for stage in try Self.stages() {
      let bytes = try stage.encode()
      for count in 0..<bytes.count {
        #expect(throws: FederationError.self) { try ModelArtifact.decode(Array(bytes[..<count])) }
      }
      for extra in 1...5 {
        expectRefusal("bytes of parameters") {
          _ = try ModelArtifact.decode(bytes + [UInt8](repeating: 0, count: extra))
        }
      }
    }
  }

  @Test func `mutated artifacts never trap`() throws {
    var random = RandomStream(testSeed: 4)
    for stage in try Self.stages() {
      let bytes = try stage.encode()
      for _ in 0..<400 {
        var mutated = bytes
        mutated[Int(random.uniform(below: UInt64(bytes.count)))] = UInt8(random.uniform(below: 256))
        if let read = try? ModelArtifact.decode(mutated) { _ = try read.encode() }
      }
    }
    #expect(throws: FederationError.self) { try ModelArtifact.decode([255, 255, 255, 255, 1]) }
    #expect(throws: FederationError.self) { try ModelArtifact.decode([]) }
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func `a parameter that is no finite number is refused`(value: Float) throws {
    var artifact = try Self.stages()[3]
    artifact.parameters[1] = value
    expectRefusal("not a finite number") { _ = try ModelArtifact.decode(artifact.encode()) }
  }

  @Test func `headers that contradict themselves are refused`() throws {
    let stages = try Self.stages()
    func refuse(_ text: String, _ artifact: ModelArtifact, _ change: (inout [String: Any]) -> Void) {
      expectRefusal("the model artifact cannot be used", text) {
        _ = try ModelArtifact.decode(changed(artifact, change))
      }
    }
    refuse("format 2 is unknown", stages[3]) { $0["format"] = 2 }
    refuse("“task” is missing", stages[3]) { $0["task"] = nil }
    refuse("version has the wrong type", stages[3]) { $0["version"] = "two" }
    refuse("bytes of parameters", stages[3]) { $0["parameterCount"] = -1 }
    refuse("bytes of parameters", stages[3]) { $0["parameterCount"] = (1 << 26) + 1 }
    refuse("stage", stages[3]) { $0["stage"] = ["wisdom": [String: Any]()] }
    var artifact = stages[3]
    artifact.parameters.append(0)
    expectRefusal("must have 14 entries but has 15") { _ = try ModelArtifact.decode(artifact.encode()) }
    artifact = stages[0]
    artifact.parameters = [1]
    expectRefusal("parameters before a model") { _ = try ModelArtifact.decode(artifact.encode()) }
    for stage in [stages[0], stages[3]] {
      artifact = stage
      artifact.architecture = .multiLayerPerceptron(hidden: [1 << 20])
      expectRefusal("architecture") { _ = try ModelArtifact.decode(artifact.encode()) }
    }
    expectRefusal("cannot be used") { _ = try ModelArtifact.decode(header("{}")) }
    expectRefusal("cannot be used") { _ = try ModelArtifact.decode(header("null")) }
    expectRefusal("header is cut off") { _ = try ModelArtifact.decode(LittleEndian.bytes([1 << 25]) + [1]) }
  }

  @Test func `little-endian words survive their bytes`() {
    let words: [UInt32] = [0, 1, 0x0102_0304, .max]
    #expect(LittleEndian.bytes([0x0102_0304]) == [4, 3, 2, 1])
    #expect(LittleEndian.words(LittleEndian.bytes(words)) == words)
    #expect(LittleEndian.words([1, 0, 0, 0, 9, 9, 9]) == [1])
  }
}
