import Foundation
import Testing

@testable import Simulation

@Suite struct `Sweep outputs` {
  @Test func `writes a row per run with its guarantee and costs`() throws {
    let lines = ResultsCSV.text(try FakeSweep.results()).split(separator: "\n").map(String.init)
    #expect(lines.count == 19)
    #expect(
      lines[0].hasPrefix("scenario,sweep.cohort,sweep.privacy.epsilon,data,seed,epsilon,delta,unit,relation"))
    let row = lines[1].split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    #expect(row.count == lines[0].split(separator: ",").count)
    #expect(
      row[0...11] == [
        "fake <b>sweep</b>", "2", "1", "generated retail", "1", "1.0", "1e-05", "customer", "add/remove",
        "Skellam",
        "distributed", "rdp",
      ])
    #expect(lines.contains { $0.contains(",inf,1e-05,customer,,,,,") })
  }

  @Test func `quotes fields and takes the sting out of formulas`() {
    #expect(ResultsCSV.quoted("a,b") == "\"a,b\"" && ResultsCSV.quoted("a\"b") == "\"a\"\"b\"")
    #expect(ResultsCSV.quoted("=1+2") == "'=1+2" && ResultsCSV.quoted("-0.5") == "-0.5")
    #expect(ResultsCSV.quoted("two\nlines") == "\"two\nlines\"")
  }

  @Test func `reads back what it wrote, and refuses what is damaged`() throws {
    let scratch = try Scratch()
    let results = try FakeSweep.results()
    let bytes = try results.json()
    _ = try scratch.file(bytes, name: "results.json")
    #expect(try SweepResults.read(directory: scratch.directory.path) == results)
    for damaged in [
      Array(bytes.prefix(1000)), Array("{}".utf8),
      Array(String(decoding: bytes, as: UTF8.self).replacing("\"format\" : 1", with: "\"format\" : 9").utf8),
      Array(String(decoding: bytes, as: UTF8.self).replacing("\"data\" : 0", with: "\"data\" : 5").utf8),
    ] {
      _ = try scratch.file(damaged, name: "results.json")
      #expect(throws: ScenarioError.self) { try SweepResults.read(directory: scratch.directory.path) }
    }
    #expect(throws: ScenarioError.self) { try SweepResults.read(directory: "/nowhere") }
  }

  @Test func `shows every point on one page that needs nothing else`() throws {
    let results = try FakeSweep.results()
    let page = ReportPage(results, made: "2026-01-02").html
    for part in [
      "What privacy costs: AUC", "Learning curves", "How it differs between nodes", "Cost", "2026-01-02",
      "no noise (ε = ∞)", results.scenario.sha256, "accord test", "accord simulate &#39;fake.yaml&#39;",
      "1.2 kB", "2.40 MB", "computed", "Seeds", "add/remove, Skellam, distributed, rdp accountant",
    ] { #expect(page.contains(part), "\(part)") }
    for point in results.points {
      let median = try #require(point.spread(.auc)).median
      #expect(page.contains("<b>\(String(format: "%.3f", median))</b>"))
      let name = "cohort\u{A0}\(point.values[0]), ε\u{A0}\(FigureText.infinity(point.values[1]))"
      #expect(page.contains(name), "\(name)")
    }
    // A dot per seed of every private point, in each of the two panels.
    #expect(page.components(separatedBy: "seed 3: ").count - 1 == 4)
    #expect(page.components(separatedBy: "<figure>").count - 1 == 6)
  }

  @Test func `escapes names and refers to nothing outside`() throws {
    let page = ReportPage(try FakeSweep.results()).html
    #expect(page.contains("fake &lt;b&gt;sweep&lt;/b&gt;") && !page.contains("<b>sweep</b>"))
    #expect(page.contains("A note with &lt;i&gt;signs&lt;/i&gt;."))
    let harmless = page.replacing("http://www.w3.org/2000/svg", with: "")
    for part in ["http:", "https:", "<script", "src=", "@import", "url("] {
      #expect(!harmless.contains(part), "\(part)")
    }
    #expect(page.contains("default-src 'none'"))
    for tag in ["section", "table", "figure", "svg", "tr", "ul", "dl", "div"] {
      let opened = page.components(separatedBy: "<\(tag)").filter { [" ", ">"].contains($0.first) }.count
      #expect(page.components(separatedBy: "</\(tag)>").count - 1 == opened, "\(tag)")
    }
  }

  @Test func `draws a single point, one seed, and another field than epsilon`() throws {
    let single = FakeSweep.text.components(separatedBy: "\nseeds")[0]
    #expect(ReportPage(try FakeSweep.results(single)).html.contains("Results: AUC"))
    let cohorts = single + "\nsweep: {cohort: [2, 3, 4], model: [logistic, {hidden: [4]}]}"
    let page = ReportPage(try FakeSweep.results(cohorts)).html
    #expect(page.contains("cohort 2") && page.contains("cohort 4") && page.contains("logistic"))
  }

  @Test func `puts whole ticks around the figures`() {
    for (values, low, high) in [
      ([0.871, 0.902], 0.87, 0.91), ([0.5, 0.98], 0.5, 1), ([0.9, 0.9], 0.885, 0.915), ([0.2, 3.1], 0, 4),
    ] {
      let frame = PlotFrame(values: values, bounds: 0...10, labels: false)
      #expect(frame.low <= values[0] && frame.high >= values[1])
      #expect(frame.low >= low - 0.02 && frame.high <= high + 0.02, "\(values): \(frame.low) \(frame.high)")
    }
  }

  @Test func `summarises spreads`() throws {
    let spread = try #require(Spread([3, 1, .nan, 2, 4]))
    #expect(spread.low == 1 && spread.high == 4 && spread.median == 2.5 && spread.mean == 2.5)
    #expect(abs((spread.deviation ?? 0) - 1.2909944) < 1e-6)
    #expect(Spread([.infinity]) == nil && Spread([2])?.deviation == nil)
    #expect(abs(spread.quantile(0.1) - 1.3) < 1e-12)
  }
}

