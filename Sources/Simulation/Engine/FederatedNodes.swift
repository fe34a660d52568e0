import Consent
import Cryptography
import Federation
import Learning
import Privacy
import Synchronization

/// The nodes' records on their way to contributions: everybody's consent is on record, and what fits into memory
/// is admitted and encoded once for all sessions.
final class FederatedNodes: Sendable {
  /// What a node's store holds, as the gate hands it out.
  struct Batches: Sendable {
    let training: ConsentedBatch<LabelledRecord>
    let heldOut: ConsentedBatch<LabelledRecord>
  }

  private struct Kept {
    var batches: [Int: Batches] = [:]
    var rows: [Int: EncodedContributors] = [:]
  }

  /// Bytes of rows that are kept at most.
  private static let mostBytes = 512 << 20
  /// Records that are kept as they were read.
  private static let mostRecords = 1 << 18
  /// When the simulated gate decides, ms of UTC since 1970.
  static let decidedAtMs: Int64 = 1_800_000_000_000

  private let population: any VirtualPopulation
  private let task: TaskSpecification
  private let kept = Mutex(Kept())

  init(_ population: any VirtualPopulation, task: TaskSpecification) {
    self.population = population
    self.task = task
  }

  /// The node's consented records, subjects and records in the order of a node's store.
  func batches(of node: Int) throws -> Batches {
    if let batches = kept.withLock({ $0.batches[node] }) { return batches }
    let batches = try admitted(node)
    if population.approximateRecordCount <= Self.mostRecords {
      kept.withLock { $0.batches[node] = batches }
    }
    return batches
  }

  /// The node's rows under a pipeline, which does not change within a run.
  func rows(
    of node: Int, _ pipeline: FeaturePipeline
  ) throws -> EncodedContributors {
    if let rows = kept.withLock({ $0.rows[node] }) { return rows }
    let batches = try batches(of: node)
    let rows = try EncodedContributors(
      training: batches.training, heldOut: batches.heldOut, pipeline: pipeline,
      architecture: task.architecture)
    let bytes = population.approximateRecordCount.multipliedReportingOverflow(
      by: MemoryLayout<Float>.size * (pipeline.featureCount + 1))
    if !bytes.overflow, bytes.partialValue <= Self.mostBytes {
      kept.withLock { kept in
        kept.rows[node] = rows
        kept.batches[node] = nil
      }
    }
    return rows
  }

  private func admitted(_ node: Int) throws -> Batches {
    var training: [String: [LabelledRecord]] = [:]
    var heldOut: [String: [LabelledRecord]] = [:]
    for record in try population.records(of: node) {
      let labelled = LabelledRecord(values: record.values, label: record.label)
      if record.isHeldOut {
        heldOut[record.subject, default: []].append(labelled)
      } else {
        training[record.subject, default: []].append(labelled)
      }
    }
    return Batches(training: try admitted(training), heldOut: try admitted(heldOut))
  }

  private func admitted(
    _ records: [String: [LabelledRecord]]
  ) throws -> ConsentedBatch<LabelledRecord> {
    // As SQLite orders text: by its UTF-8 bytes.
    let subjects = records.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    let candidates = try subjects.map { subject in
      let tag = try SubjectTag(
        Hash.blake2b(domain: "accord/simulation/subject", [Array(subject.utf8)]).bytes)
      return Candidate(
        subjectID: subject, tag: tag, events: [try agreement(tag)], records: records[subject, default: []])
    }
    return admit(
      candidates, purpose: task.consentPurpose, regime: task.regime, nowMs: Self.decidedAtMs)
  }

  /// The event with which a simulated contributor agreed.
  private func agreement(_ tag: SubjectTag) throws -> IndexedEvent {
    let id = try EventID(Array(tag.bytes.prefix(EventID.byteCount)))
    return IndexedEvent(
      index: LeafIndex(0),
      event: ConsentEvent(
        eventID: id, subject: tag, purpose: task.consentPurpose, state: .given, regime: task.regime,
        legalBasis: "eu-gdpr:A6-1-a", jurisdiction: "DE", channel: "simulation", method: "simulation",
        eventTimeMs: Self.decidedAtMs - 1, recorder: "simulation", recordID: id))
  }
}
