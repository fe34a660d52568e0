/// How texts of a column become hash buckets: part of the schema, the same on every node.
package struct TextSettings: Codable, Equatable, Hashable, Sendable {
  /// The longest run of words that counts.
  package static let maximumNgrams = 4
  /// The least and the most bits of a bucket number.
  package static let allowedBits = 8...18

  /// Runs of up to so many words count: 2 counts single words and pairs.
  package let ngrams: Int
  /// There are 2^bits buckets.
  package let bits: Int

  /// Words and pairs in 65,536 buckets.
  package static let standard = TextSettings(ngrams: 2, bits: 16)

  /// Settings; `isValid` says whether they keep the limits.
  package init(ngrams: Int = 2, bits: Int = 16) {
    self.ngrams = ngrams
    self.bits = bits
  }

  /// The limits, for settings from anywhere.
  package var isValid: Bool {
    (1...Self.maximumNgrams).contains(ngrams) && Self.allowedBits.contains(bits)
  }

  /// The number of buckets.
  package var buckets: Int { 1 << bits }

  /// The buckets of all runs of words of a text, ascending, each as often as it occurs. Empty for a text
  /// without words.
  func buckets(of text: String) -> [Int32] {
    let mask = UInt64(buckets - 1)
    var result: [Int32] = []
    TextWords.forEachRun(of: text, upTo: ngrams) { hash in
      // The low bits of FNV alone would make two words that share a bucket share those of all their pairs.
      result.append(Int32(truncatingIfNeeded: (hash ^ hash >> 32) & mask))
    }
    result.sort()
    return result
  }
}

/// Divides texts into words and hashes runs of them.
///
/// The rule is part of the protocol and refers to no version of Unicode, so every node, whatever its
/// platform, computes the same. A word is a longest run of letters, by scalars:
///
/// - ASCII: letters and digits are letters, everything else separates. So "don't" is "don" and "t".
/// - U+0080 … U+00BF but ª, µ and º; × and ÷; U+2000 … U+2BFF, U+2E00 … U+2E7F, U+3000 … U+303F, U+FE00 …
///   U+FE6F, U+FF00 … U+FF0F, U+FF1A … U+FF20, U+FF3B … U+FF40, U+FF5B … U+FF65, U+FFE0 … U+FFFF, U+E000 …
///   U+F8FF and everything from U+F0000 on, U+1F000 … U+1FAFF separate: punctuation, signs, private use and
///   emoji.
/// - U+3040 … U+30FF, U+3400 … U+9FFF, U+F900 … U+FAFF and U+20000 … U+3FFFF (kana and Han) are a word each:
///   these languages put no spaces.
/// - Every other scalar is a letter. Texts are not normalised: composed (NFC) ones are expected.
///
/// Capitals of ASCII, Latin-1, Latin Extended-A, Greek and Cyrillic (U+0400 … U+042F) become small; others
/// stay.
///
/// A run of words is hashed by FNV-1a, 64 bits (see `CategoryHash`), over the UTF-8 of its words with single
/// spaces between them.
enum TextWords {
  private static let basis: UInt64 = 0xcbf2_9ce4_8422_2325
  private static let prime: UInt64 = 0x100_0000_01b3

  private enum Kind {
    case separator
    case letter
    case word
  }

  /// Hands the hashes of all runs of 1 to `count` words to `body`: after every word those that end with it,
  /// the shortest first.
  static func forEachRun(of text: String, upTo count: Int, _ body: (UInt64) -> Void) {
    var text = text
    text.withUTF8 { bytes in
      withUnsafeTemporaryAllocation(of: UInt64.self, capacity: count) { states in
        states.initialize(repeating: basis)
        var runs = Runs(states: states)
        var index = 0
        while index < bytes.count {
          let byte = bytes[index]
          if byte < 0x80 {
            index += 1
            let isCapital = byte &- 0x41 < 26
            if isCapital || byte &- 0x61 < 26 || byte &- 0x30 < 10 {
              runs.add(isCapital ? byte | 0x20 : byte)
            } else {
              runs.endWord(body)
            }
            continue
          }
          let (scalar, length) = scalar(bytes, at: index)
          index += length
          switch kind(of: scalar) {
          case .separator: runs.endWord(body)
          case .letter: runs.add(scalar: lowercase(scalar))
          case .word:
            runs.endWord(body)
            runs.add(scalar: scalar)
            runs.endWord(body)
          }
        }
        runs.endWord(body)
      }
    }
  }

