/// One node as the parameters hold it, in four numbers: a kind and three others.
///
/// | kind | others |
/// |---|---|
/// | −1: open, to be decided by the next round | 0, 0, 0 |
/// | 0: leaf | value (learning rate included), 0, 0 |
/// | 1 + column, ordered | last bin that goes left, 1 if missing values go left, 0 |
/// | 1 + column, unordered | the set of bins that go left: bit b of word w is bin 24 w + b |
enum TreeNode: Equatable {
  case open
  case leaf(Float)
  /// Bins up to `last` go left.
  case ordered(column: Int, last: Int, missingLeft: Bool)
  /// The bins of the set go left.
  case unordered(column: Int, left: BinSet)

  /// The numbers of a node.
  static let width = 4
  /// The bits of a word: every whole number below 2²⁴ is a `Float`.
  static let wordBits = 24
  /// The most bins of an unordered column: three words.
  static let maximumUnorderedBins = 72

  /// Whether the node has children.
  var isSplit: Bool {
    switch self {
    case .open, .leaf: false
    case .ordered, .unordered: true
    }
  }

  /// Reads a node; nil if it is none, or splits what the shape does not have, or does not split.
  init?(_ numbers: UnsafeBufferPointer<Float>, at index: Int, shape: FeatureShape, largestLeaf: Float) {
    let (a, b, c) = (numbers[index + 1], numbers[index + 2], numbers[index + 3])
    guard let kind = Int(exactly: numbers[index]), kind >= -1, kind <= shape.columns else { return nil }
    if kind <= 0 {
      guard abs(a) <= largestLeaf, b == 0, c == 0 else { return nil }
      if kind == -1 { guard a == 0 else { return nil } }
      self = kind == -1 ? .open : .leaf(a)
      return
    }
    let column = shape.bins[kind - 1]
    if column.isOrdered {
      guard let last = Int(exactly: a), last >= 0, b == 0 || b == 1, c == 0 else { return nil }
      let ordered = column.count - (column.hasMissing ? 1 : 0)
      // Behind the last ordered bin is the missing one, which must then be alone on the right.
      guard last < ordered - 1 || column.hasMissing && last == ordered - 1 && b == 0,
        b == 0 || column.hasMissing
      else { return nil }
      self = .ordered(column: kind - 1, last: last, missingLeft: b == 1)
    } else {
      var set = BinSet()
      for (word, number) in [a, b, c].enumerated() {
        guard let bits = UInt32(exactly: number), bits < 1 << UInt32(Self.wordBits) else { return nil }
        for bit in 0..<Self.wordBits where bits >> UInt32(bit) & 1 == 1 {
          set.insert(word * Self.wordBits + bit)
        }
      }
      guard !set.isEmpty, set.isSubset(of: BinSet(below: column.count)), set != BinSet(below: column.count)
      else { return nil }
      self = .unordered(column: kind - 1, left: set)
    }
  }

  /// The four numbers.
  var numbers: [Float] {
    switch self {
    case .open: return [-1, 0, 0, 0]
    case .leaf(let value): return [0, value, 0, 0]
    case .ordered(let column, let last, let missingLeft):
      return [Float(column + 1), Float(last), missingLeft ? 1 : 0, 0]
    case .unordered(let column, let left):
      let words = (0..<3).map { word in
        (0..<Self.wordBits).reduce(Float(0)) { sum, bit in
          left.contains(word * Self.wordBits + bit) ? sum + Float(1 << bit) : sum
        }
      }
      return [Float(column + 1)] + words
    }
  }

  /// The column that a split looks at and the bins that it sends to the left.
  func split(shape: FeatureShape) -> (column: Int, left: BinSet)? {
    switch self {
    case .open, .leaf: return nil
    case .unordered(let column, let left): return (column, left)
    case .ordered(let column, let last, let missingLeft):
      var left = BinSet(below: last + 1)
      if missingLeft { left.insert(shape.bins[column].count - 1) }
      return (column, left)
    }
  }
}

/// A set of bins, 0 … 255.
struct BinSet: Equatable {
  private(set) var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

  init() {}

  /// The bins 0 ..< `count`, at most 256.
  init(below count: Int) {
    words = (
      Self.ones(count), Self.ones(count - 64), Self.ones(count - 128), Self.ones(count - 192)
    )
  }

  /// Every bin.
  static let all = BinSet(below: 256)

  static func == (left: BinSet, right: BinSet) -> Bool { left.words == right.words }

  var isEmpty: Bool { words == (0, 0, 0, 0) }

  func contains(_ bin: Int) -> Bool {
    let word =
      switch bin >> 6 {
      case 0: words.0
      case 1: words.1
      case 2: words.2
      default: words.3
      }
    return word >> UInt64(bin & 63) & 1 == 1
  }

  mutating func insert(_ bin: Int) {
    let bit: UInt64 = 1 << UInt64(bin & 63)
    switch bin >> 6 {
    case 0: words.0 |= bit
    case 1: words.1 |= bit
    case 2: words.2 |= bit
    default: words.3 |= bit
    }
  }

  func isSubset(of other: BinSet) -> Bool {
    words.0 & ~other.words.0 == 0 && words.1 & ~other.words.1 == 0 && words.2 & ~other.words.2 == 0
      && words.3 & ~other.words.3 == 0
  }

  /// The number of bins in the set.
  var count: Int {
    words.0.nonzeroBitCount + words.1.nonzeroBitCount + words.2.nonzeroBitCount + words.3.nonzeroBitCount
  }

  /// Every other bin.
  var complement: BinSet { map { ~$0 } }

  /// The bins in both.
  func intersection(_ other: BinSet) -> BinSet {
    var result = self
    result.words.0 &= other.words.0
    result.words.1 &= other.words.1
    result.words.2 &= other.words.2
    result.words.3 &= other.words.3
    return result
  }

  private func map(_ change: (UInt64) -> UInt64) -> BinSet {
    var result = BinSet()
    result.words = (change(words.0), change(words.1), change(words.2), change(words.3))
    return result
  }

  private static func ones(_ count: Int) -> UInt64 {
    count >= 64 ? .max : count <= 0 ? 0 : (1 << UInt64(count)) - 1
  }
}
