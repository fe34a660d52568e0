import Cryptography
import Foundation
import Testing

@testable import SecureAggregation

struct AggregationGroupsTests {
  private static let session = Hash.blake2b(Array("session".utf8))

  private func identity(_ number: Int) -> ParticipantID {
    VerifyingKey(unchecked: Hash.blake2b(Array("\(number)".utf8)).bytes)
  }

  @Test func `every participant is in one group, whoever asks, and groups are even`() throws {
    let plan = try GroupPlan(sessionID: Self.session, groups: 7)
    let ids = (0..<7_000).map { identity($0) }
    let parts = plan.partition(ids)
    #expect(parts.count == 7 && parts.reduce(0) { $0 + $1.count } == 7_000)
    for (group, members) in parts.enumerated() {
      #expect(members.allSatisfy { plan.group(of: $0) == group })
      // Five standard deviations of 29.
      #expect(abs(members.count - 1_000) < 147)
    }
    #expect(plan.partition(ids.reversed()).map(Set.init) == parts.map(Set.init))
  }

  @Test func `groups change with the session, and their own sessions differ`() throws {
    let plan = try GroupPlan(sessionID: Self.session, groups: 4)
    let other = try GroupPlan(sessionID: Hash.blake2b([1]), groups: 4)
    let moved = (0..<4_000).count { plan.group(of: identity($0)) != other.group(of: identity($0)) }
    #expect(abs(moved - 3_000) < 140)
    let fewer = try GroupPlan(sessionID: Self.session, groups: 3)
    let sessions =
      (0..<4).map { plan.sessionID(ofGroup: $0) } + (0..<4).map { other.sessionID(ofGroup: $0) }
      + (0..<3).map { fewer.sessionID(ofGroup: $0) } + [Self.session]
    #expect(Set(sessions).count == sessions.count)
  }

  @Test func `one group holds everybody`() throws {
    let plan = try GroupPlan(sessionID: Self.session, groups: 1)
    #expect((0..<50).allSatisfy { plan.group(of: identity($0)) == 0 })
    #expect(
      try GroupPlan.corruptLimit(groupSize: 200, cohort: 200, corruptPermille: 100, groups: 1) == 20)
  }

  /// Against products of ratios in plain `Double`.
  @Test(arguments: [(400, 100, 4, 100), (1_000, 100, 5, 200), (1_000, 50, 10, 90), (60, 333, 2, 30)])
  func `the corrupt limit is the smallest that its probability allows`(
    cohort: Int, corruptPermille: Int, groups: Int, size: Int
  ) throws {
    let corrupt = cohort * corruptPermille / 1000
    let limit = try GroupPlan.corruptLimit(
      groupSize: size, cohort: cohort, corruptPermille: corruptPermille, groups: groups)
    func mass(_ count: Int) -> Double {
      // C(corrupt, count)·C(honest, size - count)/C(cohort, size), factor by factor.
      var value = 1.0
      for index in 0..<size {
        value *= Double(index + 1) / Double(cohort - index)
        if index < count { value *= Double(corrupt - index) / Double(index + 1) }
        if index < size - count { value *= Double(cohort - corrupt - index) / Double(index + 1) }
      }
      return value
    }
    func beyond(_ count: Int) -> Double {
      let most = min(corrupt, size)
      return count < most ? (count + 1...most).reduce(0.0) { $0 + mass($1) } : 0
    }
    let target = 0x1p-81 / Double(groups)
    #expect(beyond(limit) <= target)
    #expect(limit == 0 || beyond(limit - 1) > target)
  }

  @Test func `a server that picks the cohort among many is granted more corrupt members`() throws {
    func limit(_ enrolled: Int?) throws -> Int {
      try GroupPlan.corruptLimit(
        groupSize: 60, cohort: 1_000, corruptPermille: 100, groups: 5, enrolled: enrolled)
    }
    let independent = try limit(nil)
    let same = try limit(1_000)
    let many = try limit(5_000)
    #expect(independent <= same && same <= many && many <= 60)
    #expect(independent < many)
    #expect(throws: GraphParameterError.self) { try limit(999) }
  }

  @Test func `requirements leave honest noise, a quorum and a threshold beyond the corrupt`() throws {
    let least = try GroupPlan.minimumGroupSize(
      cohort: 1_000, corruptPermille: 100, dropoutPermille: 100, groups: 5)
    for size in [least, 200, 220] {
      let found = try GroupPlan.requirement(
        group: 0, groupSize: size, cohort: 1_000, corruptPermille: 100, dropoutPermille: 100, groups: 5)
      #expect(found.minimumSurvivors == size - size / 10)
      #expect(found.honestSurvivors == found.minimumSurvivors - found.corruptLimit)
      #expect(found.corruptLimit < 2 * size / 3 + 1)
      #expect(size * found.corruptPermille / 1000 >= found.corruptLimit)
      #expect((size + size * found.corruptPermille / 1000) / 2 + 1 <= found.minimumSurvivors)
    }
    #expect(least > 100 && least <= 200)
    #expect(
      throws: GraphParameterError.groupTooSmall(
        group: 3, count: 60,
        corruptLimit: try GroupPlan.corruptLimit(
          groupSize: 60, cohort: 1_000, corruptPermille: 100, groups: 5),
        needed: least)
    ) {
      try GroupPlan.requirement(
        group: 3, groupSize: 60, cohort: 1_000, corruptPermille: 100, dropoutPermille: 100, groups: 5)
    }
    // Without corrupt participants two honest ones are enough.
    #expect(
      try GroupPlan.minimumGroupSize(cohort: 40, corruptPermille: 0, dropoutPermille: 0, groups: 8) == 2)
  }

  @Test func `impossible plans are refused`() {
    for groups in [Int.min, -1, 0, .max] {
      #expect(throws: GraphParameterError.self) {
        try GroupPlan(sessionID: Self.session, groups: groups)
      }
      #expect(throws: GraphParameterError.self) {
        try GroupPlan.corruptLimit(groupSize: 5, cohort: 10, corruptPermille: 100, groups: groups)
      }
    }
    for size in [Int.min, -1, 11, .max] {
      #expect(throws: GraphParameterError.cohortOutOfRange(count: size, minimum: 0, maximum: 10)) {
        try GroupPlan.corruptLimit(groupSize: size, cohort: 10, corruptPermille: 100, groups: 2)
      }
    }
    #expect(throws: GraphParameterError.fractionOutOfRange(.dropout, permille: 400, maximum: 333)) {
      try GroupPlan.minimumGroupSize(cohort: 100, corruptPermille: 0, dropoutPermille: 400, groups: 2)
    }
  }
}
