import Foundation

/// The independent verifier, which goes with every subject access package.
enum VerifierScript {
  /// `protocol/verify_ledger.py`, as it was when this program was built.
  static let bytes: [UInt8] = PackageResources.verify_ledger_py
}
