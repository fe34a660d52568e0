import Cryptography
import Federation
import Foundation
import Privacy
import Testing

@Suite struct StatisticsSpecificationTests {
  @Test func `a statistics task survives its JSON, which says what it is`() throws {
    for epsilon in [2, Double.infinity] {
      let task = FederationTask.statistics(try StatisticsTaskTests.task(epsilon: epsilon))
      let bytes = try task.canonicalBytes()
      #expect(try FederationTask.decode(bytes) == task)
      let text = String(decoding: bytes, as: UTF8.self)
      #expect(text.contains(#""kind":"statistics""#))
      #expect(text.contains(#""ask":{"mean":{"lower":0,"upper":100}}"#))
      expectRefusal("cannot be read") { _ = try TaskSpecification.decode(bytes) }
    }
  }

  @Test func `a task without a kind trains, and its bytes are what they were`() throws {
    let task = try Fixture.task()
    let bytes = try task.canonicalBytes()
    let text = String(decoding: bytes, as: UTF8.self)
    let object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any])
    for key in ["kind", "adaptiveClipping", "groups", "combination"] {
      #expect(object[key] == nil, "what is nil is not written")
    }
    #expect(try FederationTask.decode(bytes) == .training(task))
    #expect(try FederationTask.training(task).canonicalBytes() == bytes)
    let named = Array((#"{"kind":"training","# + text.dropFirst()).utf8)
    #expect(try FederationTask.decode(named) == .training(task))
    let other = Array((#"{"kind":"poem","# + text.dropFirst()).utf8)
    expectRefusal("JSON") { _ = try FederationTask.decode(other) }
  }

  @Test func `a task that cannot be answered is refused with the reason`() throws {
    typealias Case = (String, (inout StatisticsSpecification) -> Void)
    func question(_ change: @escaping (inout StatisticsQuestion) -> Void) -> (inout StatisticsSpecification)
      -> Void
    {
      { change(&$0.questions[0]) }
    }
    let cases: [Case] = [
      ("id", { $0.id = "a b" }), ("unit", { $0.unit = .node }), ("minimumCohort", { $0.minimumCohort = 1 }),
      ("budget", { $0.budget.epsilon = 0 }), ("budget", { $0.budget.delta = 0.6 }),
      ("populationBudget", { $0.populationBudget.epsilon = 1 }),
      ("questions", { $0.questions = [] }), ("different names", { $0.questions.append($0.questions[0]) }),
      (
        "1 to 64",
        {
          $0.questions = (0..<65).map { StatisticsQuestion(name: "q\($0)", ask: .count) }
        }
      ),
      ("named", question { $0.name = "" }), ("weight", question { $0.weight = 0 }),
      ("weight", question { $0.weight = .infinity }), ("the schema lacks", question { $0.column = "age" }),
      ("records", question { $0.recordsPerContributor = 0 }),
      ("categorical", question { $0.ask = .histogram(categories: ["a"]) }),
      (
        "categories",
        question {
          $0.column = "channel"
          $0.ask = .histogram(categories: ["a", "a"])
        }
      ),
      (
        "numeric",
        question {
          $0.column = "channel"
          $0.ask = .mean(lower: 0, upper: 1, resolution: nil)
        }
      ),
      (
        "edges",
        question {
          $0.column = "visits"
          $0.ask = .bins(edges: [1, 1])
        }
      ),
      (
        "question records",
        question {
          $0.column = "visits"
          $0.ask = .mean(lower: 1, upper: 0, resolution: nil)
        }
      ),
      (
        "probabilities",
        question {
          $0.column = "visits"
          $0.ask = .quantiles(lower: 0, upper: 1, bins: 4, probabilities: [])
        }
      ),
      (
        "coordinates",
        question {
          $0.column = "channel"
          $0.ask = .heavyHitters(keyBytes: 4, bitsPerRound: 8, maximumPrefixes: 8192)
        }
      ),
    ]
    for (fragment, change) in cases {
      var task = try StatisticsTaskTests.task(epsilon: 2)
      change(&task)
      expectRefusal(fragment) { try FederationTask.statistics(task).validate() }
    }
    try StatisticsTaskTests.task(epsilon: 2).validate()
  }

  @Test func `a state is read as it was written and nothing else is`() throws {
    let state = TaskArtifact.statistics(StatisticsState(task: "dashboard"))
    let bytes = try state.encode()
    #expect(try TaskArtifact.decode(bytes) == state)
    for broken in [Array("{}".utf8), Array("{".utf8), [], Array(bytes.dropLast()), [0x7b, 0, 0, 0]] {
      expectRefusal("artifact") { _ = try TaskArtifact.decode(broken) }
    }
  }
}

extension StatisticsSpecificationTests {
  @Test func `the task in the documentation can be submitted`() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let text = try String(contentsOf: root.appendingPathComponent("docs/STATISTICS.md"), encoding: .utf8)
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    let start = try #require(lines.firstIndex(of: "    {"))
    let end = try #require(lines[start...].firstIndex(of: "    }"))
    let task = try FederationTask.decode(Array(lines[start...end].joined(separator: "\n").utf8))
    #expect(task.statistics?.questions.count == 6)
    let plan = try #require(lines.first { $0.contains("\"adaptiveClipping\": {") })
    let next = try #require(lines.drop { $0 != plan }.dropFirst().first)
    let json = plan.drop { $0 != "{" } + next
    let clipping = try JSONDecoder().decode(AdaptiveClippingPlan.self, from: Data(String(json).utf8))
    let training = try Fixture.task {
      $0.clipNorm = 4
      $0.adaptiveClipping = clipping
    }
    try training.validate()
  }
}
