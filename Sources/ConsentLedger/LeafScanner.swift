import Consent
import Cryptography
import MerkleLog

/// An entry that changes who may write what, decoded and checked.
struct ControlEntry: Sendable {
  let index: UInt64
  let signer: VerifyingKey
  let body: EntryBody
  let recordedMs: Int64
  /// What a policy says, read once.
  let policy: Policy?

  /// An entry that the rules have just admitted.
  init(_ entry: LedgerEntry, at index: UInt64, _ rules: LedgerRules) {
    self.index = index
    signer = entry.signer
    body = entry.body
    recordedMs = entry.recordedMs
    if case .policy(let record) = entry.body {
      policy = rules.policies[record.digest]?.policy
    } else {
      policy = nil
    }
  }
}

/// Checks leaves one after another in the order of the log: form, signature, rules. The same verdicts as
/// `LedgerEntry` and `LedgerRules`, which it asks about everything it has not seen before; but most consents of a
/// log differ from an earlier one in nothing but identities and times, and for these it reads the bytes in place:
/// a verifier has seconds for ten million entries.
struct LeafScanner {
  /// What the last leaf said.
  private(set) var kind = EntryKind.consent
  private(set) var recordedMs: Int64 = 0
  /// The identity, 16 bytes.
  private(set) var identity = [UInt8](repeating: 0, count: 16)
  /// The last leaf's event as the index has it; only after a consent.
  var event = ScannedEvent()

  /// How many consents were checked in place, without decoding them.
  private(set) var scannedInPlace = 0

  private var rules: LedgerRules
  private var controls: [ControlEntry]
  private var nextControl = 0
  private var check = SignatureCheck()
  private var batch = ScannedBatch()
  /// Changes whenever the numbers of forms begin anew.
  private(set) var generation = 0
  private var forms: [ConsentForm] = []
  private var formsByHash: [UInt64: Int] = [:]
  private var key: [UInt8] = []
  private var text = ConsentText()

  /// - Parameter controls: the entries of the log that change the rules, in order, each admitted by the rules.
  init(logKey: VerifyingKey, operatorKey: VerifyingKey?, controls: [ControlEntry]) {
    rules = LedgerRules(logKey: logKey, operatorKey: operatorKey)
    self.controls = controls
  }

  /// Adds entries that change the rules and come after all known ones.
  mutating func extend(_ later: [ControlEntry]) { controls += later }

  /// Checks the leaf at `index`; indexes never decrease from call to call.
  mutating func scan(_ bytes: [UInt8], at index: UInt64) throws(LedgerError) {
    try catchUp(to: index)
    if let frame = LeafFrame(bytes), frame.isConsent, try scanConsent(bytes, frame) { return }
    let entry = try LedgerEntry(leaf: bytes, check: &check)
    kind = entry.kind
    recordedMs = entry.recordedMs
    identity = entry.body.identity
    if kind.changesRules {
      guard nextControl < controls.count, controls[nextControl].index == index else {
        throw .malformedEntry("the index of entries that change the rules does not name it")
      }
      return
    }
    try rules.admit(entry.body, signer: entry.signer, index: index, recordedMs: recordedMs, isNew: false)
    if case .consent(let consent) = entry.body {
      event = ScannedEvent(consent)
      event.form = try remember(bytes, consent, entry.signer)
    }
  }

  /// The texts that the events of a form share.
  func form(_ number: Int) -> IndexWriter.Circumstance? {
    forms.indices.contains(number) ? forms[number].circumstance : nil
  }

  /// Applies the entries before `index` that change the rules.
  private mutating func catchUp(to index: UInt64) throws(LedgerError) {
    while nextControl < controls.count, controls[nextControl].index < index {
      let control = controls[nextControl]
      try rules.admit(
        control.body, signer: control.signer, index: control.index, recordedMs: control.recordedMs,
        isNew: false, knownPolicy: control.policy)
      nextControl += 1
      forget()
    }
  }

  private mutating func forget() {
    forms = []
    formsByHash = [:]
    generation += 1
  }

