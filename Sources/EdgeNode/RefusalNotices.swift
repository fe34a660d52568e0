import Consent
import ConsentLedger
import Cryptography
import Federation

/// The ledger entries about what this node refused: one for each task and reason, however often the server
/// asks. They name the rule and nothing of the node's data.
struct RefusalNotices {
  private var recorded: Set<EventID> = []

  /// The notice of a refusal; nil if it was recorded since the start or is not worth an entry.
  mutating func notice(
    of refusal: PolicyRefusal, task: Digest, node: (name: String, key: VerifyingKey), timeMs: Int64
  ) -> NoticeRecord? {
    guard let reason = RefusalNotices.reason(refusal) else { return nil }
    // The same after a restart: the ledger then refuses the second entry.
    let digest = Hash.blake2b(
      domain: "accord/v1/refusal-notice", [node.key.bytes, task.bytes, Array(reason.utf8)])
    guard let id = try? EventID(Array(digest.bytes.prefix(EventID.byteCount))),
      recorded.insert(id).inserted
    else { return nil }
    return NoticeRecord(
      id: id, kind: "refusal",
      text: "\(node.name) refused the task with digest \(task.hex.prefix(16))…: \(reason)", timeMs: timeMs)
  }

  private static func reason(_ refusal: PolicyRefusal) -> String? {
    switch refusal {
    case .purpose: "its purpose is not allowed at this node"
    case .replayedSession: "a session number was used before"
    case .weaker(let parameter, _, _): "\(parameter) is weaker than this node allows"
    case .budget: "the privacy budget of this node's customers does not allow it"
    case .tooFewContributors: "too few customers of this node agreed"
    // Passes by itself when the copy of the log has caught up.
    case .checkpoint: nil
    }
  }
}
