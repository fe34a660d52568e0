/// What a batch of draws costs, told by the sampler itself.
///
/// The samplers are generic over a meter; production code passes `NoMeter`, whose calls compile to
/// nothing, so the code that a test measures is the code that runs.
protocol WorkMeter {
  /// This many bytes were asked of the random stream.
  mutating func drewRandomBytes(_ count: Int)
  /// One table entry was read.
  mutating func probed()
  /// One result was written.
  mutating func wrote()
}

/// Counts nothing.
struct NoMeter: WorkMeter {
  @inline(__always) mutating func drewRandomBytes(_ count: Int) {}
  @inline(__always) mutating func probed() {}
  @inline(__always) mutating func wrote() {}
}

/// Counts everything, for the tests that no count depends on the values drawn.
struct WorkCounts: WorkMeter, Hashable, Sendable {
  var randomBytes = 0
  var probes = 0
  var writes = 0

  mutating func drewRandomBytes(_ count: Int) { randomBytes += count }
  mutating func probed() { probes += 1 }
  mutating func wrote() { writes += 1 }
}
