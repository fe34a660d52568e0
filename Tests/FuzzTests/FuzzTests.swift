#if DEBUG
  import Testing

  @testable import FuzzTargets

  /// The short form of `make fuzz`: no libFuzzer, the seeds and some mutations of them, always the same ones.
  @Suite struct FuzzTests {
    /// Mutations of each target; a session of the state machines costs milliseconds, a decoder microseconds.
    private static func mutations(of target: FuzzTarget) -> Int {
      target.name.hasPrefix("aggregation") ? 200 : 300
    }

    @Test(arguments: FuzzTargets.all.map(\.name))
    func `keeps its promises on seeds and mutations of them`(name: String) throws {
      let target = try #require(FuzzTargets.named(name))
      let seeds = try target.seeds()
      #expect(!seeds.isEmpty && seeds.allSatisfy { $0.count <= target.maximumLength })
      for seed in seeds { try run(target, seed) }
      for number in 0..<Self.mutations(of: target) {
        var mutator = Mutator(seed: UInt64(number))
        try run(target, mutator.mutate(seeds[number % seeds.count]))
      }
    }

    private func run(_ target: FuzzTarget, _ bytes: [UInt8]) throws {
      do { try target.run(bytes) } catch {
        Issue.record("\(target.name): \(error); the input: \(bytes)")
      }
    }

    @Test func `honest scripts end with a sum, and one that asks for it too early does not`() throws {
      for starts in [AggregationScript.completeSnapshots, AggregationScript.sparseSnapshots] {
        let starts = try starts.get()
        for seed in AggregationScript.seeds.prefix(3) {
          #expect(try AggregationScript.play(seed, from: starts).isFinished)
        }
        #expect(try !AggregationScript.play([5, 18], from: starts).isFinished)
      }
    }

    @Test func `every target has a name of its own`() {
      #expect(Set(FuzzTargets.all.map(\.name)).count == FuzzTargets.all.count)
    }
  }
#endif
