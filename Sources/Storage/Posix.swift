import Foundation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the operating system calls an error number.
func systemMessage(_ code: Int32) -> String { String(cString: strerror(code)) }

/// The few system calls that durability needs and Foundation does not offer.
enum Posix {
  static func failure(_ operation: String, _ path: String) -> StorageError {
    .system(operation: operation, path: path, errno: errno)
  }

  static func openFile(_ path: String, _ flags: Int32, mode: mode_t = 0o600) throws(StorageError) -> Int32 {
    let descriptor = open(path, flags | O_CLOEXEC, mode)
    guard descriptor >= 0 else {
      throw errno == ENOENT ? .missingFile(path: path) : failure("open", path)
    }
    return descriptor
  }

  static func writeAll(_ descriptor: Int32, _ bytes: [UInt8], path: String) throws(StorageError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = write(descriptor, rest, rest.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failure("write", path) }
      rest.removeFirst(count)
    }
  }

  static func readAll(_ descriptor: Int32, limit: Int, path: String) throws(StorageError) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while bytes.count <= limit {
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", path) }
      if count == 0 { break }
      bytes.append(contentsOf: buffer[..<count])
    }
    return bytes
  }

  static func sync(_ descriptor: Int32, path: String) throws(StorageError) {
    guard fsync(descriptor) == 0 else { throw failure("make durable", path) }
  }

  static func syncDirectory(_ path: String) throws(StorageError) {
    let descriptor = try openFile(path, O_RDONLY | O_DIRECTORY)
    defer { close(descriptor) }
    try sync(descriptor, path: path)
  }

  /// The permission bits of an open file.
  static func permissions(_ descriptor: Int32, path: String) throws(StorageError) -> mode_t {
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw failure("inspect", path) }
    return info.st_mode & 0o7777
  }

  static func parent(of path: String) -> String {
    let parent = (path as NSString).deletingLastPathComponent
    return parent.isEmpty ? "." : parent
  }
}

/// Files that are there completely or not at all, also after power loss.
package enum DurableFile {
  /// Replaces a file: the bytes go to a new file of mode 0600 in the same directory, are made durable, take
  /// the old name, and the directory is made durable. After an error either version may be there.
  package static func write(_ bytes: [UInt8], to path: String) throws(StorageError) {
    let staged = path + ".new"
    // What a crash left under this name was never in force.
    unlink(staged)
    let descriptor = try Posix.openFile(staged, O_WRONLY | O_CREAT | O_EXCL)
    do {
      defer { close(descriptor) }
      try Posix.writeAll(descriptor, bytes, path: staged)
      try Posix.sync(descriptor, path: staged)
    }
    guard rename(staged, path) == 0 else { throw Posix.failure("replace", path) }
    try Posix.syncDirectory(Posix.parent(of: path))
  }

  /// Reads a file of at most `limit` bytes; nil if there is none.
  package static func read(_ path: String, limit: Int = 1 << 20) throws(StorageError) -> [UInt8]? {
    let descriptor: Int32
    do {
      descriptor = try Posix.openFile(path, O_RDONLY)
    } catch {
      switch error {
      case .missingFile: return nil
      default: throw error
      }
    }
    defer { close(descriptor) }
    let bytes = try Posix.readAll(descriptor, limit: limit, path: path)
    guard bytes.count <= limit else { throw .system(operation: "read", path: path, errno: EFBIG) }
    return bytes
  }

  /// Whether there is a file of this name.
  package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

  /// Makes an empty file of mode 0600 if there is none of this name.
  package static func ensureExists(_ path: String) throws(StorageError) {
    close(try Posix.openFile(path, O_RDWR | O_CREAT))
  }

  /// Reads a file that holds a secret, and refuses it when group or others have any right on it.
  package static func readSecret(_ path: String, limit: Int = 4096) throws(StorageError) -> [UInt8] {
    let descriptor = try Posix.openFile(path, O_RDONLY)
    defer { close(descriptor) }
    let mode = try Posix.permissions(descriptor, path: path)
    guard mode & 0o077 == 0 else {
      throw .exposedSecret(path: path, mode: String(mode, radix: 8))
    }
    let bytes = try Posix.readAll(descriptor, limit: limit, path: path)
    guard bytes.count <= limit else { throw .malformedKeyFile(path: path) }
    return bytes
  }
}

/// An exclusive lock on a file, held until the object goes or the process ends, however it ends.
package final class FileLock: Sendable {
  private let descriptor: Int32

  /// Takes the lock or throws `inUse` at once, naming `subject` (by default the lock file).
  package init(path: String, subject: String? = nil) throws(StorageError) {
    descriptor = try Posix.openFile(path, O_RDWR | O_CREAT)
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      let isHeld = errno == EWOULDBLOCK
      let failure = Posix.failure("lock", path)
      close(descriptor)
      throw isHeld ? .inUse(path: subject ?? path) : failure
    }
  }

  deinit { close(descriptor) }
}
