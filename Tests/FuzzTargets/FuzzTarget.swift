#if DEBUG
  /// A place where bytes of a peer, or of a file, enter the program: what libFuzzer runs (`make fuzz`), and
  /// what the tests run over the seeds and some mutations of them.
  ///
  /// Everything in this module needs `@testable` imports, hence a debug build (`make fuzz` optimises it all
  /// the same).
  package struct FuzzTarget: Sendable {
    /// Its name: lower case and hyphens; also that of its corpus.
    package let name: String
    /// Longer inputs are not tried, in bytes: enough for every branch, so that mutations stay cheap.
    package let maximumLength: Int
    /// Inputs that reach deep: real messages, made with keys that the harness holds.
    package let seeds: @Sendable () throws -> [[UInt8]]
    /// Handles one input. What is refused with the error type of the module is fine; a trap is libFuzzer's
    /// to catch.
    ///
    /// - Throws: `FuzzFinding` when the code under test broke a promise; nothing else.
    package let run: @Sendable ([UInt8]) throws -> Void

    init(
      _ name: String, maximumLength: Int = 4_096, seeds: @escaping @Sendable () throws -> [[UInt8]],
      run: @escaping @Sendable ([UInt8]) throws -> Void
    ) {
      self.name = name
      self.maximumLength = maximumLength
      self.seeds = seeds
      self.run = run
    }
  }

  /// A promise that does not hold.
  package struct FuzzFinding: Error, CustomStringConvertible {
    /// What happened, as a sentence.
    package let description: String

    init(_ description: String) { self.description = description }
  }

  /// Every target there is.
  package enum FuzzTargets {
    /// All targets; the two state machines last.
    package static let all: [FuzzTarget] =
      wire + messages + signed + texts + files + AggregationScript.targets

    /// The target of that name.
    package static func named(_ name: String) -> FuzzTarget? { all.first { $0.name == name } }
  }

  func expect(_ condition: Bool, _ finding: @autoclosure () -> String) throws(FuzzFinding) {
    if !condition { throw FuzzFinding(finding()) }
  }

  /// Decodes; if that succeeds, the value has to come back from its encoding. If there is but one encoding of
  /// a value (`isCanonical`), it has to be the input.
  func checkRoundTrip<Value: Equatable, Refusal: Error>(
    _ bytes: [UInt8], isCanonical: Bool, refusal: Refusal.Type,
    decode: ([UInt8]) throws -> Value, encode: (Value) throws -> [UInt8]
  ) throws(FuzzFinding) {
    guard let value = try attempt(refusal, { try decode(bytes) }) else { return }
    let encoded: [UInt8]
    do { encoded = try encode(value) } catch {
      throw FuzzFinding("what was decoded cannot be encoded: \(error)")
    }
    if isCanonical {
      try expect(encoded == bytes, "another encoding of the same value was accepted")
    }
    let again: Value
    do { again = try decode(encoded) } catch {
      throw FuzzFinding("what was encoded is refused: \(error)")
    }
    try expect(again == value, "a value changes by being encoded and decoded")
  }

  /// The result, or nil for a refusal of the type that is promised, which must have something to say.
  func attempt<Value, Refusal: Error>(
    _ refusal: Refusal.Type, _ body: () throws -> Value
  ) throws(FuzzFinding) -> Value? {
    do { return try body() } catch let error as Refusal {
      try expect(!"\(error)".isEmpty, "an error without a sentence")
      return nil
    } catch {
      throw FuzzFinding("refused with \(type(of: error)) instead of \(Refusal.self): \(error)")
    }
  }
#endif
