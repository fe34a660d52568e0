import Consent
import ConsentLedger
import Cryptography
import Foundation

/// How each planned event comes about.
extension FaultWorld {
  func strike(_ event: FaultEvent) throws {
    counts[event.kind, default: 0] += 1
    note("FAULT \(event.sentence)")
    guard !isHealed else { return }
    switch event.kind {
    case .lose, .duplicate, .delay, .cut:
      let permille: UInt64 = event.kind == .cut ? 1000 : 200 + event.choice % 500
      weather.removeAll { $0.untilMs <= now }
      weather.append(
        Weather(kind: event.kind, party: event.party, untilMs: now + event.lengthMs, permille: permille))
    case .crash, .powerLoss: try stop(event)
    case .crashInWrite, .powerLossInWrite: arm(event)
    case .clockStep:
      let step = Int64(event.choice % 20_000) - 10_000
      skewMs[event.party + 1] = step
    case .withdraw, .agree:
      let customers = federation.customers(of: event.party)
      // The first customer of every node stays, so that no node is left without any.
      let customer = customers[1 + Int(event.choice % UInt64(customers.count - 1))]
      guard let node = nodes[event.party] else { return }
      do { try node.decide(customer, event.kind == .agree ? .given : .withdrawn) } catch is SimulatedCrash {
        try crashNode(event.party)
      }
    case .garbage, .forgery, .replay, .wrongShares, .equivocation, .garbageInput:
      nodes[event.party]?.malice.insert(event.kind)
    case .splitSurvivors, .fewSurvivors, .bothShares, .weakerParameters, .oldDescriptor, .forkedLog,
      .shortLog, .staleCheckpoint:
      break
    }
  }

  private func fraction(_ event: FaultEvent) -> Double { Double(event.choice >> 32 & 0xffff) / 65_536 }

  private func stop(_ event: FaultEvent) throws {
    let isPowerLoss = event.kind == .powerLoss
    if event.party < 0 {
      guard server != nil else { return }
      try serverDisk.halt(isPowerLoss: isPowerLoss, fraction: fraction(event))
      if isPowerLoss { try plantLostSync() }
      try crashServer(afterMs: event.lengthMs)
    } else {
      guard nodes[event.party] != nil else { return }
      try nodeDisks[event.party].halt(isPowerLoss: false, fraction: 0)
      try crashNode(event.party, afterMs: event.lengthMs)
    }
  }

  private func arm(_ event: FaultEvent) {
    let disk = event.party < 0 ? serverDisk : nodeDisks[event.party]
    let places: [CrashPlace] = [.before, .within, .after]
    disk.armed = ArmedCrash(
      writesLeft: Int(event.choice >> 8 & 7) % (event.party < 0 ? 5 : 8),
      place: places[Int(event.choice % 3)], isPowerLoss: event.kind == .powerLossInWrite,
      fraction: fraction(event),
      step: CommitStep.allCases[Int(event.choice >> 16 & 0xff) % CommitStep.allCases.count])
  }

  /// The planted mistake of a ledger that does not wait for the disk: power loss takes what it acknowledged last.
  private func plantLostSync() throws {
    let kept = base + "/kept-ledger"
    guard bug == .ledgerNotSynced, FileManager.default.fileExists(atPath: kept) else { return }
    try serverDisk.replaceImage(
      by: kept, files: ["ledger.sqlite", "ledger.sqlite-wal", "ledger-signer.note"])
  }
}