@Suite struct `Sweep comparison` {
  /// The usual tables, and Simpson's rule on the density.
  @Test func `agrees with known values of Student's distribution`() {
    for (t, freedom, p) in [
      (2.228139, 10.0, 0.05), (12.7062, 1, 0.05), (1.959964, 1e7, 0.05), (2.0, 5, 0.1019395),
      (0.5, 3, 0.6514480), (3.5581, 2.5, 0.0505078), (0, 4, 1),
    ] {
      #expect(abs(WelchTest.twoSided(t, freedom: freedom) - p) < 2e-6, "\(t), \(freedom)")
    }
    #expect(abs(WelchTest.quantile(freedom: 10) - 2.228139) < 1e-5)
    #expect(abs(WelchTest.twoSided(WelchTest.quantile(freedom: 2.5), freedom: 2.5) - 0.05) < 1e-9)
  }

  @Test func `tells noise from difference`() throws {
    let base = try FakeSweep.results()
    let same = SweepComparison(base, base)
    #expect(same.points.count == 6 && same.changes.isEmpty)
    #expect(same.points.allSatisfy { $0.isIdentical && $0.isBeyondNoise == false && $0.difference == 0 })
    let near = SweepComparison(base, try FakeSweep.results(shift: 0.0005))
    #expect(near.points.allSatisfy { $0.isBeyondNoise == false && !$0.isIdentical })
    let far = SweepComparison(base, try FakeSweep.results(shift: 0.05))
    #expect(far.points.allSatisfy { $0.isBeyondNoise == true && abs($0.difference - 0.05) < 1e-9 })
    #expect(far.table.contains("beyond noise (p < 0.001)") && far.table.contains(SweepComparison.rule))
    #expect(far.csv.split(separator: "\n").count == 7)
  }

  @Test func `corrects for the number of points`() throws {
    let (base, other) = (try FakeSweep.results(), try FakeSweep.results(shift: 0.0027))
    let all = SweepComparison(base, other)
    let one = FakeSweep.text.replacing("cohort: [2, 4]", with: "cohort: [2]")
      .replacing("[1, 8, inf]", with: "[1]")
    let single = SweepComparison(try FakeSweep.results(one), try FakeSweep.results(one, shift: 0.0027))
    let raw = try #require(single.points.first?.adjustedP)
    #expect(raw < 0.05 && single.points.first?.isBeyondNoise == true)
    #expect(all.points.allSatisfy { ($0.adjustedP ?? 0) > 0.05 && $0.isBeyondNoise == false })
  }

  @Test func `names what differs and which points are in one only`() throws {
    let other = FakeSweep.text.replacing("rounds: 3", with: "rounds: 5").replacing(
      "[1, 8, inf]", with: "[1, 4]"
    )
    .replacing("seeds: [1, 2, 3]", with: "seeds: [7]")
    let comparison = SweepComparison(try FakeSweep.results(), try FakeSweep.results(other))
    #expect(comparison.points.count == 2)
    #expect(comparison.onlyFirst.count == 4 && comparison.onlySecond.count == 2)
    #expect(comparison.points.allSatisfy { $0.isBeyondNoise == nil })
    #expect(comparison.table.contains("cannot be told from one seed"))
    let rounds = comparison.changes.first { $0.field == "setup.rounds" }
    #expect(rounds?.first == "3" && rounds?.second == "5")
    let fields = Set(comparison.changes.map(\.field))
    #expect(fields.isSuperset(of: ["seeds", "scenario.sha256", "sweep.privacy.epsilon"]))
  }
}
