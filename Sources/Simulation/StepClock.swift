import CMalloc
import Foundation
import SecureAggregation

/// Sums up wall-clock and processor time by step.
struct StepClock {
  private(set) var steps: [SecureAggregationBenchmark.Step]

  init(_ names: [String]) { steps = names.map { SecureAggregationBenchmark.Step(name: $0) } }

  /// Adds the time of `body` to a step.
  mutating func time<Value>(_ step: Int, _ body: () throws -> Value) rethrows -> Value {
    let (start, cpu) = (ContinuousClock.now, Self.processorSeconds)
    defer {
      steps[step].seconds += (ContinuousClock.now - start).inSeconds
      steps[step].coreSeconds += Self.processorSeconds - cpu
    }
    return try body()
  }

  /// Adds the time between the phases that `body` reports to four steps: recovering, agreeing, expanding,
  /// concluding.
  mutating func time<Value>(
    phases: [Int], _ body: ((MaskingPhase) -> Void) throws -> Value
  ) rethrows -> Value {
    var last = (phases[0], ContinuousClock.now, Self.processorSeconds)
    func enter(_ step: Int) {
      let now = (step, ContinuousClock.now, Self.processorSeconds)
      steps[last.0].seconds += (now.1 - last.1).inSeconds
      steps[last.0].coreSeconds += now.2 - last.2
      last = now
    }
    defer { enter(phases[0]) }
    return try body { phase in
      switch phase {
      case .recovering: enter(phases[0])
      case .agreeing: enter(phases[1])
      case .expanding: enter(phases[2])
      case .concluding: enter(phases[3])
      }
    }
  }

  /// Seconds of all steps whose name starts so.
  func total(prefix: String) -> Double {
    steps.filter { $0.name.hasPrefix(prefix) }.reduce(0) { $0 + $1.seconds }
  }

  /// Processor seconds of all steps.
  var coreTotal: Double { steps.reduce(0) { $0 + $1.coreSeconds } }

  /// User and system time of this process so far.
  private static var processorSeconds: Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }
}

extension Duration {
  /// The duration in seconds.
  package var inSeconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }
}

/// Memory of this process (Linux).
enum ProcessMemory {
  /// Lets all threads allocate from one arena, so that `inUse` sees everything. Call once, early.
  static func useOneArena() { _ = mallopt(-8 /* M_ARENA_MAX */, 1) }

  /// Bytes that are allocated now.
  static var inUse: Int {
    let info = mallinfo2()
    return Int(info.uordblks) + Int(info.hblkhd)
  }

  /// Bytes that are resident now.
  static var resident: Int { field("VmRSS:") }

  /// The most bytes that were resident since the start or the last `forgetPeak`.
  static var peakResident: Int { field("VmHWM:") }

  /// Starts a new peak.
  static func forgetPeak() { try? Data("5".utf8).write(to: URL(filePath: "/proc/self/clear_refs")) }

  private static func field(_ name: String) -> Int {
    guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8) else { return 0 }
    for line in text.split(separator: "\n") where line.hasPrefix(name) {
      let number = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
      return (number.flatMap { Int($0) } ?? 0) * 1_024
    }
    return 0
  }
}
