import Consent
import Cryptography
import Federation
import Foundation
import Learning
import Privacy
import Testing

@Suite struct TaskSpecificationTests {
  private func json(_ change: (inout [String: Any]) -> Void) throws -> [UInt8] {
    let bytes = try Fixture.task().canonicalBytes()
    var object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    change(&object)
    return Array(try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]))
  }

  @Test func `a task survives its canonical bytes, and they do not change`() throws {
    let tasks = [
      try Fixture.task(),
      try Fixture.task {
        $0.trainingBudget = Fixture.endless
        $0.architecture = .multiLayerPerceptron(hidden: [32, 4])
        $0.algorithm = .fedAvg(epochs: 2, batchSize: 8, learningRate: 0.1)
        $0.optimizer = .adam(learningRate: 0.05, beta1: 0.9, beta2: 0.99, epsilon: 1e-8)
        $0.regime = .optOut
        $0.purpose = "søk/anbefalinger"
        $0.seed = .max
        $0.clipNorm = 0.1
        $0.weightDecay = 1e-3
        $0.unit = .record
      },
    ]
    for task in tasks {
      let bytes = try task.canonicalBytes()
      let read = try TaskSpecification.decode(bytes)
      #expect(read == task)
      #expect(try read.canonicalBytes() == bytes)
    }
    let digests = try tasks.map { TaskSpecification.digest(of: try $0.canonicalBytes()) }
    #expect(digests[0] != digests[1])
    let text = String(decoding: try tasks[1].canonicalBytes(), as: UTF8.self)
    #expect(text.hasPrefix("{\"algorithm\""))
    #expect(text.contains("\"inf\"") && text.contains("søk/anbefalinger") && !text.contains("\n"))
  }

  @Test func `every field out of range is refused by its name`() throws {
    typealias Case = (String, (inout TaskSpecification) -> Void)
    let cases: [Case] = [
      ("id", { $0.id = "" }), ("id", { $0.id = "a b" }), ("id", { $0.id = "../etc" }),
      ("id", { $0.id = "ä" }),
      ("id", { $0.id = String(repeating: "a", count: 65) }),
      ("purpose", { $0.purpose = "" }), ("purpose", { $0.purpose = String(repeating: "a", count: 65) }),
      ("purposeVersion", { $0.purposeVersion = 0 }), ("purposeVersion", { $0.purposeVersion = 1_000_001 }),
      ("architecture", { $0.architecture = .multiLayerPerceptron(hidden: []) }),
      ("architecture", { $0.architecture = .multiLayerPerceptron(hidden: [0]) }),
      ("algorithm", { $0.algorithm = .fedAvg(epochs: 0, batchSize: 1, learningRate: 1) }),
      ("optimizer", { $0.optimizer = .sgd(learningRate: 0) }),
      ("optimizer", { $0.optimizer = .sgd(learningRate: .nan) }),
      ("optimizer", { $0.optimizer = .momentum(learningRate: 1, beta: 1) }),
      ("weightDecay", { $0.weightDecay = -1 }), ("weightDecay", { $0.weightDecay = 1 }),
      ("weightDecay", { $0.weightDecay = .nan }),
      ("evaluationBins", { $0.evaluationBins = 1 }), ("evaluationBins", { $0.evaluationBins = 4_097 }),
      ("rounds", { $0.rounds = 0 }), ("rounds", { $0.rounds = 10_001 }),
      ("clipNorm", { $0.clipNorm = 0 }), ("clipNorm", { $0.clipNorm = .nan }),
      ("clipNorm", { $0.clipNorm = .infinity }), ("clipNorm", { $0.clipNorm = 1.1e6 }),
      ("quantileBins", { $0.quantileBins = 0 }), ("quantileBins", { $0.quantileBins = 129 }),
      ("statisticsShare", { $0.statisticsShare = 0 }), ("statisticsShare", { $0.statisticsShare = 0.51 }),
      ("statisticsShare", { $0.statisticsShare = .nan }),
      ("finalEvaluationShare", { $0.finalEvaluationShare = 0 }),
      ("finalEvaluationShare", { $0.finalEvaluationShare = 1 }),
      ("trainingBudget", { $0.trainingBudget.epsilon = 0 }),
      ("trainingBudget", { $0.trainingBudget.epsilon = .nan }),
      ("trainingBudget", { $0.trainingBudget.delta = 0 }),
      ("trainingBudget", { $0.trainingBudget.delta = 0.5 }),
      ("evaluationBudget", { $0.evaluationBudget.epsilon = -1 }),
      ("evaluationBudget", { $0.evaluationBudget.delta = 1 }),
      ("unit", { $0.unit = .node }),
      ("minimumCohort", { $0.minimumCohort = 1 }), ("minimumCohort", { $0.minimumCohort = 16_385 }),
      ("minimumSurvivors", { $0.minimumSurvivors = 1 }), ("minimumSurvivors", { $0.minimumSurvivors = 4 }),
      ("corruptPermille", { $0.corruptPermille = -1 }), ("corruptPermille", { $0.corruptPermille = 334 }),
      ("dropoutPermille", { $0.dropoutPermille = -1 }), ("dropoutPermille", { $0.dropoutPermille = 334 }),
      ("maximumContributors", { $0.maximumContributors = 0 }),
      ("maximumContributors", { $0.maximumContributors = 10_000_001 }),
      ("stepDeadlineMilliseconds", { $0.stepDeadlineMilliseconds = 99 }),
      ("stepDeadlineMilliseconds", { $0.stepDeadlineMilliseconds = 3_600_001 }),
      ("trainingDeadlineMilliseconds", { $0.trainingDeadlineMilliseconds = 99 }),
      ("trainingDeadlineMilliseconds", { $0.trainingDeadlineMilliseconds = 86_400_001 }),
    ]
    for (name, change) in cases { expectRefusal(name) { try Fixture.task(change).validate() } }
    try Fixture.task().validate()
  }

  @Test func `a task in which nobody is sure to add noise is refused`() throws {
    expectRefusal("minimumSurvivors") {
      try Fixture.task {
        $0.minimumCohort = 20
        $0.minimumSurvivors = 2
        $0.corruptPermille = 100
      }.validate()
    }
    try Fixture.task {
      $0.minimumCohort = 20
      $0.minimumSurvivors = 3
      $0.corruptPermille = 100
    }.validate()
  }

  @Test func `JSON that is no task is refused with the place of the fault`() throws {
    func refuse(_ text: String..., bytes: [UInt8]) {
      for fragment in text { expectRefusal(fragment) { _ = try TaskSpecification.decode(bytes) } }
    }
    refuse("JSON", bytes: [])
    refuse("JSON", bytes: Array("{".utf8))
    refuse("JSON", bytes: [0xff, 0xfe])
    refuse("JSON", "top level", bytes: Array("[]".utf8))
    refuse("“id” is missing", bytes: Array("{}".utf8))
    refuse("“clipNorm” is missing", bytes: try json { $0["clipNorm"] = nil })
    refuse("rounds has the wrong type", bytes: try json { $0["rounds"] = "four" })
    refuse("regime", bytes: try json { $0["regime"] = "always" })
    refuse("unit", bytes: try json { $0["unit"] = "planet" })
    refuse("trainingBudget", bytes: try json { $0["trainingBudget"] = ["epsilon": -1, "delta": 1e-5] })
    refuse("trainingBudget", bytes: try json { $0["trainingBudget"] = ["epsilon": "many", "delta": 1e-5] })
    refuse("rounds", bytes: try json { $0["rounds"] = 0 })
    refuse("optimizer", bytes: try json { $0["optimizer"] = ["sorcery": ["learningRate": 1]] })
    refuse("schema", bytes: try json { $0["schema"] = ["columns": [["name": "a", "kind": "smell"]]] })
    refuse("JSON", bytes: try json { $0["schema"] = ["columns": [Any]()] })
    refuse(
      "over 1048576 bytes",
      bytes: [UInt8](repeating: 0x20, count: TaskSpecification.maximumBytes + 1))
  }

  @Test func `mutated tasks never trap, and what is accepted is valid`() throws {
    let bytes = try Fixture.task().canonicalBytes()
    var random = RandomStream(testSeed: 77)
    for _ in 0..<600 {
      var mutated = bytes
      for _ in 0...random.uniform(below: 2) {
        mutated[Int(random.uniform(below: UInt64(bytes.count)))] = UInt8(32 + random.uniform(below: 95))
      }
      if let task = try? TaskSpecification.decode(mutated) { try task.validate() }
    }
    for count in stride(from: 0, to: bytes.count, by: 7) {
      #expect(throws: FederationError.self) { try TaskSpecification.decode(Array(bytes[..<count])) }
    }
  }

  @Test(arguments: [0.0, 0.25, 8, 1e-300, 1.7976931348623157e308])
  func `a finite epsilon is a JSON number`(value: Double) throws {
    let data = try JSONEncoder().encode([EpsilonValue(value)])
    #expect(!String(decoding: data, as: UTF8.self).contains("\""))
    #expect(try JSONDecoder().decode([EpsilonValue].self, from: data) == [EpsilonValue(value)])
  }

  @Test func `an infinite epsilon is the text inf, and no other text is an epsilon`() throws {
    let data = try JSONEncoder().encode([EpsilonValue(.infinity)])
    #expect(String(decoding: data, as: UTF8.self) == #"["inf"]"#)
    #expect(try JSONDecoder().decode([EpsilonValue].self, from: data)[0].value == .infinity)
    for text in [#"["nan"]"#, #"["8"]"#, #"[""]"#, "[null]", "[{}]", #"["-inf"]"#, "[true]"] {
      #expect(throws: DecodingError.self) {
        try JSONDecoder().decode([EpsilonValue].self, from: Data(text.utf8))
      }
    }
  }
}
