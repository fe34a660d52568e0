import Consent
import ConsentLedger
import Cryptography
import EdgeNode
import Federation

/// The policy that the demo's customers are asked under: the template for European retail, proposed by one
/// officer and approved by another.
enum DemoPolicy {
  /// How the demo's customers decide: at the till, on paper, in German.
  static let circumstances = ConsentRecorder.Circumstances(
    purpose: DemoPlan.purpose, jurisdiction: "DE", method: "signature", language: "de")

  /// Keeps the texts of the policy's notices at a node.
  static func storeNotices(_ vault: SubjectVault, _ policy: Policy) throws {
    let languages = Dictionary(
      policy.purposes.flatMap(\.notices).map { ($0.hash, $0.language) },
      uniquingKeysWith: { first, _ in first })
    for notice in PolicyTemplates.all.flatMap(\.notices) {
      guard let language = languages[Hash.sha256(Array(notice.utf8)).hex] else { continue }
      _ = try vault.storeNotice(notice, language: language)
    }
  }

  /// Makes two officers, with keys in the directory, and has them agree.
  static func agree(
    trust: TrustBundle, operatorKey: SigningKey, directory: String
  ) async throws -> Policy {
    guard let template = PolicyTemplates.all.first(where: { $0.name == "eu-retail" }) else {
      throw CommandFailure("the policy template eu-retail is missing from this program")
    }
    let policy = try PolicyFile.read(template.yaml, file: "eu-retail.yaml")
    let anna = try KeyFile.create(directory + "/officer-anna.key")
    let ben = try KeyFile.create(directory + "/officer-ben.key")
    _ = try await Enrolment.send(
      [("anna", anna), ("ben", ben)].map { name, key in
        .enrolment(EnrolmentRecord(nodeKey: key.verifyingKey, name: name, kind: .officer, validFromMs: 0))
      }, trust: trust, key: operatorKey)
    let record = PolicyRecord(document: policy.canonicalBytes, timeMs: Int64(nowMilliseconds()))
    _ = try await Enrolment.send([.policy(record)], trust: trust, key: anna)
    let approval = ApprovalRecord(
      id: try newEventID(), action: .policy, target: record.digest, text: "policy of the demo",
      timeMs: Int64(nowMilliseconds()))
    _ = try await Enrolment.send([.approval(approval)], trust: trust, key: ben)
    return policy
  }
}
