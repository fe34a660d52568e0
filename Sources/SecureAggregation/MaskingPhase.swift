/// The parts of masking at a client and of unmasking at the server, for whoever measures them.
package enum MaskingPhase: Sendable, Hashable {
  /// Client: evidence, advertisements and shares are checked. Server: secrets are recovered from shares
  /// and checked against what was advertised.
  case recovering
  /// Pairs of keys agree on mask seeds.
  case agreeing
  /// So many masks are expanded and added.
  case expanding(masks: Int)
  /// The vector is reduced and packed or hashed.
  case concluding
}
