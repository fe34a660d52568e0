import Foundation

/// Epsilon as a function of delta: all that an accountant proves, not one point of it.
package struct PrivacyCurve: Sendable, Hashable {
  /// One guarantee.
  package struct Point: Codable, Sendable, Hashable {
    /// The delta.
    package let delta: Double
    /// The least epsilon that is proved at it; infinite where none is.
    package let epsilon: Double
  }

  /// What the curve is about; its epsilon and delta are those of the point that is pointed out.
  package let statement: PrivacyStatement
  /// In order of rising delta.
  package let points: [Point]

  /// The curve of everything that `accountant` composed, at `count` deltas evenly spaced in the logarithm.
  ///
  /// `range`: within (0, 1). `marked`: the delta of the point that is pointed out. Deltas that the accountant
  /// cannot resolve are left out. The unit, the mechanism's name and the trust mode are told, not checked.
  /// Throws: `parameterOutOfRange` for a delta outside (0, 1) or a count below 2.
  package init(
    accountant: some PrivacyAccountant, range: ClosedRange<Double> = 1e-12...1e-2, count: Int = 101,
    marked: Double, unit: PrivacyUnit, mechanism: String, trustMode: TrustMode
  ) throws(PrivacyError) {
    for delta in [range.lowerBound, range.upperBound, marked] {
      guard delta > 0, delta < 1 else { throw .parameterOutOfRange(.delta, value: delta) }
    }
    guard count >= 2 else { throw .parameterOutOfRange(.count, value: Double(count)) }
    let summary = try accountant.summary()
    let atMark = try summary.epsilon(delta: marked)
    statement = PrivacyStatement(
      epsilon: atMark.epsilon, delta: marked, unit: unit, relation: accountant.relation,
      mechanism: mechanism, trustMode: trustMode, accountant: accountant.kind)
    let (low, high) = (log(range.lowerBound), log(range.upperBound))
    var points: [Point] = []
    for index in 0..<count {
      // The ends are what was asked for, in spite of rounding.
      let delta =
        index == 0
        ? range.lowerBound
        : index == count - 1
          ? range.upperBound : exp(low + (high - low) * Double(index) / Double(count - 1))
      do throws(PrivacyError) {
        points.append(Point(delta: delta, epsilon: try summary.epsilon(delta: delta).epsilon))
      } catch {
        guard case .deltaBelowResolution = error else { throw error }
      }
    }
    self.points = points
  }

  /// Comma-separated rows under a header, each with all that gives epsilon its meaning.
  package var csv: String {
    func quoted(_ text: String) -> String {
      text.contains { ",\"\r\n".contains($0) } ? "\"\(text.replacing("\"", with: "\"\""))\"" : text
    }
    let about = [
      statement.unit.rawValue, statement.relation.rawValue, statement.mechanism,
      statement.trustMode.rawValue, statement.accountant?.rawValue ?? "",
    ].map(quoted).joined(separator: ",")
    let rows = points.map { point in
      "\(point.delta),\(point.epsilon.isFinite ? "\(point.epsilon)" : "inf"),\(about)"
    }
    return (["delta,epsilon,unit,neighbouring,mechanism,trust_mode,accountant"] + rows)
      .joined(separator: "\n") + "\n"
  }
}
