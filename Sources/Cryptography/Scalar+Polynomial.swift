import CSodium

/// The loops over many scalars: on one flat, wiped buffer instead of an object per intermediate value.
extension Scalar {
  private typealias Bytes = UnsafeMutablePointer<UInt8>

  /// Lends a wiped buffer of `count` scalars, zero at first.
  private static func withScratch<Value>(_ count: Int, _ body: (Bytes) -> Value) -> Value {
    var value: Value?
    _ = SecretBytes(count: count * 32) { value = body($0.baseAddress!.assumingMemoryBound(to: UInt8.self)) }
    return value!
  }

  private static func load(_ scalar: Scalar, into target: Bytes) {
    scalar.secretBytes.withBytes {
      UnsafeMutableRawBufferPointer(start: target, count: 32).copyMemory(from: $0)
    }
  }

  private static func load(_ number: UInt64, into target: Bytes) {
    let raw = UnsafeMutableRawBufferPointer(start: target, count: 32)
    raw.initializeMemory(as: UInt8.self, repeating: 0)
    raw.storeBytes(of: number.littleEndian, as: UInt64.self)
  }

  private static func store(_ source: Bytes) -> Scalar {
    Scalar(
      reduced: SecretBytes(count: 32) {
        $0.copyMemory(from: UnsafeRawBufferPointer(start: source, count: 32))
      })
  }

  /// The values of a polynomial, constant coefficient first, at small public numbers (Horner).
  package static func evaluate(_ coefficients: [Scalar], at xs: [UInt64]) -> [Scalar] {
    guard !coefficients.isEmpty else { return xs.map { _ in Scalar(0) } }
    return withScratch(coefficients.count + 3) { scratch in
      for (index, coefficient) in coefficients.enumerated() { load(coefficient, into: scratch + index * 32) }
      let x = scratch + coefficients.count * 32
      let value = x + 32
      let product = value + 32
      return xs.map { number in
        load(number, into: x)
        value.update(from: scratch + (coefficients.count - 1) * 32, count: 32)
        for index in stride(from: coefficients.count - 2, through: 0, by: -1) {
          crypto_core_ristretto255_scalar_mul(product, value, x)
          crypto_core_ristretto255_scalar_add(value, product, scratch + index * 32)
        }
        return store(value)
      }
    }
  }

  /// The product of public 64-bit numbers.
  package static func product(of numbers: some Sequence<UInt64>) -> Scalar {
    withScratch(3) { scratch in
      let factor = scratch + 32
      let result = factor + 32
      load(1, into: scratch)
      for number in numbers {
        load(number, into: factor)
        crypto_core_ristretto255_scalar_mul(result, scratch, factor)
        scratch.update(from: result, count: 32)
      }
      return store(scratch)
    }
  }

  /// Σ weight·value over two lists of the same length.
  package static func weightedSum(_ weights: [Scalar], _ values: [Scalar]) -> Scalar {
    precondition(weights.count == values.count, "every value has its weight")
    return withScratch(5) { sum in
      let weight = sum + 32
      let value = weight + 32
      let product = value + 32
      let result = product + 32
      for index in weights.indices {
        load(weights[index], into: weight)
        load(values[index], into: value)
        crypto_core_ristretto255_scalar_mul(product, weight, value)
        crypto_core_ristretto255_scalar_add(result, sum, product)
        sum.update(from: result, count: 32)
      }
      return store(sum)
    }
  }

  /// The inverses of non-zero scalars, times one common factor, at the price of one inversion
  /// (Montgomery's trick).
  package static func inverses(_ scalars: [Scalar], times factor: Scalar) -> [Scalar] {
    guard !scalars.isEmpty else { return [] }
    let count = scalars.count
    return withScratch(2 * count + 2) { values in
      let products = values + count * 32
      let running = products + count * 32
      let result = running + 32
      for (index, scalar) in scalars.enumerated() { load(scalar, into: values + index * 32) }
      products.update(from: values, count: 32)
      for index in 1..<max(1, count) {
        crypto_core_ristretto255_scalar_mul(
          products + index * 32, products + (index - 1) * 32, values + index * 32)
      }
      let status = crypto_core_ristretto255_scalar_invert(result, products + (count - 1) * 32)
      precondition(status == 0, "only non-zero scalars are inverted together")
      load(factor, into: running)
      crypto_core_ristretto255_scalar_mul(running, result, running)
      var inverses = scalars
      for index in stride(from: count - 1, to: 0, by: -1) {
        crypto_core_ristretto255_scalar_mul(result, running, products + (index - 1) * 32)
        inverses[index] = store(result)
        crypto_core_ristretto255_scalar_mul(running, running, values + index * 32)
      }
      inverses[0] = store(running)
      return inverses
    }
  }
}
