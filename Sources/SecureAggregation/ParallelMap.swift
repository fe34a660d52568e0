import Dispatch
import Synchronization

/// The results of `body` on every element, in order, computed on all cores. Of several errors that of the
/// first element is thrown, so that the outcome does not depend on the scheduling.
func parallelMap<Element: Sendable, Value: Sendable, Failure: Error>(
  _ elements: [Element], _ body: @Sendable (Element) throws(Failure) -> Value
) throws(Failure) -> [Value] {
  // Signatures and agreements take tens of microseconds each: pieces of eight pay for their dispatch.
  let pieceLength = 8
  let pieces = (elements.count + pieceLength - 1) / pieceLength
  guard pieces > 1 else {
    var values: [Value] = []
    for element in elements { values.append(try body(element)) }
    return values
  }
  let results = Mutex([[Result<Value, Failure>]](repeating: [], count: pieces))
  withoutActuallyEscaping(body) { body in
    DispatchQueue.concurrentPerform(iterations: pieces) { piece in
      let range = piece * pieceLength..<min((piece + 1) * pieceLength, elements.count)
      let part = elements[range].map { element in
        Result { () throws(Failure) in try body(element) }
      }
      results.withLock { $0[piece] = part }
    }
  }
  var values: [Value] = []
  values.reserveCapacity(elements.count)
  for part in results.withLock({ $0 }) {
    for result in part { values.append(try result.get()) }
  }
  return values
}