  /// Whether the leaf is a consent that was checked in place. False decides nothing.
  private mutating func scanConsent(_ bytes: [UInt8], _ frame: LeafFrame) throws(LedgerError) -> Bool {
    guard text.read(bytes, frame, into: &event) else { return false }
    writeKey(bytes, frame)
    guard let number = formsByHash[Self.hash(key)], forms[number].key == key,
      forms[number].admits(event, recordedMs: frame.recordedMs)
    else { return false }
    // A signature that does not fit is for the slow way to name.
    guard batch.isSigned(bytes, frame) else { return false }
    event.form = number
    scannedInPlace += 1
    kind = .consent
    recordedMs = frame.recordedMs
    for byte in 0..<16 { identity[byte] = event.eventID[byte] }
    return true
  }

  private mutating func remember(
    _ bytes: [UInt8], _ consent: ConsentEvent, _ signer: VerifyingKey
  ) throws(LedgerError) -> Int {
    if forms.count >= Self.maximumForms { forget() }
    let circumstance = IndexWriter.Circumstance(consent, signer: signer)
    var read = ScannedEvent()
    guard let frame = LeafFrame(bytes), frame.isConsent, text.read(bytes, frame, into: &read) else {
      // Canonical consents are always read; without a form the next one goes the slow way too.
      forms.append(ConsentForm(key: [], circumstance: circumstance, isGrant: false, lifetimeMs: nil))
      return forms.count - 1
    }
    writeKey(bytes, frame)
    let days =
      consent.state.isGrant ? rules.current?.policy.purpose(consent.purpose.id)?.grantLifetimeDays : nil
    forms.append(
      ConsentForm(
        key: key, circumstance: circumstance, isGrant: consent.state.isGrant,
        lifetimeMs: days.map { Int64($0) * 86_400_000 }))
    formsByHash[Self.hash(key)] = forms.count - 1
    return forms.count - 1
  }

  /// Everything that decides about a consent but identities, digests and times, and its signer.
  private mutating func writeKey(_ bytes: [UInt8], _ frame: LeafFrame) {
    key.removeAll(keepingCapacity: true)
    for piece in text.pieces { key.append(contentsOf: bytes[piece]) }
    key.append(contentsOf: bytes[frame.signer])
    withUnsafeBytes(of: text.present.littleEndian) { key.append(contentsOf: $0) }
  }

  private static let maximumForms = 16_384

  /// Only finds a form; its key is compared byte by byte.
  private static func hash(_ bytes: [UInt8]) -> UInt64 {
    bytes.withUnsafeBytes { bytes in
      var state: UInt64 = 0x9e37_79b9_7f4a_7c15
      var start = 0
      while start + 8 <= bytes.count {
        state = (state ^ bytes.loadUnaligned(fromByteOffset: start, as: UInt64.self)) &* 0xff51_afd7_ed55_8ccd
        state ^= state >> 32
        start += 8
      }
      while start < bytes.count {
        state = (state ^ UInt64(bytes[start])) &* 0x0000_0100_0000_01b3
        start += 1
      }
      return state
    }
  }
}

extension EntryKind {
  /// Whether entries of this kind change who may write what.
  var changesRules: Bool {
    switch self {
    case .enrolment, .revocation, .policy, .approval: true
    case .consent, .request, .round, .notice: false
    }
  }
}

/// What consents have in common that differ only in identities, digests and times: all of them are as good as the
/// one that was checked.
private struct ConsentForm {
  let key: [UInt8]
  let circumstance: IndexWriter.Circumstance
  let isGrant: Bool
  /// How long a grant may last by the policy.
  let lifetimeMs: Int64?

  /// The conditions of `ConsentEvent.validate()`, `LedgerRules` and `Policy.refusal(for:)` on numbers.
  func admits(_ event: ScannedEvent, recordedMs: Int64) -> Bool {
    let latest = ConsentEvent.latestTimeMs
    guard event.time <= latest, event.time <= recordedMs + EntryCoding.allowedClockSkewMs,
      event.expires ?? 0 <= latest, event.notBefore ?? 0 <= latest, event.askAgain ?? 0 <= latest,
      event.steps ?? 0 <= 1000, event.duration ?? 0 <= 86_400_000
    else { return false }
    let begin = max(event.time, event.notBefore ?? 0)
    if let expires = event.expires, expires <= begin { return false }
    if let lifetimeMs {
      guard let expires = event.expires, expires <= begin + lifetimeMs else { return false }
    }
    return true
  }
}
