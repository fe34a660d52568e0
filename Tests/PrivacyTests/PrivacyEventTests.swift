import Foundation
import Testing

@testable import Privacy

/// Events survive JSON, and what this program does not understand survives as something refused.
struct PrivacyEventTests {
  private func decode(_ json: String) throws -> PrivacyEvent {
    try JSONDecoder().decode(PrivacyEvent.self, from: Data(json.utf8))
  }

  @Test func `every event survives JSON`() throws {
    let mechanisms: [PrivacyMechanism] = [
      .gaussian(noiseMultiplier: 1.1), .none, .unsupported(name: "gaussian"),
      .skellam(
        variance: 12.5, sensitivityL2Squared: 1_263_656, sensitivityL1: 1_151_103.5,
        dimension: 1 << 20, samplerErrorLog2: -81.25),
      .matrixGaussian(noiseMultiplier: 4, sensitivity: 1.8), .laplace(noiseMultiplier: 2),
      .discreteLaplace(scale: 1.5, sensitivity: 3), .randomizedResponse(epsilon: 1, categories: 4),
      .pureEpsilon(epsilon: 0.25),
      .discreteGaussian(
        varianceParameter: 2.5, shares: 9, sensitivityL2Squared: 4, sensitivityL1: 3, dimension: 7,
        samplerErrorLog2: -.infinity),
      .skellam(
        variance: 1, sensitivityL2Squared: 1, sensitivityL1: 1, dimension: 1,
        samplerErrorLog2: -.infinity),
    ]
    let samplings: [PrivacySampling] = [
      .none, .poisson(rate: 0.01), .unsupported(name: "poisson"),
      .fixedSizeWithoutReplacement(sampled: 3, population: 9),
    ]
    for mechanism in mechanisms {
      for sampling in samplings {
        let event = PrivacyEvent(mechanism: mechanism, sampling: sampling, count: 17)
        let data = try JSONEncoder().encode(event)
        #expect(try JSONDecoder().decode(PrivacyEvent.self, from: data) == event)
      }
    }
  }

  @Test func `the JSON form is the documented one`() throws {
    let event = try decode(
      """
      {"mechanism": {"kind": "gaussian", "noiseMultiplier": 2},
       "sampling": {"kind": "poisson", "rate": 0.5}, "count": 3}
      """)
    #expect(
      event
        == PrivacyEvent(
          mechanism: .gaussian(noiseMultiplier: 2), sampling: .poisson(rate: 0.5), count: 3))
  }

  @Test(arguments: [
    #"{"mechanism": {"kind": "laplace", "b": 2}, "sampling": {"kind": "none"}, "count": 1}"#,
    #"""
    {"mechanism": {"kind": "gaussian", "noiseMultiplier": 2, "correlation": 0.5},
     "sampling": {"kind": "none"}, "count": 1}
    """#,
    #"""
    {"mechanism": {"kind": "gaussian", "noiseMultiplier": 2},
     "sampling": {"kind": "shuffled", "rate": 0.5}, "count": 1}
    """#,
    #"""
    {"mechanism": {"kind": "gaussian", "noiseMultiplier": 2},
     "sampling": {"kind": "poisson", "rate": 0.5, "truncatedAt": 100}, "count": 1}
    """#,
    #"""
    {"mechanism": {"kind": "gaussian", "noiseMultiplier": 2},
     "sampling": {"kind": "none", "rate": 0.5}, "count": 1}
    """#,
    #"""
    {"mechanism": {"kind": "gaussian", "noiseMultiplier": 2}, "sampling": {"kind": "none"},
     "count": 1, "participations": 9}
    """#,
  ])
  func `an event of a later version decodes and is refused`(_ json: String) throws {
    var accountant = RenyiAccountant()
    let event = try decode(json)
    #expect(throws: PrivacyError.self) { try accountant.compose(event) }
    let again = try JSONDecoder().decode(PrivacyEvent.self, from: JSONEncoder().encode(event))
    #expect(again == event, "and it is still refused after being stored")
  }

  @Test(arguments: [
    "{}", #"{"mechanism": {"kind": "gaussian"}, "sampling": {"kind": "none"}, "count": 1}"#,
    #"{"mechanism": {"kind": "none"}, "sampling": {"kind": "none"}}"#,
    #"{"mechanism": {"kind": "none"}, "count": 1}"#,
    #"""
    {"mechanism": {"kind": "skellam", "variance": 1, "sensitivityL2Squared": 1, "sensitivityL1": 1,
     "dimension": 1, "samplerErrorLog2": "nan"}, "sampling": {"kind": "none"}, "count": 1}
    """#,
  ])
  func `a malformed event does not decode`(_ json: String) {
    #expect(throws: DecodingError.self) { try decode(json) }
  }
}
