import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1

/// Reads public files over HTTP from code that waits: `ledger verify --from URL` asks for tiles from threads of
/// its own.
enum PlainFetch {
  /// Larger files are refused: a bundle has at most 256 leaves of 60,000 bytes.
  private static let limit = 1 << 24

  /// The bytes, nil for 404. Throws a sentence for everything else.
  static func get(_ url: URL) throws -> [UInt8]? {
    let result = Box()
    let done = DispatchSemaphore(value: 0)
    Task.detached {
      do { result.value = .success(try await fetch(url)) } catch { result.value = .failure(error) }
      done.signal()
    }
    done.wait()
    return try result.value.get()
  }

  /// Written once before the semaphore is signalled, read once after.
  private final class Box: @unchecked Sendable {
    // The semaphore orders the one write before the one read.
    var value: Result<[UInt8]?, any Error> = .success(nil)
  }

  private static func fetch(_ url: URL) async throws -> [UInt8]? {
    let response: HTTPClientResponse
    do {
      response = try await HTTPClient.shared.execute(
        HTTPClientRequest(url: url.absoluteString), timeout: .seconds(30))
    } catch { throw CommandFailure("cannot reach \(url.absoluteString): \(error)") }
    if response.status == .notFound { return nil }
    guard response.status == .ok else {
      throw CommandFailure("\(url.absoluteString) answered with status \(response.status.code)")
    }
    return Array(buffer: try await response.body.collect(upTo: limit))
  }
}
