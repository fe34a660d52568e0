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

  static func writeAll(
    _ descriptor: Int32, _ bytes: [UInt8], at offset: Int, path: String
  ) throws(StorageError) {
    var done = 0
    while done < bytes.count {
      let count = bytes.withUnsafeBytes { rest in
        rest.baseAddress.map { pwrite(descriptor, $0 + done, rest.count - done, off_t(offset + done)) } ?? -1
      }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw failure("write", path) }
      done += count
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

  /// The content and what is needed to read it, not the times.
  static func syncData(_ descriptor: Int32, path: String) throws(StorageError) {
    #if canImport(Darwin)
      try sync(descriptor, path: path)
    #else
      guard fdatasync(descriptor) == 0 else { throw failure("make durable", path) }
    #endif
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

/// A file of two slots of one size that are written alternately, in place: a write that power loss cuts off leaves
/// the other slot as it was. What a slot holds has to tell by itself whether it is whole, for instance by a
/// signature. No file is made and no directory changed, so that a write costs one flush of one page.
package enum SlotFile {
  /// How many slots there are.
  package static let slots = 2
  /// The bytes of one slot; content that is shorter is followed by zeros.
  package static let slotBytes = 4096

  /// Makes the file, durably, with content in the first slot. Returns all its bytes.
  package static func create(_ content: [UInt8], at path: String) throws(StorageError) -> [UInt8] {
    let bytes = try padded(content, path) + [UInt8](repeating: 0, count: slotBytes)
    try DurableFile.write(bytes, to: path)
    return bytes
  }

  /// All bytes of the file; nil if there is none. A file of another size is `corrupted`.
  package static func read(_ path: String) throws(StorageError) -> [UInt8]? {
    guard let bytes = try DurableFile.read(path) else { return nil }
    guard bytes.count == slots * slotBytes else { throw .corrupted(path: path) }
    return bytes
  }

  /// The bytes of one slot among those of a file.
  package static func slot(_ slot: Int, of bytes: [UInt8]) -> ArraySlice<UInt8> {
    bytes[(slot * slotBytes)..<((slot + 1) * slotBytes)]
  }

  /// Replaces the content of one slot, durably, and returns all bytes of the file then; nil, and nothing is written,
  /// if the file does not hold `expected`. After an error the slot may hold anything.
  package static func replace(
    _ slot: Int, by content: [UInt8], at path: String, ifItHolds expected: [UInt8]
  ) throws(StorageError) -> [UInt8]? {
    precondition((0..<slots).contains(slot), "there is no such slot")
    let block = try padded(content, path)
    let descriptor = try Posix.openFile(path, O_RDWR)
    defer { close(descriptor) }
    guard try Posix.readAll(descriptor, limit: slots * slotBytes, path: path) == expected else { return nil }
    try Posix.writeAll(descriptor, block, at: slot * slotBytes, path: path)
    try Posix.syncData(descriptor, path: path)
    var bytes = expected
    bytes.replaceSubrange((slot * slotBytes)..<((slot + 1) * slotBytes), with: block)
    return bytes
  }

  private static func padded(_ content: [UInt8], _ path: String) throws(StorageError) -> [UInt8] {
    guard content.count <= slotBytes else { throw .system(operation: "write", path: path, errno: EFBIG) }
    return content + [UInt8](repeating: 0, count: slotBytes - content.count)
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
