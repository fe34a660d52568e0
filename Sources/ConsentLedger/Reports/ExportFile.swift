package import Cryptography
import Foundation
import Storage

/// A large file that is written piece by piece beside its place and appears there when it is complete. What
/// was not published is removed with the object.
package final class ExportFile {
  /// The file's path.
  package let path: String
  private let partial: String
  private let handle: FileHandle
  private var buffer: [UInt8] = []
  private var hash = StreamingSHA256()

  /// The file's name without its directory.
  package var name: String { URL(fileURLWithPath: path).lastPathComponent }

  private static let bufferBytes = 1 << 20

  /// Begins a file that only its owner may read.
  package init(path: String) throws(LedgerError) {
    self.path = path
    partial = path + ".partial"
    do {
      try DurableFile.write([], to: partial)
      handle = try FileHandle(forUpdating: URL(fileURLWithPath: partial))
    } catch let error as StorageError {
      throw .storage(error)
    } catch {
      throw .storage(.missingFile(path: partial))
    }
  }

  deinit {
    try? handle.close()
    try? FileManager.default.removeItem(atPath: partial)
  }

  /// Adds text.
  package func write(_ text: String) throws(LedgerError) {
    buffer += text.utf8
    if buffer.count >= Self.bufferBytes { try flush() }
  }

  private func flush() throws(LedgerError) {
    do { try handle.write(contentsOf: Data(buffer)) } catch { throw failure("write") }
    hash.update(buffer)
    buffer = []
  }

  /// Makes what was written durable.
  /// - Returns: its SHA-256.
  package func finish() throws(LedgerError) -> Digest {
    try flush()
    do { try handle.synchronize() } catch { throw failure("write") }
    return hash.finalize()
  }

  /// Puts the file in its place; an older one is replaced.
  package func publish() throws(LedgerError) {
    guard rename(partial, path) == 0 else { throw failure("rename") }
  }

  /// Writes a small file durably.
  package static func write(_ bytes: [UInt8], to path: String) throws(LedgerError) {
    do { try DurableFile.write(bytes, to: path) } catch { throw .storage(error) }
  }

  private func failure(_ operation: String) -> LedgerError {
    .storage(.system(operation: operation, path: path, errno: errno))
  }
}
