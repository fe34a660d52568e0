import Cryptography
import Foundation
import MerkleLog
import Storage

/// The last checkpoint that a ledger signed, apart from its database: what tells a restored copy.
///
/// The file has two slots that are written alternately, so that a write that power loss cut off leaves the note
/// before it. A slot holds a note and zeros, or nothing but zeros; a note is whole if its signatures verify.
struct SignerState {
  private enum Slot {
    case empty
    case note(SignedCheckpoint)
    case torn(MerkleLogError)
  }

  private let path: String
  private var slots: [Slot]
  /// What the file holds.
  private var bytes: [UInt8]
  /// The newest whole note, and its slot.
  private(set) var signed: SignedCheckpoint
  private var current: Int

  /// Reads the file of a directory; nil if there is none. Throws what is wrong if no slot holds a whole note, or if
  /// the two contradict each other.
  init?(directory: String, _ verifiers: CheckpointVerifiers) throws {
    guard let bytes = try Self.bytes(directory: directory) else { return nil }
    try self.init(bytes, directory: directory, verifiers)
  }

  /// The bytes of a directory's file; nil if there is none. A server may be writing it: what is read twice is no
  /// half of a write.
  static func bytes(directory: String) throws -> [UInt8]? {
    let path = LedgerFiles.signerState(directory)
    var bytes = try SlotFile.read(path)
    for _ in 0..<Self.attempts {
      let again = try SlotFile.read(path)
      if again == bytes { break }
      bytes = again
    }
    return bytes
  }

  private static let attempts = 16

  /// Reads bytes of the file, with the errors of `init?(directory:_:)`.
  init(_ bytes: [UInt8], directory: String, _ verifiers: CheckpointVerifiers) throws {
    path = LedgerFiles.signerState(directory)
    self.bytes = bytes
    slots = (0..<SlotFile.slots).map { Self.read(SlotFile.slot($0, of: bytes), verifiers) }
    var newest: (slot: Int, signed: SignedCheckpoint)?
    for (slot, content) in slots.enumerated() {
      guard case .note(let signed) = content else { continue }
      if let other = newest?.signed.checkpoint {
        // Two notes of one size are of one tree, or somebody forked the log.
        guard other.size != signed.checkpoint.size || other.root == signed.checkpoint.root else {
          throw LedgerError.inconsistentTree(size: other.size)
        }
        if other.size >= signed.checkpoint.size { continue }
      }
      newest = (slot, signed)
    }
    guard let newest else { throw Self.damage(slots) ?? .malformedNote("it is empty") }
    (current, signed) = newest
  }

  /// What is wrong with a slot that holds neither a whole note nor nothing.
  var damage: MerkleLogError? { Self.damage(slots) }

  private static func damage(_ slots: [Slot]) -> MerkleLogError? {
    for case .torn(let error) in slots { return error }
    return nil
  }

  private static func read(_ slot: ArraySlice<UInt8>, _ verifiers: CheckpointVerifiers) -> Slot {
    let end = slot.firstIndex(of: 0) ?? slot.endIndex
    guard slot[end...].allSatisfy({ $0 == 0 }) else { return .torn(.malformedNote("bytes follow its end")) }
    guard end > slot.startIndex else { return .empty }
    guard let text = String(validating: slot[..<end], as: UTF8.self) else {
      return .torn(.malformedNote("it is not in UTF-8"))
    }
    do { return .note(try SignedCheckpoint.verify(text, verifiers)) } catch { return .torn(error) }
  }

  /// Makes the file of a new ledger.
  init(creating signed: SignedCheckpoint, directory: String) throws {
    path = LedgerFiles.signerState(directory)
    bytes = try SlotFile.create(Array(signed.noteText.utf8), at: path)
    slots = [.note(signed), .empty]
    current = 0
    self.signed = signed
  }

  /// Puts a newer note beside the last one, durably, if the file still holds what was read or written last.
  mutating func replace(_ newer: SignedCheckpoint) throws {
    let slot = (current + 1) % SlotFile.slots
    guard
      let written = try SlotFile.replace(
        slot, by: Array(newer.noteText.utf8), at: path, ifItHolds: bytes)
    else { throw LedgerError.signerStateChanged(path: path) }
    bytes = written
    slots[slot] = .note(newer)
    current = slot
    signed = newer
  }
}
