/// What a store of the generator sells.
package enum RetailCategory: String, CaseIterable, Sendable {
  case grocery, fashion, electronics, home, beauty, sports

  /// Median basket in euros before the store's and the customer's wealth.
  var medianBasket: Double {
    switch self {
    case .grocery: 32
    case .fashion: 58
    case .electronics: 140
    case .home: 75
    case .beauty: 27
    case .sports: 64
    }
  }

  /// Probability that a purchase comes back.
  var returnRate: Double {
    switch self {
    case .grocery: 0.01
    case .fashion: 0.18
    case .electronics: 0.09
    case .home: 0.07
    case .beauty: 0.03
    case .sports: 0.10
    }
  }
}

/// Where a purchase is made.
package enum RetailChannel: String, CaseIterable, Sendable {
  case store, web, app
}

/// One purchase of a simulated customer.
package struct RetailPurchase: Equatable, Sendable {
  /// Day of the window, 0..<365; the features are taken at its end.
  package let day: Int
  /// What was paid, in cents, after the discount.
  package let cents: Int
  /// What was bought.
  package let category: RetailCategory
  /// Where it was bought.
  package let channel: RetailChannel
  /// Discount in per cent.
  package let discountPercent: Int
  /// Delivered late; never in the store itself.
  package let isLate: Bool
  /// Sent or brought back.
  package let isReturned: Bool
  /// Followed by a complaint.
  package let isComplaint: Bool
}

/// A simulated customer with the purchases of the 365 days before the cut-off and what happens after it.
package struct RetailCustomer: Equatable, Sendable {
  /// `s<store>-c<customer>`, both zero-padded.
  package let subject: String
  /// Days between the first purchase ever and the cut-off.
  package let tenureDays: Int
  /// How the customer pays: card, wallet, cash or invoice.
  package let paymentMode: String
  /// At least one, in order of time.
  package let purchases: [RetailPurchase]
  /// The latent satisfaction at the cut-off, about −2…2; not a feature.
  package let satisfaction: Double
  /// The probability of no purchase in the 90 days after the cut-off.
  package let churnProbability: Double
  /// Drawn with `churnProbability`.
  package let churned: Bool
}

/// How a store of the generator differs from the others.
package struct RetailStore: Equatable, Sendable {
  /// The number of customers.
  package let customerCount: Int
  /// Factor on every basket, median 1.
  package let wealth: Double
  /// Share of every category, in the order of `RetailCategory.allCases`; sums to 1.
  package let categoryMix: [Double]
  /// Share of purchases online (web or app).
  package let onlineShare: Double
  /// Probability that an online purchase is delivered late.
  package let lateRate: Double
  /// Shift of the log odds of churn; the average over customers is 0.
  package let churnShift: Double
}
