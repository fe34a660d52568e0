import Foundation
import Testing

@testable import Privacy

/// Calibration, event lists, curves.
struct AccountingToolTests {
  private func sampled(_ multiplier: Double, _ rate: Double, _ count: Int) -> [PrivacyEvent] {
    [
      PrivacyEvent(
        mechanism: .gaussian(noiseMultiplier: multiplier), sampling: .poisson(rate: rate), count: count)
    ]
  }

  private func epsilon(_ kind: AccountantKind, _ events: [PrivacyEvent]) throws -> Double {
    var accountant = kind.makeAccountant()
    try accountant.compose(all: events)
    return try accountant.epsilon(delta: 1e-5).epsilon
  }

  @Test(arguments: [AccountantKind.rdp, .pld])
  func `noise, releases and rates are found on the safe side`(_ kind: AccountantKind) throws {
    let budget = PrivacyBudget(epsilon: 2, delta: 1e-5)
    let noise = try Calibration.noise(forBudget: budget, accountant: kind) { self.sampled($0, 0.01, 1000) }
    #expect(noise.epsilon <= 2 && noise.epsilon > 1.9999)
    #expect(try epsilon(kind, sampled(noise.value, 0.01, 1000)) == noise.epsilon)
    #expect(try epsilon(kind, sampled(noise.value * (1 - 1e-5), 0.01, 1000)) > 2)
    let releases = try Calibration.releases(forBudget: budget, accountant: kind) { self.sampled(1, 0.01, $0) }
    #expect(try epsilon(kind, sampled(1, 0.01, releases.value)) <= 2)
    #expect(try epsilon(kind, sampled(1, 0.01, releases.value + 1)) > 2)
    let rate = try Calibration.samplingRate(forBudget: budget, accountant: kind) { self.sampled(1, $0, 1000) }
    #expect(rate.epsilon <= 2 && rate.epsilon > 1.9999)
  }

