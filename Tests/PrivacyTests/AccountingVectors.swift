import Foundation

/// The reference values of `../shared/vectors/accounting.json`; nil where that folder is absent.
struct AccountingVectors: Decodable {
  struct Sampled: Decodable {
    let sigma, q, delta, rdp, pld: Double
    let steps: Int
  }
  struct LogMoment: Decodable {
    let q, sigma, alpha, log_a: Double
  }
  struct Golden: Decodable {
    let q, sigma: Double
    let steps: Int
    let orders, rdp: [Double]
  }
  struct Skellam: Decodable {
    let d: Int
    let clip, scale, sigma_total, delta, delta2, delta1, rdp_at_8, epsilon: Double
    let steps: Int
  }
  struct Mass: Decodable { let variance, p0, p1: Double }
  struct Exact: Decodable { let variance, sensitivity, delta, epsilon: Double }
  struct Calibration: Decodable { let epsilon, delta, sigma: Double }
  struct FixedSize: Decodable {
    let sigma, delta, epsilon: Double
    let batch, population, steps: Int
  }
  struct Concentrated: Decodable { let rho, delta, epsilon: Double }
  struct DiscreteGaussian: Decodable {
    let sigma, delta, epsilon: Double
    let steps: Int
  }
  struct DiscreteGaussianMass: Decodable { let variance_parameter, p0, variance: Double }

  let poisson_subsampled_gaussian: [Sampled]
  let subsampled_gaussian_log_a: [LogMoment]
  let rdp_golden: Golden
  let skellam_rdp: [Skellam]
  let skellam_pmf: [Mass]
  let skellam_exact_1d: [Exact]
  let gaussian_calibration_sensitivity_1: [Calibration]
  let fixed_size_without_replacement_replace_one: [FixedSize]
  let zcdp_tight: [Concentrated]
  let discrete_gaussian_pld: [DiscreteGaussian]
  let discrete_gaussian_pmf: [DiscreteGaussianMass]

  static let file: URL? = {
    let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let folder =
      ProcessInfo.processInfo.environment["ACCORD_VECTORS_DIR"].map { URL(filePath: $0) }
      ?? root.deletingLastPathComponent().appending(path: "shared/vectors")
    let file = folder.appending(path: "accounting.json")
    return FileManager.default.isReadableFile(atPath: file.path) ? file : nil
  }()

  static var arePresent: Bool { file != nil }
  static let hint = "set ACCORD_VECTORS_DIR to the folder of accounting.json"

  static func load() throws -> AccountingVectors {
    guard let file else { throw CocoaError(.fileNoSuchFile) }
    return try JSONDecoder().decode(AccountingVectors.self, from: Data(contentsOf: file))
  }
}

/// |a − b| ≤ tolerance·|b|.
func isClose(_ a: Double, _ b: Double, relative tolerance: Double) -> Bool {
  abs(a - b) <= tolerance * abs(b)
}
