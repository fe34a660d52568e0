/// Policies to start from: complete, with the notices whose hashes they list. An officer copies one, puts in
/// the company, the assessments and the texts as they are shown. Nothing here is legal advice.
package enum PolicyTemplates {
  /// The templates by name: the policy as YAML, and the texts of its notices in the order of the list.
  package static let all: [(name: String, yaml: String, notices: [String])] = [
    ("eu-retail", europeanUnion, europeanNotices), ("california-retail", california, californianNotices),
  ]

  private static let europeanUnion = """
    # A retailer in the European Union: nothing without an opt-in (GDPR). Not legal advice.
    id: eu-retail
    version: 1
    controller:
      name: Example Retail GmbH
      address: Beispielstraße 1, 10115 Berlin, Germany
      contact: privacy@retail.example
      data_protection_officer: dpo@retail.example
    establishment: DE
    limits:
      gdpr_answer: 1 month
      gdpr_extension: 2 months
      withdrawal: 1 second
      checkpoint_age: 60 seconds
      ask_again_after: 12 months
    two_person_actions: [policy, erasure, key-rotation]
    purposes:
      - id: churn
        version: 1
        title: Churn prevention
        description: Estimates who is about to stop shopping, so that stores can win them back.
        dpia: EXAMPLE-DPIA-churn  # replace by where your own assessment is filed
        sensitive: false
        minors: never
        asks_age: false
        data_categories: [purchases, visits, loyalty status]
        retention: 24 months
        grant_lifetime: 24 months
        jurisdictions:
          EEA: {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
          GB: {regime: opt-in, legal_bases: ["uk-gdpr:A6-1-a"]}
          "*": {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
        notices:
          - hash: 2f5b399af31a8d412828e70a319b99f976b09a45f5350f6ed5c37b07f8d02a03
            language: en
            title: Churn prevention
          - hash: 77204c2634d6c62df463161ba0b971432e2985fede6d592da554e474e09cabf3
            language: de
            title: Kundenbindung
      - id: recommendations
        version: 1
        title: Recommendations
        description: Suggests products that fit what a customer bought before.
        dpia: EXAMPLE-DPIA-recommendations  # replace by where your own assessment is filed
        sensitive: false
        minors: allowed
        asks_age: true
        data_categories: [purchases, product views]
        retention: 12 months
        grant_lifetime: 24 months
        jurisdictions:
          EEA: {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
          GB: {regime: opt-in, legal_bases: ["uk-gdpr:A6-1-a"]}
          "*": {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
        notices:
          - hash: a4baba56e71ef56e6bbba376e5c9ee74c956bb3dcb8dfa4a098d1a30d19c9a18
            language: en
            title: Recommendations
          - hash: 51e9bb33dc8a5f2723f20c50a1036d4c964f2d1a52110af79d2632746fee89da
            language: de
            title: Empfehlungen
      - id: customer-value
        version: 1
        title: Customer value
        description: Estimates what a customer will spend in the coming year, to plan offers.
        dpia: EXAMPLE-DPIA-customer-value  # replace by where your own assessment is filed
        sensitive: false
        minors: never
        asks_age: false
        data_categories: [purchases, visits]
        retention: 24 months
        grant_lifetime: 24 months
        jurisdictions:
          EEA: {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
          GB: {regime: opt-in, legal_bases: ["uk-gdpr:A6-1-a"]}
          "*": {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
        notices:
          - hash: 2c34c64353e50bdc3d5c8cb41eeaba7a1b45275159aec050546df20d35523949
            language: en
            title: Customer value
          - hash: bd775aeae8da623d64f0094d3857014abfcf1aaf5c03714470e71366fb03be14
            language: de
            title: Kundenwert
      - id: segments
        version: 1
        title: Customer segments
        description: Groups customers with similar shopping habits.
        dpia: EXAMPLE-DPIA-segments  # replace by where your own assessment is filed
        sensitive: false
        minors: never
        asks_age: false
        data_categories: [purchases, visits]
        retention: 24 months
        grant_lifetime: 24 months
        jurisdictions:
          EEA: {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
          GB: {regime: opt-in, legal_bases: ["uk-gdpr:A6-1-a"]}
          "*": {regime: opt-in, legal_bases: ["eu-gdpr:A6-1-a"]}
        notices:
          - hash: e0c23e618b603684994877a5dd3b1159c0929e2cc5a2564009f5986b2fe0db47
            language: en
            title: Customer segments
          - hash: f970ab1c784a0f55dd71461202acd66178b33666bf129ed8df4984ee9c2ebf24
            language: de
            title: Kundengruppen
      - id: sentiment
        version: 1
        title: Sentiment of reviews
        description: Learns from reviews whether customers are content; they may reveal special categories.
        dpia: EXAMPLE-DPIA-sentiment  # replace by where your own assessment is filed
        sensitive: true
        minors: never
        asks_age: true
        data_categories: [reviews, complaints]
        retention: 6 months
        grant_lifetime: 12 months
        jurisdictions:
          EEA: {regime: opt-in, legal_bases: ["eu-gdpr:A9-2-a"]}
          GB: {regime: opt-in, legal_bases: ["uk-gdpr:A9-2-a"]}
          "*": {regime: opt-in, legal_bases: ["eu-gdpr:A9-2-a"]}
        notices:
          - hash: df41e61843540e50d37c8cba2fa2de73606d809f149027dcf97b3240b569959e
            language: en
            title: Sentiment of reviews
          - hash: 67d263c6e1fda5b45fe0115ca6a7f46dc05ee570555e9a275c458dc5aefdde65
            language: de
            title: Stimmung in Bewertungen

    """

  private static let europeanNotices = [
    """
    Churn prevention. With your permission Example Retail GmbH uses your purchases, visits and loyalty \
    status to notice when customers are about to leave and to offer them a reason to stay. The calculation \
    happens in your store; only sums over many customers, with noise added, leave it. We keep these data \
    for 24 months. The legal basis is your consent. You can say no without any disadvantage, and you can \
    withdraw at any time as easily as you agree: at any till, in the app or on the web. What was learned \
    before remains in models only within the published privacy bound. You may ask for access, correction, \
    erasure, restriction and a copy of your data, and complain to a supervisory authority. Data protection \
    officer: dpo@retail.example.
    """,
    """
    Kundenbindung. Mit Ihrer Einwilligung verwendet die Example Retail GmbH Ihre Einkäufe, Besuche und \
    Ihren Treuestatus, um zu erkennen, wann Kunden uns verlassen, und ihnen einen Grund zum Bleiben \
    anzubieten. Gerechnet wird in Ihrer Filiale; nur verrauschte Summen über viele Kunden verlassen sie. \
    Wir speichern diese Daten 24 Monate. Rechtsgrundlage ist Ihre Einwilligung. Sie können ohne Nachteil \
    ablehnen und jederzeit so einfach widerrufen, wie Sie zustimmen: an jeder Kasse, in der App oder im \
    Web. Was vorher gelernt wurde, bleibt in Modellen nur innerhalb der veröffentlichten Schranke. Sie \
    haben das Recht auf Auskunft, Berichtigung, Löschung, Einschränkung und eine Kopie Ihrer Daten sowie \
    auf Beschwerde bei einer Aufsichtsbehörde. Datenschutzbeauftragte: dpo@retail.example.
    """,
    """
    Recommendations. With your permission Example Retail GmbH uses your purchases and the products you \
    looked at to suggest products that fit what you bought before. The calculation happens in your store; \
    only sums over many customers, with noise added, leave it. We keep these data for 12 months. Below the \
    age of consent of your country a parent or guardian decides. The legal basis is your consent. You can \
    say no without any disadvantage, and you can withdraw at any time as easily as you agree: at any till, \
    in the app or on the web. What was learned before remains in models only within the published privacy \
    bound. You may ask for access, correction, erasure, restriction and a copy of your data, and complain \
    to a supervisory authority. Data protection officer: dpo@retail.example.
    """,
    """
    Empfehlungen. Mit Ihrer Einwilligung verwendet die Example Retail GmbH Ihre Einkäufe und angesehenen \
    Produkte, um Ihnen Produkte vorzuschlagen, die zu Ihren Einkäufen passen. Gerechnet wird in Ihrer \
    Filiale; nur verrauschte Summen über viele Kunden verlassen sie. Wir speichern diese Daten 12 Monate. \
    Unter dem Einwilligungsalter Ihres Landes entscheiden Ihre Eltern. Rechtsgrundlage ist Ihre \
    Einwilligung. Sie können ohne Nachteil ablehnen und jederzeit so einfach widerrufen, wie Sie zustimmen: \
    an jeder Kasse, in der App oder im Web. Was vorher gelernt wurde, bleibt in Modellen nur innerhalb der \
    veröffentlichten Schranke. Sie haben das Recht auf Auskunft, Berichtigung, Löschung, Einschränkung und \
    eine Kopie Ihrer Daten sowie auf Beschwerde bei einer Aufsichtsbehörde. Datenschutzbeauftragte: \
    dpo@retail.example.
    """,
    """
    Customer value. With your permission Example Retail GmbH uses your purchases and visits to estimate \
    what you may spend in the coming year and to plan offers. The calculation happens in your store; only \
    sums over many customers, with noise added, leave it. We keep these data for 24 months. The legal basis \
    is your consent. You can say no without any disadvantage, and you can withdraw at any time as easily as \
    you agree: at any till, in the app or on the web. What was learned before remains in models only within \
    the published privacy bound. You may ask for access, correction, erasure, restriction and a copy of \
    your data, and complain to a supervisory authority. Data protection officer: dpo@retail.example.
    """,
    """
    Kundenwert. Mit Ihrer Einwilligung verwendet die Example Retail GmbH Ihre Einkäufe und Besuche, um zu \
    schätzen, was Sie im nächsten Jahr einkaufen, und Angebote zu planen. Gerechnet wird in Ihrer Filiale; \
    nur verrauschte Summen über viele Kunden verlassen sie. Wir speichern diese Daten 24 Monate. \
    Rechtsgrundlage ist Ihre Einwilligung. Sie können ohne Nachteil ablehnen und jederzeit so einfach \
    widerrufen, wie Sie zustimmen: an jeder Kasse, in der App oder im Web. Was vorher gelernt wurde, bleibt \
    in Modellen nur innerhalb der veröffentlichten Schranke. Sie haben das Recht auf Auskunft, \
    Berichtigung, Löschung, Einschränkung und eine Kopie Ihrer Daten sowie auf Beschwerde bei einer \
    Aufsichtsbehörde. Datenschutzbeauftragte: dpo@retail.example.
    """,
    """
    Customer segments. With your permission Example Retail GmbH uses your purchases and visits to group \
    customers with similar shopping habits. The calculation happens in your store; only sums over many \
    customers, with noise added, leave it. We keep these data for 24 months. The legal basis is your \
    consent. You can say no without any disadvantage, and you can withdraw at any time as easily as you \
    agree: at any till, in the app or on the web. What was learned before remains in models only within the \
    published privacy bound. You may ask for access, correction, erasure, restriction and a copy of your \
    data, and complain to a supervisory authority. Data protection officer: dpo@retail.example.
    """,
    """
    Kundengruppen. Mit Ihrer Einwilligung verwendet die Example Retail GmbH Ihre Einkäufe und Besuche, um \
    Kunden mit ähnlichen Gewohnheiten zusammenzufassen. Gerechnet wird in Ihrer Filiale; nur verrauschte \
    Summen über viele Kunden verlassen sie. Wir speichern diese Daten 24 Monate. Rechtsgrundlage ist Ihre \
    Einwilligung. Sie können ohne Nachteil ablehnen und jederzeit so einfach widerrufen, wie Sie zustimmen: \
    an jeder Kasse, in der App oder im Web. Was vorher gelernt wurde, bleibt in Modellen nur innerhalb der \
    veröffentlichten Schranke. Sie haben das Recht auf Auskunft, Berichtigung, Löschung, Einschränkung und \
    eine Kopie Ihrer Daten sowie auf Beschwerde bei einer Aufsichtsbehörde. Datenschutzbeauftragte: \
    dpo@retail.example.
    """,
    """
    Sentiment of reviews. With your permission Example Retail GmbH uses the text of your reviews and \
    complaints to learn whether customers are content. The calculation happens in your store; only sums \
    over many customers, with noise added, leave it. We keep these data for 6 months. What you write may \
    reveal your health, beliefs or other things the law protects specially, so we ask you for your explicit \
    consent. The legal basis is your consent. You can say no without any disadvantage, and you can withdraw \
    at any time as easily as you agree: at any till, in the app or on the web. What was learned before \
    remains in models only within the published privacy bound. You may ask for access, correction, erasure, \
    restriction and a copy of your data, and complain to a supervisory authority. Data protection officer: \
    dpo@retail.example.
    """,
    """
    Stimmung in Bewertungen. Mit Ihrer Einwilligung verwendet die Example Retail GmbH die Texte Ihrer \
    Bewertungen und Beschwerden, um zu lernen, ob Kunden zufrieden sind. Gerechnet wird in Ihrer Filiale; \
    nur verrauschte Summen über viele Kunden verlassen sie. Wir speichern diese Daten 6 Monate. Was Sie \
    schreiben, kann Ihre Gesundheit, Überzeugungen oder anderes besonders Geschütztes verraten; deshalb \
    bitten wir um Ihre ausdrückliche Einwilligung. Rechtsgrundlage ist Ihre Einwilligung. Sie können ohne \
    Nachteil ablehnen und jederzeit so einfach widerrufen, wie Sie zustimmen: an jeder Kasse, in der App \
    oder im Web. Was vorher gelernt wurde, bleibt in Modellen nur innerhalb der veröffentlichten Schranke. \
    Sie haben das Recht auf Auskunft, Berichtigung, Löschung, Einschränkung und eine Kopie Ihrer Daten \
    sowie auf Beschwerde bei einer Aufsichtsbehörde. Datenschutzbeauftragte: dpo@retail.example.
    """,
  ]

  private static let california = """
    # A retailer in California: adults may opt out, minors opt in (CCPA/CPRA). Not legal advice.
    id: california-retail
    version: 1
    controller:
      name: Example Market Inc.
      address: 1 Sample Avenue, Sacramento, CA 95814, USA
      contact: privacy@market.example
    establishment: US-CA
    limits:
      ccpa_answer: 45 days
      ccpa_extension: 45 days
      acknowledge: 10 business days
      opt_out: 15 business days
      withdrawal: 1 second
      checkpoint_age: 60 seconds
      ask_again_after: 12 months
      request_records: 24 months
      opt_in_below_age: 16
    two_person_actions: [policy, erasure, key-rotation]
    later_grant_overrides_gpc: false  # a Global Privacy Control signal stands, whatever is agreed to later
    purposes:
      - id: churn
        version: 1
        title: Churn prevention
        description: Estimates who is about to stop shopping, so that stores can win them back.
        dpia: EXAMPLE-DPIA-churn  # replace by where your own assessment is filed
        sensitive: false
        minors: allowed
        asks_age: false
        data_categories: [purchases, visits, loyalty status]
        retention: 24 months
        jurisdictions:
          US-CA: {regime: opt-out, legal_bases: ["us-ca:opt-out", "us-ca:opt-in"]}
          "*": {regime: opt-in, legal_bases: ["us-ca:opt-in"]}
        notices:
          - hash: 62fb76d69e8787cda2aad275d8973d08835d993a807833071e03e0ec68eb236b
            language: en
            title: Churn prevention
      - id: recommendations
        version: 1
        title: Recommendations
        description: Suggests products that fit what a customer bought before.
        dpia: EXAMPLE-DPIA-recommendations  # replace by where your own assessment is filed
        sensitive: false
        minors: allowed
        asks_age: false
        data_categories: [purchases, product views]
        retention: 12 months
        jurisdictions:
          US-CA: {regime: opt-out, legal_bases: ["us-ca:opt-out", "us-ca:opt-in"]}
          "*": {regime: opt-in, legal_bases: ["us-ca:opt-in"]}
        notices:
          - hash: f3bc95ad3272a6364159059a30d53d9d07b9c86c2b560ba8932587888ac7d9fa
            language: en
            title: Recommendations
      - id: customer-value
        version: 1
        title: Customer value
        description: Estimates what a customer will spend in the coming year, to plan offers.
        dpia: EXAMPLE-DPIA-customer-value  # replace by where your own assessment is filed
        sensitive: false
        minors: allowed
        asks_age: false
        data_categories: [purchases, visits]
        retention: 24 months
        jurisdictions:
          US-CA: {regime: opt-out, legal_bases: ["us-ca:opt-out", "us-ca:opt-in"]}
          "*": {regime: opt-in, legal_bases: ["us-ca:opt-in"]}
        notices:
          - hash: 16b071778e756434f3e5566a2bc24ff737b525e84b77ded09d3c6bbb6f9d8af5
            language: en
            title: Customer value
      - id: segments
        version: 1
        title: Customer segments
        description: Groups customers with similar shopping habits.
        dpia: EXAMPLE-DPIA-segments  # replace by where your own assessment is filed
        sensitive: false
        minors: allowed
        asks_age: false
        data_categories: [purchases, visits]
        retention: 24 months
        jurisdictions:
          US-CA: {regime: opt-out, legal_bases: ["us-ca:opt-out", "us-ca:opt-in"]}
          "*": {regime: opt-in, legal_bases: ["us-ca:opt-in"]}
        notices:
          - hash: 4f04fec940f3f59006a7766a855e49d98fed4ca4410e8d3cdec2a85275ac4b94
            language: en
            title: Customer segments
      - id: sentiment
        version: 1
        title: Sentiment of reviews
        description: Learns from reviews whether customers are content; they may reveal special categories.
        dpia: EXAMPLE-DPIA-sentiment  # replace by where your own assessment is filed
        sensitive: true
        minors: never
        asks_age: true
        data_categories: [reviews, complaints]
        retention: 6 months
        grant_lifetime: 12 months
        jurisdictions:
          US-CA: {regime: opt-in, legal_bases: ["us-ca:opt-in"]}
          "*": {regime: opt-in, legal_bases: ["us-ca:opt-in"]}
        notices:
          - hash: afd98ec6461a8f5034c41136484df32ec83409bcf92e77db768ecd543d9b47cb
            language: en
            title: Sentiment of reviews

    """

  private static let californianNotices = [
    """
    Churn prevention. Example Market Inc. uses your purchases, visits and loyalty status to notice when \
    customers are about to leave and to offer them a reason to stay. The calculation happens in your store; \
    only sums over many customers, with noise added, leave it. We keep these data for 24 months. You may \
    opt out at any time, at any till, in the app, on the web or by a Global Privacy Control signal, which \
    we honor. If you are 13 to 15 we ask you first; if you are under 13 we ask your parent or guardian \
    first. You will be treated the same whatever you choose. You may ask to know, delete, correct and \
    limit: privacy@market.example or +1 555 0100.
    """,
    """
    Recommendations. Example Market Inc. uses your purchases and the products you looked at to suggest \
    products that fit what you bought before. The calculation happens in your store; only sums over many \
    customers, with noise added, leave it. We keep these data for 12 months. You may opt out at any time, \
    at any till, in the app, on the web or by a Global Privacy Control signal, which we honor. If you are \
    13 to 15 we ask you first; if you are under 13 we ask your parent or guardian first. You will be \
    treated the same whatever you choose. You may ask to know, delete, correct and limit: \
    privacy@market.example or +1 555 0100.
    """,
    """
    Customer value. Example Market Inc. uses your purchases and visits to estimate what you may spend in \
    the coming year and to plan offers. The calculation happens in your store; only sums over many \
    customers, with noise added, leave it. We keep these data for 24 months. You may opt out at any time, \
    at any till, in the app, on the web or by a Global Privacy Control signal, which we honor. If you are \
    13 to 15 we ask you first; if you are under 13 we ask your parent or guardian first. You will be \
    treated the same whatever you choose. You may ask to know, delete, correct and limit: \
    privacy@market.example or +1 555 0100.
    """,
    """
    Customer segments. Example Market Inc. uses your purchases and visits to group customers with similar \
    shopping habits. The calculation happens in your store; only sums over many customers, with noise \
    added, leave it. We keep these data for 24 months. You may opt out at any time, at any till, in the \
    app, on the web or by a Global Privacy Control signal, which we honor. If you are 13 to 15 we ask you \
    first; if you are under 13 we ask your parent or guardian first. You will be treated the same whatever \
    you choose. You may ask to know, delete, correct and limit: privacy@market.example or +1 555 0100.
    """,
    """
    Sentiment of reviews. Example Market Inc. uses the text of your reviews and complaints to learn whether \
    customers are content. The calculation happens in your store; only sums over many customers, with noise \
    added, leave it. We keep these data for 6 months. This uses sensitive personal information, so we ask \
    first and do nothing without your yes; you may limit or end it at any time. You will be treated the \
    same whatever you choose. You may ask to know, delete, correct and limit: privacy@market.example or +1 \
    555 0100.
    """,
  ]
}