  @Test func `what no value meets is refused, and what any meets is the end of the range`() throws {
    let budget = PrivacyBudget(epsilon: 1, delta: 1e-5)
    let pure = PrivacyEvent(mechanism: .pureEpsilon(epsilon: 2))
    #expect(throws: PrivacyError.targetUnreachable(.count, from: 1, to: 0x1p30, budget: budget)) {
      try Calibration.releases(forBudget: budget, accountant: .rdp) { _ in [pure] }
    }
    #expect(
      throws: PrivacyError.targetUnreachable(.noiseMultiplier, from: 1e-3, to: 1e6, budget: budget)
    ) { try Calibration.noise(forBudget: budget, accountant: .rdp) { _ in [pure] } }
    #expect(throws: PrivacyError.infiniteBudgetNeedsNoNoise) {
      try Calibration.noise(forBudget: PrivacyBudget(epsilon: .infinity, delta: 1e-5)) { _ in [] }
    }
    #expect(throws: PrivacyError.self) {
      try Calibration.noise(forBudget: budget, accountant: .rdp, fixed: [pure]) { _ in [] }
    }
    #expect(try Calibration.samplingRate(forBudget: budget) { self.sampled(9, $0, 1) }.value == 1)
  }

  private func list(_ json: String) throws(PrivacyError) -> EventList {
    try EventList(json: Array(json.utf8))
  }

  @Test func `a list reads with its defaults, as an object and as an array`() throws {
    let short = try list(#"[{"mechanism": {"kind": "laplace", "noiseMultiplier": 20}}]"#)
    #expect(short == EventList(events: [PrivacyEvent(mechanism: .laplace(noiseMultiplier: 20))]))
    let long = try list(
      """
      {"unit": "record", "relation": "replace-one", "trustMode": "local", "events": [
        {"mechanism": {"kind": "gaussian", "noiseMultiplier": 1.1},
         "sampling": {"kind": "fixedSizeWithoutReplacement", "sampled": 3, "population": 10}, "count": 7},
        {"mechanism": {"kind": "matrixGaussian", "noiseMultiplier": 9, "sensitivity": 2}}]}
      """)
    #expect(long.unit == .record && long.relation == .replaceOne && long.trustMode == .local)
    #expect(long.events.count == 2 && long.events[0].count == 7)
    #expect(long.mechanismNames == "Gaussian + matrix mechanism")
    #expect(try long.account(.rdp).epsilon(delta: 1e-6).epsilon > 0)
    #expect(throws: PrivacyError.self) { try long.account(.pld) }
  }

  @Test(arguments: [
    ("[", "the file"), ("[]", "events"), ("{}", "events"), ("7", "the file"),
    (#"{"event": []}"#, "event"),
    (#"{"events": [{"mechanism": {"kind": "gaussian"}}]}"#, "events[0].mechanism.noiseMultiplier"),
    (#"[{"mechanism": {"kind": "none"}}, {"sampling": {"kind": "none"}}]"#, "events[1].mechanism"),
    (
      #"[{"mechanism": {"kind": "gaussian", "noiseMultiplier": "one"}}]"#,
      "events[0].mechanism.noiseMultiplier"
    ),
    (#"[{"mechanism": {"kind": "gausian", "noiseMultiplier": 1}}]"#, "events[0].mechanism"),
    (#"[{"mechanism": {"kind": "laplace", "b": 1}}]"#, "events[0].mechanism"),
    (#"[{"mechanism": {"kind": "none"}, "sampling": {"kind": "shuffled"}}]"#, "events[0].sampling"),
    (#"[{"mechanism": {"kind": "none"}, "times": 3}]"#, "events[0].times"),
    (#"[{"mechanism": {"kind": "none"}, "count": 0}]"#, "events[0].count"),
    (#"[{"mechanism": {"kind": "none"}, "count": 1.5}]"#, "events[0].count"),
    (#"{"unit": "house", "events": [{"mechanism": {"kind": "none"}}]}"#, "unit"),
  ])
  func `a mistake in a list is named with its place`(_ json: String, _ place: String) {
    do throws(PrivacyError) {
      _ = try list(json)
      Issue.record("\(json) was read")
    } catch {
      guard case .malformedEventList(place, _) = error else {
        Issue.record("\(json): \(error)")
        return
      }
    }
  }

  private func curve(_ kind: AccountantKind, mechanism: String = "Gaussian") throws -> PrivacyCurve {
    var accountant = kind.makeAccountant()
    try accountant.compose(all: sampled(1, 0.01, 1000))
    return try PrivacyCurve(
      accountant: accountant, range: 1e-10...1e-2, count: 33, marked: 1e-5, unit: .customer,
      mechanism: mechanism, trustMode: .central)
  }

  @Test func `a curve falls, ends where it was asked to, and its rows carry their meaning`() throws {
    let curve = try curve(.pld)
    #expect(curve.points.count == 33)
    #expect(curve.points.first?.delta == 1e-10 && curve.points.last?.delta == 1e-2)
    #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.epsilon > $1.epsilon })
    let rows = curve.csv.split(separator: "\n")
    #expect(rows.count == 34)
    #expect(rows[0] == "delta,epsilon,unit,neighbouring,mechanism,trust_mode,accountant")
    #expect(rows[1].hasPrefix("1e-10,") && rows[1].hasSuffix(",customer,add/remove,Gaussian,central,pld"))
    let odd = try self.curve(.rdp, mechanism: "a \"b\", c")
    #expect(odd.csv.contains(#","a ""b"", c","#))
  }

  @Test func `a plot is well-formed, says what it shows, and escapes names`() throws {
    let svg = CurvePlot([try curve(.pld), try curve(.rdp, mechanism: "<b>&\"")]).svg
    let parser = XMLCheck()
    #expect(parser.isWellFormed(svg))
    for text in ["delta", "epsilon", "add/remove", "customer", "pld accountant", "&lt;b&gt;&amp;&quot;"] {
      #expect(svg.contains(text), "\(text)")
    }
    #expect(svg.components(separatedBy: "<polyline").count == 3)
    #expect(!svg.contains("nan") && !svg.contains("inf "))
    #expect(CurvePlot([]).svg.hasSuffix("</svg>\n"))
  }

  @Test func `an axis ends at or above its largest value in steps of 1, 2 or 5`() {
    for largest in [0.003, 0.07, 1, 4.2, 7.99, 8, 33, 512, 9.9e7] {
      let (top, tick) = CurvePlot.axis(to: largest)
      #expect(top >= largest && top <= largest * 1.6, "\(largest): \(top)")
      #expect((2...9).contains(Int((top / tick).rounded())), "\(largest): \(top), \(tick)")
    }
  }

  @Test func `a statement names its accountant, and one without reads as before`() throws {
    var statement = PrivacyStatement(
      epsilon: 1, delta: 1e-5, unit: .node, relation: .replaceOne, mechanism: "Laplace", trustMode: .local,
      accountant: .pld)
    #expect(
      statement.description == "ε = 1.00 at δ = 1e-05 per node (replace-one, Laplace, local, pld accountant)")
    let data = try JSONEncoder().encode(statement)
    #expect(try JSONDecoder().decode(PrivacyStatement.self, from: data) == statement)
    statement.accountant = nil
    let old = try JSONEncoder().encode(statement)
    #expect(!String(decoding: old, as: UTF8.self).contains("accountant"))
    #expect(try JSONDecoder().decode(PrivacyStatement.self, from: old) == statement)
  }
}

/// Whether tags nest and every ampersand begins an entity: enough to catch a picture that does not open.
private struct XMLCheck {
  func isWellFormed(_ text: String) -> Bool {
    var open: [Substring] = []
    for piece in text.split(separator: "<") {
      guard let end = piece.firstIndex(of: ">") else { return piece.allSatisfy(\.isWhitespace) }
      let tag = piece[..<end]
      if tag.hasPrefix("/") {
        guard open.popLast() == tag.dropFirst() else { return false }
      } else if !tag.hasSuffix("/") {
        open.append(tag.prefix { $0 != " " && $0 != "\n" })
      }
    }
    let entities = text.components(separatedBy: "&").dropFirst()
    let known = ["amp;", "lt;", "gt;", "quot;"]
    return open.isEmpty && entities.allSatisfy { entity in known.contains { entity.hasPrefix($0) } }
  }
}
