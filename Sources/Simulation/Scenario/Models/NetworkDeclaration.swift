import Learning

extension ModelDeclaration {
  /// `{kind: linear}`: logistic, softmax or Poisson regression and their like.
  static let linear = ModelDeclaration(kind: "linear", keys: ["objective", "classes", "delta", "power"]) {
    reader, own in
    .network(NetworkSettings(objective: reader.objective(own)))
  }

  /// `{kind: network}`: hidden layers. With columns of words the first layer is an embedding bag.
  static let network = ModelDeclaration(
    kind: "network", keys: ["hidden", "activation", "dropout", "objective", "classes", "delta", "power"]
  ) { reader, own in
    _ = reader.require(own, "hidden", "the units of each hidden layer")
    return .network(
      NetworkSettings(
        hidden: reader.hidden(own), activation: reader.choice(own, "activation", or: Activation.relu),
        dropout: Float(
          reader.number(own, "dropout", "from 0 to \(NetworkSettings.maximumDropout)", or: 0) {
            $0 >= 0 && Float($0) <= NetworkSettings.maximumDropout
          }), objective: reader.objective(own)))
  }
}
