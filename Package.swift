// swift-tools-version: 6.2
import PackageDescription

/// `make fuzz` sets ACCORD_FUZZ: our targets are then instrumented and optimised, the packages are not.
let isFuzzing = Context.environment["ACCORD_FUZZ"] != nil

/// Settings of every target of ours (docs/ARCHITECTURE.md, "Settings").
let language: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .treatAllWarnings(as: .error),
]
let strict: [SwiftSetting] =
  language + (isFuzzing ? [.unsafeFlags(["-O", "-sanitize=fuzzer,address"])] : [])

/// Targets with inner loops are optimised in debug builds too: without it the tests spend
/// their time in unspecialised array subscripts (0.8 against 135 GB/s).
let kernels: [SwiftSetting] =
  strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]

let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let cryptoExtras: Target.Dependency = .product(name: "CryptoExtras", package: "swift-crypto")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let nio: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")

/// Links against libFuzzer, so it exists for `make fuzz` alone.
let fuzzing: [Target] =
  isFuzzing
  ? [
    .executableTarget(
      name: "Fuzzing", dependencies: ["FuzzTargets"], path: "Tests/Fuzzing", exclude: ["run"],
      swiftSettings: language,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])])
  ] : []

let package = Package(
  name: "accord",
  products: [.executable(name: "accord", targets: ["accord"])],
  traits: [.trait(name: "MPI", description: "Simulations over several machines, with Open MPI.")],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
    .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: [
    // Layer 0: module maps
    .systemLibrary(name: "CSodium", pkgConfig: "libsodium", providers: [.apt(["libsodium-dev"])]),
    .systemLibrary(name: "CBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CMalloc"),
    // Imported with the trait MPI alone. Its flags come from `make mpi`: with `pkgConfig` here every build would
    // link Open MPI where it is installed.
    .systemLibrary(name: "CMPI"),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

    // Layer 1: no I/O, no clock
    .target(name: "Cryptography", dependencies: ["CSodium", crypto, cryptoExtras], swiftSettings: kernels),
    .target(name: "Privacy", dependencies: ["Cryptography"], swiftSettings: kernels),
    .target(name: "Consent", swiftSettings: strict),

    // Layer 2: no I/O, no clock
    .target(name: "MerkleLog", dependencies: ["Cryptography"], swiftSettings: kernels),
    .target(name: "SecureAggregation", dependencies: ["Cryptography"], swiftSettings: kernels),
    .target(name: "Learning", dependencies: ["CBLAS"], swiftSettings: kernels),

    // Layer 3
    .target(
      name: "Messages",
      dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
      swiftSettings: strict),
    .target(name: "Storage", dependencies: ["Cryptography", "Privacy", grdb], swiftSettings: strict),

    // Layer 4
    .target(
      name: "Federation",
      dependencies: [
        "Consent", "Cryptography", "Learning", "MerkleLog", "Messages", "Privacy",
        "SecureAggregation",
      ], swiftSettings: strict),
    .target(
      name: "ConsentLedger",
      dependencies: [
        "CZlib", "Consent", "Cryptography", "MerkleLog", "Storage", grdb,
        .product(name: "Mustache", package: "swift-mustache"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: kernels),

    // Layer 5: hosts
    .target(
      name: "AggregationServer",
      dependencies: [
        // Learning is not imported everywhere, but a change of its layouts must compile these again.
        "Consent", "ConsentLedger", "Cryptography", "Federation", "Learning", "MerkleLog", "Messages",
        "Privacy",
        "SecureAggregation", "Storage", grdb, log, nio, nioSSL,
        .product(name: "Hummingbird", package: "hummingbird"),
        .product(name: "HummingbirdTLS", package: "hummingbird"),
        .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
        .product(name: "X509", package: "swift-certificates"),
        crypto,
      ], swiftSettings: strict),
    .target(
      name: "EdgeNode",
      dependencies: [
        // Learning is not imported everywhere, but a change of its layouts must compile these again.
        "Consent", "ConsentLedger", "Cryptography", "Federation", "Learning", "MerkleLog", "Messages",
        "Privacy",
        "SecureAggregation", "Storage", grdb, log, nio, nioSSL,
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
        .product(name: "Hummingbird", package: "hummingbird"),
      ], swiftSettings: strict),
    .target(
      name: "Simulation",
      dependencies: [
        "CMPI", "CMalloc", "CZlib", "Consent", "ConsentLedger", "Cryptography", "Federation", "Learning",
        "MerkleLog", "Messages", "Privacy", "SecureAggregation", "Storage", grdb,
        .product(name: "Mustache", package: "swift-mustache"),
        .product(name: "Yams", package: "Yams"),
      ],
      swiftSettings: strict),

    // Layer 6
    .executableTarget(
      name: "accord",
      dependencies: [
        "AggregationServer", "Consent", "ConsentLedger", "Cryptography", "EdgeNode", "Federation", "Learning",
        "MerkleLog", "Messages", "Privacy", "SecureAggregation", "Simulation", "Storage", nio,
        .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ], resources: [.embedInCode("verify_ledger.py")], swiftSettings: strict),

    // What `make fuzz` and FuzzTests run; debug builds only
    .target(
      name: "FuzzTargets",
      dependencies: [
        "Consent", "ConsentLedger", "Cryptography", "Federation", "Learning", "MerkleLog", "Messages",
        "Privacy", "SecureAggregation", "Simulation",
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ], path: "Tests/FuzzTargets", swiftSettings: strict),

    .testTarget(name: "CryptographyTests", dependencies: ["Cryptography"], swiftSettings: strict),
    .testTarget(name: "PrivacyTests", dependencies: ["Cryptography", "Privacy"], swiftSettings: strict),
    .testTarget(name: "ConsentTests", dependencies: ["Consent"], swiftSettings: strict),
    .testTarget(name: "MerkleLogTests", dependencies: ["Cryptography", "MerkleLog"], swiftSettings: strict),
    .testTarget(
      name: "SecureAggregationTests", dependencies: ["Cryptography", "SecureAggregation"],
      swiftSettings: strict),
    .testTarget(name: "LearningTests", dependencies: ["Learning"], swiftSettings: strict),
    .testTarget(
      name: "StorageTests", dependencies: ["Cryptography", "Storage", grdb], swiftSettings: strict),
    .testTarget(
      name: "ConsentLedgerTests",
      dependencies: ["Consent", "ConsentLedger", "Cryptography", "MerkleLog", "Storage", grdb],
      swiftSettings: strict),
    .testTarget(
      name: "FederationTests",
      dependencies: [
        "Consent", "Cryptography", "Federation", "Learning", "Messages", "Privacy", "SecureAggregation",
      ], swiftSettings: strict),
    .testTarget(
      name: "SimulationTests",
      dependencies: [
        "CZlib", "Consent", "ConsentLedger", "Cryptography", "Federation", "Learning", "MerkleLog",
        "Messages", "Privacy", "SecureAggregation", "Simulation", "Storage", grdb,
      ],
      swiftSettings: strict),
    .testTarget(
      name: "AccordTests",
      dependencies: [
        "accord", "AggregationServer", "Consent", "ConsentLedger", "Cryptography", "EdgeNode", "Federation",
        "Learning", "MerkleLog", "Messages", "Privacy", "SecureAggregation", "Simulation", "Storage", grdb,
        log,
        nio,
        nioSSL, .product(name: "NIOHTTP1", package: "swift-nio"),
        .product(name: "AsyncHTTPClient", package: "async-http-client"),
      ],
      swiftSettings: strict),
    .testTarget(name: "FuzzTests", dependencies: ["FuzzTargets"], swiftSettings: strict),
  ] + fuzzing,
  swiftLanguageModes: [.v6]
)
