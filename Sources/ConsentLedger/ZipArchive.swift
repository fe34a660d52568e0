import CZlib
import Foundation
import Storage

/// Writes zip archives of stored (uncompressed) files: one time for all files, given by the caller, so that
/// the same files give the same bytes (PKWARE APPNOTE 6.3; no zip64, so below 4 GiB and 65,535 files).
package struct ZipArchive: Sendable {
  /// The longest name, in bytes of UTF-8.
  package static let maximumNameBytes = 1024
  private static let maximumFiles = 65_534
  private static let maximumBytes = Int(UInt32.max) - 1

  private let modified: UInt32
  private var directory: [UInt8] = []
  private var names: Set<String> = []
  /// The local headers with the files' bytes, in the order in which they were added.
  private var body: [UInt8] = []
  private let limit: Int

  /// An empty archive whose files all carry this time, ms of UTC since 1970; earlier than 1980 or later than
  /// 2107 becomes the nearest time that the format has.
  package init(timeMs: Int64) { self.init(timeMs: timeMs, limit: Self.maximumBytes) }

  /// Tests fill smaller archives.
  package init(timeMs: Int64, limit: Int) {
    modified = Self.dosTime(timeMs)
    self.limit = limit
  }

  /// Adds a file. A name is relative, its parts separated by `/`; names that a program may take for another
  /// place, another file or the same file are refused.
  package mutating func add(_ name: String, _ bytes: [UInt8]) throws(LedgerError) {
    try Self.check(name)
    // Two names that differ in case are one file on some systems.
    let folded = name.lowercased()
    guard !names.contains(folded) else {
      throw .archive("“\(name)” is in it already")
    }
    let nameBytes = Array(name.utf8)
    // A local header and a central one, 76 bytes and the name twice, and the end record.
    let size = body.count + directory.count + bytes.count + 2 * nameBytes.count + 76 + 22
    guard names.count < Self.maximumFiles, size <= limit else {
      throw .archive("it would have more than \(limit) bytes or \(Self.maximumFiles) files; split the export")
    }
    names.insert(folded)
    let offset = UInt32(body.count)
    let common = Self.common(bytes, modified, nameLength: nameBytes.count)
    body.appendLittleEndian(UInt32(0x0403_4b50))
    body += common
    body += nameBytes
    body += bytes
    directory.appendLittleEndian(UInt32(0x0201_4b50))
    directory.appendLittleEndian(UInt16(3 << 8 | 20))  // made on Unix, version 2.0
    directory += common
    directory.appendLittleEndian(UInt16(0))  // comment
    directory.appendLittleEndian(UInt16(0))  // disk
    directory.appendLittleEndian(UInt16(0))  // internal attributes
    directory.appendLittleEndian(UInt32(0o100644) << 16)
    directory.appendLittleEndian(offset)
    directory += nameBytes
  }

  /// The archive's bytes.
  package func encoded() -> [UInt8] {
    var bytes = body
    bytes += directory
    bytes.appendLittleEndian(UInt32(0x0605_4b50))
    bytes.appendLittleEndian(UInt32(0))  // disks
    bytes.appendLittleEndian(UInt16(names.count))
    bytes.appendLittleEndian(UInt16(names.count))
    bytes.appendLittleEndian(UInt32(directory.count))
    bytes.appendLittleEndian(UInt32(body.count))
    bytes.appendLittleEndian(UInt16(0))  // comment
    return bytes
  }

  /// Writes the archive, completely or not at all.
  package func write(to path: String) throws(LedgerError) {
    do { try DurableFile.write(encoded(), to: path) } catch { throw .storage(error) }
  }

  /// What the local and the central header share.
  private static func common(_ bytes: [UInt8], _ modified: UInt32, nameLength: Int) -> [UInt8] {
    var header: [UInt8] = []
    header.appendLittleEndian(UInt16(20))  // version 2.0 reads it
    header.appendLittleEndian(UInt16(1 << 11))  // the name is UTF-8
    header.appendLittleEndian(UInt16(0))  // stored
    header.appendLittleEndian(modified)
    header.appendLittleEndian(UInt32(truncatingIfNeeded: crc32(0, bytes, uInt(bytes.count))))
    header.appendLittleEndian(UInt32(bytes.count))
    header.appendLittleEndian(UInt32(bytes.count))
    header.appendLittleEndian(UInt16(nameLength))
    header.appendLittleEndian(UInt16(0))  // extra
    return header
  }

  /// Whether a name is safe to create a file of.
  package static func check(_ name: String) throws(LedgerError) {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    let isSafe = name.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f && $0 != 0x5c && $0 != 0x3a }
    guard isSafe, name.utf8.count <= maximumNameBytes,
      parts.allSatisfy({ !["", ".", ".."].contains($0) })
    else { throw .archive("“\(name)” is no relative name of a file") }
  }

  /// MS-DOS date and time, the date in the upper half; two seconds are the smallest step.
  private static func dosTime(_ timeMs: Int64) -> UInt32 {
    let earliest: Int64 = 315_532_800
    let latest: Int64 = 4_354_819_198
    let seconds = min(max(timeMs / 1000, earliest), latest)
    let (days, rest) = (seconds / 86_400, seconds % 86_400)
    // Days since 1970 to a civil date, in the calendar of years that begin in March.
    let shifted = days + 719_468
    let era = shifted / 146_097
    let dayOfEra = shifted % 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let monthFromMarch = (5 * dayOfYear + 2) / 153
    let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
    let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let date = (year - 1980) << 9 | month << 5 | day
    let time = (rest / 3600) << 11 | (rest / 60 % 60) << 5 | rest % 60 / 2
    return UInt32(date << 16 | time)
  }
}

extension [UInt8] {
  fileprivate mutating func appendLittleEndian(_ value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}
