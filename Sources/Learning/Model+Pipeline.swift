extension Model {
  /// The model for rows of a pipeline.
  ///
  /// - Throws: `LearningError` for settings that are impossible, or impossible with these features.
  package init(architecture: ModelArchitecture, pipeline: FeaturePipeline) throws(LearningError) {
    let shape = pipeline.shape(for: architecture.layout)
    try architecture.validate(shape: shape)
    self.init(architecture: architecture, shape: shape)
  }
}

extension Activation: CaseIterable {
  package static let allCases: [Activation] = [.relu, .gelu]
}
