import Foundation

/// One customer's year and what follows: the formulas of `RetailGenerator`.
struct RetailLife {
  /// Share of every category in an average store.
  static let baseMix: [Double] = [0.34, 0.20, 0.10, 0.14, 0.12, 0.10]
  /// Makes about a fifth of the customers churn with the default sizes (measured over many seeds).
  static let churnIntercept = -2.05

  private let store: RetailStore
  private let tenureDays: Double
  private let visitsPerDay: Double
  private let drift: Double
  private let wealth: Double
  private let usualSatisfaction: Double
  private let favouriteCategory: Int
  private let favouriteChannel: Int

  /// Draws a customer's traits.
  init(store: RetailStore, draws: inout SeededDraws) {
    self.store = store
    tenureDays = min(3_000, 20 + 600 * draws.exponential())
    visitsPerDay = max(1.0 / 75, exp(0.65 * draws.normal()) / 22)
    drift = 0.7 * draws.normal()
    wealth = exp(0.3 * draws.normal())
    usualSatisfaction = 0.4 * draws.normal()
    favouriteCategory = draws.index(weights: store.categoryMix)
    favouriteChannel = draws.index(weights: Self.channelMix(of: store))
  }

  static func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }

  private static func channelMix(of store: RetailStore) -> [Double] {
    [1 - store.onlineShare, 0.55 * store.onlineShare, 0.45 * store.onlineShare]
  }

  /// Lives through the window and beyond.
  func customer(subject: String, draws: inout SeededDraws) -> RetailCustomer {
    var (purchases, satisfaction) = visits(draws: &draws)
    let end = RetailGenerator.windowDays
    satisfaction = recovered(satisfaction, after: Double(end - (purchases.last?.day ?? 0)))
    let odds = Self.churnIntercept + store.churnShift + behaviour(purchases, satisfaction)
    let probability = Self.sigmoid(odds)
    let modes = ["card", "wallet", "cash", "invoice"]
    return RetailCustomer(
      subject: subject, tenureDays: max(Int(tenureDays), end - (purchases.first?.day ?? 0)),
      paymentMode: modes[draws.index(weights: [0.48, 0.24, 0.18, 0.10])],
      purchases: purchases, satisfaction: satisfaction, churnProbability: probability,
      churned: draws.chance(probability))
  }

  /// The purchases of the window, at least one, and the satisfaction after the last.
  private func visits(draws: inout SeededDraws) -> ([RetailPurchase], Double) {
    let end = Double(RetailGenerator.windowDays)
    var satisfaction = usualSatisfaction
    // Who joined inside the window makes the first purchase then; others are somewhere between two visits.
    var time = end - tenureDays
    if time < 0 {
      time = min(end - 1, draws.unit() * wait(at: 0, satisfaction, draws: &draws))
    }
    var purchases: [RetailPurchase] = []
    while time < end {
      let purchase = self.purchase(day: Int(time), draws: &draws)
      purchases.append(purchase)
      satisfaction -= (purchase.isLate ? 0.3 : 0) + (purchase.isComplaint ? 0.9 : 0)
      let gap = wait(at: time, satisfaction, draws: &draws)
      satisfaction = recovered(satisfaction, after: min(gap, end - time))
      time += gap
    }
    return (purchases, satisfaction)
  }

  /// Days until the next visit. The sum of two exponentials of mean ½ is Gamma(2, ½).
  private func wait(at time: Double, _ satisfaction: Double, draws: inout SeededDraws) -> Double {
    let gamma = (draws.exponential() + draws.exponential()) / 2
    let tilt = drift * (time / Double(RetailGenerator.windowDays) - 0.5)
    return gamma * exp(-tilt - 0.35 * (satisfaction - usualSatisfaction)) / visitsPerDay
  }

  private func recovered(_ satisfaction: Double, after days: Double) -> Double {
    usualSatisfaction + (satisfaction - usualSatisfaction) * exp(-days / 120)
  }

  private func purchase(day: Int, draws: inout SeededDraws) -> RetailPurchase {
    let categoryIndex =
      draws.chance(0.6) ? favouriteCategory : draws.index(weights: store.categoryMix)
    let channelIndex =
      draws.chance(0.8) ? favouriteChannel : draws.index(weights: Self.channelMix(of: store))
    let category = RetailCategory.allCases[categoryIndex]
    let channel = RetailChannel.allCases[channelIndex]
    let discount = draws.chance(0.35) ? [5, 10, 15, 20, 30][draws.uniform(below: 5)] : 0
    let full = store.wealth * wealth * category.medianBasket * exp(0.45 * draws.normal())
    let cents = max(1, Int((full * Double(100 - discount)).rounded()))
    let isLate = channel != .store && draws.chance(store.lateRate)
    let isReturned = draws.chance(category.returnRate + (isLate ? 0.10 : 0))
    let complaint = 0.02 + (isLate ? 0.30 : 0) + (isReturned ? 0.12 : 0)
    return RetailPurchase(
      day: day, cents: cents, category: category, channel: channel, discountPercent: discount,
      isLate: isLate, isReturned: isReturned, isComplaint: draws.chance(complaint))
  }

  /// The part of the log odds of churn that follows from the history.
  private func behaviour(_ purchases: [RetailPurchase], _ satisfaction: Double) -> Double {
    let summary = RetailSummary(purchases)
    let end = RetailGenerator.windowDays
    let complaints = purchases.count { $0.isComplaint && $0.day >= end - 120 }
    return 2.2 * max(-2.5, log(summary.recencyRatio)) - 1.3 * log(summary.trendRatio)
      + 0.9 * Double(min(complaints, 3)) - satisfaction - 0.6 * log(tenureDays / 365)
  }
}

/// The rhythm of a purchase history.
struct RetailSummary {
  /// Days from the last purchase to the cut-off, at least 1.
  let recencyDays: Int
  /// Days since the last purchase over the mean wait; who bought once is taken to wait 60 days.
  let recencyRatio: Double
  /// (purchases of the last 90 days + 1)/(purchases expected then at the earlier rate + 1).
  let trendRatio: Double

  /// Summarises a history of at least one purchase.
  init(_ purchases: [RetailPurchase]) {
    let end = RetailGenerator.windowDays
    let first = purchases.first?.day ?? 0
    let last = purchases.last?.day ?? 0
    recencyDays = end - last
    let waits = purchases.count - 1
    let meanWait = waits > 0 ? max(1, Double(last - first) / Double(waits)) : 60
    recencyRatio = Double(recencyDays) / meanWait
    let recent = purchases.count { $0.day >= end - 90 }
    let earlierDays = end - 90 - first
    // Who joined in the last four months has no earlier rate yet.
    let expected =
      earlierDays >= 30 ? Double(purchases.count - recent) * 90 / Double(earlierDays) : Double(recent)
    trendRatio = Double(recent + 1) / (expected + 1)
  }
}