  /// Whether a text has a word.
  static func hasWord(_ text: String) -> Bool {
    var found = false
    forEachRun(of: text, upTo: 1) { _ in found = true }
    return found
  }

  /// The hashes of the runs that end in the current word; `states[k]` is that of its last k + 1 words.
  private struct Runs {
    let states: UnsafeMutableBufferPointer<UInt64>
    var words = 0
    var isInWord = false

    mutating func add(_ byte: UInt8) {
      isInWord = true
      for index in states.indices { states[index] = (states[index] ^ UInt64(byte)) &* prime }
    }

    mutating func add(scalar: UInt32) {
      switch scalar {
      case ..<0x80: add(UInt8(scalar))
      case ..<0x800:
        add(UInt8(0xc0 | scalar >> 6))
        add(UInt8(0x80 | scalar & 0x3f))
      case ..<0x1_0000:
        add(UInt8(0xe0 | scalar >> 12))
        add(UInt8(0x80 | scalar >> 6 & 0x3f))
        add(UInt8(0x80 | scalar & 0x3f))
      default:
        add(UInt8(0xf0 | scalar >> 18))
        add(UInt8(0x80 | scalar >> 12 & 0x3f))
        add(UInt8(0x80 | scalar >> 6 & 0x3f))
        add(UInt8(0x80 | scalar & 0x3f))
      }
    }

    mutating func endWord(_ body: (UInt64) -> Void) {
      guard isInWord else { return }
      isInWord = false
      words += 1
      for index in 0..<min(words, states.count) { body(states[index]) }
      for index in stride(from: states.count - 1, to: 0, by: -1) {
        states[index] = (states[index - 1] ^ 0x20) &* prime
      }
      states[0] = basis
    }
  }

  /// The scalar that begins at a byte above 0x7f, and its length. A Swift string is valid UTF-8.
  private static func scalar(_ bytes: UnsafeBufferPointer<UInt8>, at index: Int) -> (UInt32, Int) {
    let length = bytes[index] < 0xe0 ? 2 : bytes[index] < 0xf0 ? 3 : 4
    var scalar = UInt32(bytes[index]) & (0x7f >> UInt32(length))
    for offset in 1..<length { scalar = scalar << 6 | UInt32(bytes[index + offset]) & 0x3f }
    return (scalar, length)
  }

  private static func kind(of scalar: UInt32) -> Kind {
    switch scalar {
    case 0xaa, 0xb5, 0xba: .letter
    case ..<0xc0, 0xd7, 0xf7: .separator
    case ..<0x2000: .letter
    case ..<0x2c00, 0x2e00..<0x2e80, 0x3000..<0x3040: .separator
    case 0x3040..<0x3100, 0x3400..<0xa000, 0xf900..<0xfb00, 0x2_0000..<0x4_0000: .word
    case 0xe000..<0xf900, 0xfe00..<0xfe70, 0xff00..<0xff10, 0xff1a..<0xff21, 0xff3b..<0xff41,
      0xff5b..<0xff66, 0xffe0..<0x1_0000, 0x1_f000..<0x1_fb00, 0xf_0000...:
      .separator
    default: .letter
    }
  }

  private static func lowercase(_ scalar: UInt32) -> UInt32 {
    switch scalar {
    case 0xc0...0xde: scalar + 0x20
    case 0x130: 0x69
    case 0x178: 0xff
    case 0x100...0x137, 0x14a...0x177: scalar | 1
    case 0x139...0x148, 0x179...0x17e: scalar + scalar % 2
    case 0x386: 0x3ac
    case 0x388...0x38a: scalar + 0x25
    case 0x38c: 0x3cc
    case 0x38e, 0x38f: scalar + 0x3f
    case 0x391...0x3a1, 0x3a3...0x3ab: scalar + 0x20
    case 0x400...0x40f: scalar + 0x50
    case 0x410...0x42f: scalar + 0x20
    default: scalar
    }
  }
}
