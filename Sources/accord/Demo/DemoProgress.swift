import AggregationServer
import Federation
import Foundation

/// Live progress: a table that grows, and on a terminal a line that tells what happens now.
final class DemoProgress {
  private let isQuiet: Bool
  private let isLive: Bool
  private var printed = 0
  private var hasHeader = false
  private var liveWidth = 0

  init(isQuiet: Bool) {
    self.isQuiet = isQuiet
    isLive = !isQuiet && Console.isTerminal
  }

  /// One sentence.
  func say(_ text: String) {
    guard !isQuiet else { return }
    clear()
    Console.write(text)
  }

  /// Shows rounds whose metrics have arrived, and the session under way.
  func show(_ status: FederationStatus) {
    guard !isQuiet, let task = status.tasks.last, let specification = task.specification.training else {
      return
    }
    let rounds = task.progress.rounds
    // The metrics of a round come with the session after it.
    let complete = task.progress.status == .running ? max(0, rounds.count - 1) : rounds.count
    while printed < complete {
      clear()
      if !hasHeader {
        Console.write(DemoTable.caption(specification))
        Console.write(DemoTable.header)
        hasHeader = true
      }
      Console.write(DemoTable.row(rounds[printed]))
      printed += 1
    }
    guard isLive, let session = status.session else { return }
    let what =
      session.kind == .training
      ? "round \(session.round)/\(specification.rounds)" : session.kind.rawValue
    let line =
      "\(what): \(session.phase), \(session.cohort) nodes, waiting for \(session.awaited), "
      + String(format: "%.1f s", Double(session.elapsedMilliseconds) / 1000)
    Console.writeRaw("\r" + line + String(repeating: " ", count: max(0, liveWidth - line.count)))
    liveWidth = line.count
  }

  private func clear() {
    guard isLive, liveWidth > 0 else { return }
    Console.writeRaw("\r" + String(repeating: " ", count: liveWidth) + "\r")
    liveWidth = 0
  }
}
