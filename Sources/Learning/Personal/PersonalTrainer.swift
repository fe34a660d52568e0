/// Trains a node's own model of a network, on one thread, with memory that is allocated once.
///
/// What it gives depends on its arguments alone, never on what it did before.
package final class PersonalTrainer {
  private let model: NetworkModel
  private let settings: PersonalSettings
  private let shuffles: LocalShuffles
  private var step: Step
  private var gradient: [Float]

  /// Refuses models that are no networks, and settings that are not for the model.
  package init(model: Model, settings: PersonalSettings) throws(LearningError) {
    guard let network = model.implementation as? NetworkModel else {
      throw .invalidSetting(
        name: "the personalization", reason: "its local steps are those of linear models and networks")
    }
    try settings.validate(model: network)
    self.model = network
    self.settings = settings
    shuffles = LocalShuffles(epochs: settings.epochs)
    step = Step(model: network, rows: 0)
    gradient = [Float](repeating: 0, count: network.parameterCount)
  }

  /// The positions of the parameters that are trained.
  package var trained: Range<Int> { Self.range(of: settings.part, model) }

  private static func range(of part: NetworkPart, _ model: NetworkModel) -> Range<Int> {
    let head = model.layers[model.layers.count - 1].weightOffset
    return switch part {
    case .all: 0..<model.parameterCount
    case .body: 0..<head
    case .head: head..<model.parameterCount
    }
  }

  /// A model of a node's own as the next round finds it: layers that the node does not train are the global
  /// ones of the round. Without an own model, the global one.
  package func start(_ own: [Float]?, _ global: [Float]) -> [Float] {
    guard let own else { return global }
    var start = global
    start.replaceSubrange(trained, with: own[trained])
    return start
  }

  /// Where local SGD over all rows of the batch ends.
  ///
  /// - Parameters:
  ///   - start: the parameters that it starts from.
  ///   - anchor: what `proximal` pulls towards; as long as `start`.
  ///   - seed: of the order of the records.
  package func adapt(
    from start: [Float], anchor: [Float], batch: TrainingBatch, seed: UInt64
  ) throws(LearningError) -> [Float] {
    try check(start, anchor, batch)
    var own = start
    let (rate, pull) = (settings.learningRate, settings.learningRate * settings.proximal)
    let trained = trained
    forEachStep(batch, seed: seed) { step in
      step.gradient(at: own, into: &gradient)
      for index in trained {
        own[index] -= rate * gradient[index] + pull * (own[index] - anchor[index])
      }
    }
    return own
  }

  /// Moves a node's own model v and its share α of the mixture α v + (1 − α) w, each by the gradient of the
  /// mixture's loss (APFL: Deng et al., *Adaptive Personalized Federated Learning*, 2020, algorithm 1 with the
  /// update of α of section 4.2).
  ///
  /// - Parameters:
  ///   - own: v, which is changed.
  ///   - share: α, which is changed and stays from 0 to 1.
  ///   - global: w, the global model of this round.
  package func interpolate(
    own: inout [Float], share: inout Float, global: [Float], batch: TrainingBatch, seed: UInt64
  ) throws(LearningError) {
    try check(own, global, batch)
    var (v, alpha) = (own, share)
    let rate = settings.learningRate
    let trained = trained
    forEachStep(batch, seed: seed) { step in
      step.gradient(at: Self.mixed(v, alpha, global), into: &gradient)
      var slope: Float = 0
      for index in trained {
        slope += gradient[index] * (v[index] - global[index])
        v[index] -= rate * alpha * gradient[index]
      }
      let moved = alpha - rate * slope
      if moved.isFinite { alpha = min(max(moved, 0), 1) }
    }
    (own, share) = (v, alpha)
  }

  /// α v + (1 − α) w.
  package static func mixed(_ own: [Float], _ share: Float, _ global: [Float]) -> [Float] {
    // What diverged is nothing if nothing of it is taken.
    share == 0 ? global : zip(own, global).map { share * $0 + (1 - share) * $1 }
  }

  private func check(_ start: [Float], _ anchor: [Float], _ batch: TrainingBatch) throws(LearningError) {
    try model.check(count: start.count)
    try model.check(count: anchor.count)
    try batch.check(shape: model.shape, objective: model.objective)
  }

  /// Hands out every mini-batch of every epoch.
  private func forEachStep(_ batch: TrainingBatch, seed: UInt64, _ body: (Step) -> Void) {
    let rows = batch.labels.count
    guard rows > 0 else { return }
    let capacity = min(settings.batchSize, rows)
    if step.capacity < capacity { step = Step(model: model, rows: capacity) }
    step.shifts = settings.shifts(labels: batch.labels, objective: model.objective)
    let step = step
    batch.features.withInputRows { input in
      batch.labels.withUnsafeBufferPointer { labels in
        shuffles.forEachEpoch(rows: rows, seed: seed) { order in
          for first in stride(from: 0, to: rows, by: settings.batchSize) {
            step.gather(
              order + first, count: min(settings.batchSize, rows - first), input: input,
              labels: labels.baseAddress!)
            body(step)
          }
        }
      }
    }
  }

  /// The rows of a step and what is computed of them.
  private final class Step {
    let capacity: Int
    var shifts: [Float]?
    private let rows: GatheredRows
    private let workspace: Workspace

    init(model: NetworkModel, rows capacity: Int) {
      self.capacity = capacity
      rows = GatheredRows(columns: model.shape.columns, capacity: capacity)
      workspace = Workspace(network: model, rows: capacity)
    }

    func gather(
      _ order: UnsafePointer<Int32>, count: Int, input: InputRows, labels: UnsafePointer<Float>
    ) {
      rows.gather(order, count: count, input: input, labels: labels)
    }

    /// The mean gradient of the gathered rows.
    func gradient(at parameters: [Float], into gradient: inout [Float]) {
      let count = rows.count
      gradient.withUnsafeMutableBufferPointer { gradient in
        gradient.update(repeating: 0)
        parameters.withUnsafeBufferPointer { parameters in
          workspace.forward(parameters: parameters.baseAddress!, input: rows.input, rows: count)
          if let shifts { workspace.shiftScores(by: shifts, rows: count) }
          workspace.backward(parameters: parameters.baseAddress!, labels: rows.labels, rows: count)
        }
        workspace.addGradient(
          input: rows.input, first: 0, rows: count, scale: 1 / Float(count), to: gradient.baseAddress!)
      }
    }
  }
}
