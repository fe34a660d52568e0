import Learning

extension ModelDeclaration {
  /// `{kind: segments}`: customer segments by k-means or a Gaussian mixture. Labels are not looked at.
  static let segments = ModelDeclaration(
    kind: "segments", keys: ["method", "count", "smallest_share", "smallest_variance", "range"]
  ) { reader, own in
    _ = reader.require(own, "count", "the number of segments")
    let count = reader.integer(own, "count", in: 2...SegmentSettings.maximumCount, or: 2)
    let usual = SegmentSettings(count: count)
    func number(_ key: String, _ fallback: Float, _ range: ClosedRange<Double>) -> Float {
      Float(
        reader.number(own, key, "from \(range.lowerBound) to \(range.upperBound)", or: Double(fallback)) {
          range.contains($0)
        })
    }
    return .segments(
      SegmentSettings(
        method: reader.choice(own, "method", or: usual.method), count: count,
        smallestShare: number("smallest_share", usual.smallestShare, 0...0.5),
        range: number("range", usual.range, 0.001...1_000),
        smallestVariance: number("smallest_variance", usual.smallestVariance, 0.000_001...1)))
  }
}
