#if DEBUG
  import Cryptography
  import SecureAggregation

  /// What an adversary does to messages, read from a script.
  extension ScriptReader {
    /// One of the messages made so far, with up to two changes; nil while there are none.
    mutating func forged<Message>(
      _ messages: [Message], _ edit: (inout ScriptReader, inout Message) -> Void
    ) -> Message? {
      guard !messages.isEmpty else { return nil }
      var message = messages[messages.count - 1 - number(below: messages.count)]
      for _ in 0..<number(below: 3) { edit(&self, &message) }
      return message
    }

    /// Drops, repeats, swaps, changes, clears or cuts entries.
    mutating func list<Element>(
      _ list: inout [Element], _ change: (inout ScriptReader, inout Element) -> Void
    ) {
      let at = number(below: list.count)
      switch number(below: 7) {
      case 0 where !list.isEmpty: list.remove(at: at)
      case 1 where !list.isEmpty: list.insert(list[at], at: at)
      case 2 where !list.isEmpty: list.swapAt(at, number(below: list.count))
      case 3 where !list.isEmpty: change(&self, &list[at])
      case 4: list = []
      case 5: list = Array(list.prefix(at))
      default: list.reverse()
      }
    }

    mutating func bytes<Value: FixedBytes>(_ value: inout Value) {
      var bytes = value.bytes
      switch number(below: 5) {
      case 0: bytes = []
      case 1: bytes.append(0)
      case 2: bytes = [UInt8](repeating: 0, count: bytes.count)
      case 3: bytes = [1] + [UInt8](repeating: 0, count: max(0, bytes.count - 1))
      default: if !bytes.isEmpty { bytes[number(below: bytes.count)] ^= byte() | 1 }
      }
      value = Value(unchecked: bytes)
    }

    mutating func octets(_ bytes: inout [UInt8]) {
      switch number(below: 4) {
      case 0: bytes = []
      case 1: bytes.append(0)
      case 2: bytes = [UInt8](repeating: 255, count: bytes.count)
      default: if !bytes.isEmpty { bytes[number(below: bytes.count)] ^= byte() | 1 }
      }
    }

    mutating func roster(index: inout Int) {
      switch number(below: 7) {
      case 0: index &+= 1
      case 1: index &-= 1
      case 2: index = .max
      case 3: index = .min
      case 4: index = Int(UInt32.max)
      default: index = number(below: 8)
      }
    }

    mutating func indices(_ indices: inout [Int]) {
      guard number(below: 2) == 1 else { return }
      list(&indices) { $0.roster(index: &$1) }
      if number(below: 2) == 1 { indices.sort() }
    }

    mutating func edit(_ message: inout Advertisement) {
      switch number(below: 6) {
      case 0: bytes(&message.id)
      case 1: bytes(&message.shareKey)
      case 2: bytes(&message.maskKey)
      case 3: bytes(&message.seedCommitment)
      case 4: message.maskKey = message.shareKey
      default: bytes(&message.signature)
      }
    }

    mutating func edit(_ message: inout Roster) {
      guard number(below: 4) != 3 else { return bytes(&message.root) }
      list(&message.members) { $0.edit(&$1) }
    }

    mutating func edit(_ message: inout RosterCommitment) {
      guard number(below: 4) != 3 else { return bytes(&message.top) }
      list(&message.ids) { $0.bytes(&$1) }
    }

    mutating func edit(_ message: inout NeighbourRequest) {
      switch number(below: 3) {
      case 0: bytes(&message.id)
      case 1: bytes(&message.root)
      default: indices(&message.neighbours)
      }
    }

    mutating func edit(_ message: inout RosterOpening) {
      switch number(below: 3) {
      case 0: indices(&message.indices)
      case 1: list(&message.members) { $0.edit(&$1) }
      default: list(&message.hashes) { $0.bytes(&$1) }
      }
    }

    mutating func edit(_ message: inout ShareUpload) {
      switch number(below: 5) {
      case 0: bytes(&message.id)
      case 1: bytes(&message.root)
      case 2: bytes(&message.signature)
      case 3: list(&message.shares) { $0.roster(index: &$1.recipient) }
      default: list(&message.shares) { $0.octets(&$1.ciphertext) }
      }
    }

    mutating func edit(_ message: inout ShareDelivery) {
      switch number(below: 7) {
      case 0: list(&message.evidence) { $0.roster(index: &$1.index) }
      case 1: list(&message.evidence) { $0.bytes(&$1.bundleDigest) }
      case 2: list(&message.evidence) { $0.bytes(&$1.signature) }
      case 3: list(&message.shares) { $0.roster(index: &$1.sender) }
      case 4: list(&message.shares) { $0.octets(&$1.ciphertext) }
      case 5: edit(&message.opening)
      default:
        // The same participant, from both lists.
        let gone = number(below: 8)
        message.evidence.removeAll { $0.index == gone }
        message.shares.removeAll { $0.sender == gone }
      }
    }

    mutating func edit(_ message: inout SurvivorNotice) {
      switch number(below: 3) {
      case 0: indices(&message.shared)
      case 1: indices(&message.uploaded)
      default:
        let gone = number(below: 8)
        message.uploaded.removeAll { $0 == gone }
      }
    }

    mutating func edit(_ message: inout ConsistencySignature) {
      if number(below: 2) == 0 { bytes(&message.id) } else { bytes(&message.signature) }
    }

    mutating func edit(_ message: inout UnmaskShares) {
      switch number(below: 6) {
      case 0: bytes(&message.id)
      case 1: list(&message.seedShares) { $0.roster(index: &$1.index) }
      case 2: list(&message.maskKeyShares) { $0.roster(index: &$1.index) }
      case 3: list(&message.seedShares) { $0.octets(&$1.bytes) }
      case 4: list(&message.maskKeyShares) { $0.octets(&$1.bytes) }
      default: swap(&message.seedShares, &message.maskKeyShares)
      }
    }
  }
#endif
