import Cryptography
import Learning
import Privacy
import Simulation

/// A federated training run on a table, for audits: local training, server optimiser and a model that moves from
/// round to round, with canaries among the contributors. Features are agreed without noise, since an audit
/// releases nothing to anybody.
struct TrainingRelease: AuditedRelease {
  private var mechanism: DistributedRelease
  private let trainer: LocalTrainer
  private let batch: TrainingBatch
  private var parameters: [Float]
  private var optimizer: ServerOptimizer
  private var round: UInt64 = 0

  var clip: IntegerClip { mechanism.clip }

  /// The model that a table asks for and the batch of everybody who trains it.
  static func prepare(_ table: LabelledTable, hidden: Int) throws -> (model: Model, batch: TrainingBatch) {
    let people = Dictionary(grouping: table.records.filter { !$0.isHeldOut }, by: \.subject)
      .sorted { $0.key < $1.key }.map(\.value)
    func total(_ dimension: Int, _ vector: ([RawRecord]) throws -> [Float]) throws -> [Double] {
      var sum = [Double](repeating: 0, count: dimension)
      for person in people {
        for (index, value) in try vector(person.map(\.values)).enumerated() { sum[index] += Double(value) }
      }
      return sum
    }
    let coarse = CoarseStatistics(schema: table.schema)
    let bounds = try coarse.decode(
      sum: total(coarse.dimension, coarse.contribution(of:)), noiseStdDev: 0)
    let fine = try FineStatistics(schema: table.schema, bounds: bounds)
    let pipeline = try fine.decode(
      sum: total(fine.dimension, fine.contribution(of:)), noiseStdDev: 0,
      quantileBins: TrainingDefaults.standard.quantileBins)
    var offsets = [0]
    for person in people { offsets.append(offsets[offsets.count - 1] + person.count) }
    let records = people.flatMap { $0 }
    return (
      Model(architecture: .multiLayerPerceptron(hidden: [hidden]), inputs: pipeline.featureCount),
      try TrainingBatch(
        features: pipeline.encode(records.map(\.values)), labels: records.map(\.label),
        contributorOffsets: offsets)
    )
  }

  init(mechanism: DistributedRelease, model: Model, batch: TrainingBatch, seed: UInt64) {
    self.mechanism = mechanism
    self.batch = batch
    trainer = LocalTrainer(model: model, algorithm: TrainingDefaults.standard.algorithm)
    parameters = model.architecture.initialParameters(inputs: model.inputs, seed: seed)
    optimizer = ServerOptimizer(
      kind: TrainingDefaults.standard.optimizer, parameterCount: model.parameterCount)
  }

  mutating func release(canaries: [CanaryUpdate]) throws(AuditError) -> AuditedSum {
    var updates: [[Float]] = []
    do {
      try trainer.forEachUpdate(parameters: parameters, batch: batch, seed: round) { _, update in
        updates.append(Array(update))
      }
    } catch {
      throw .release("\(error)")
    }
    let sum = mechanism.release(canaries: canaries, others: updates)
    let divisor = clip.scale * Double(max(1, updates.count))
    optimizer.apply(update: sum.noised.map { Float(Double($0) / divisor) }, to: &parameters)
    round += 1
    return sum
  }
}
