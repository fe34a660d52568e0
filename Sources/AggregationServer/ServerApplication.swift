import ConsentLedger
package import Cryptography
import Federation
import Foundation
import Hummingbird
import HummingbirdTLS
package import Logging
import Messages
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle
import Storage
import UnixSignals

/// What `accord server run` needs to know.
package struct ServerConfiguration: Sendable {
  /// The data directory; made if it does not exist.
  package var directory: String
  /// Name or address that nodes connect to; also in the certificate.
  package var host: String
  /// Port; 0 lets the system choose one.
  package var port: Int
  /// The log's origin. Fixed on first start.
  package var federation: String
  /// The operator's public key. Fixed on first start.
  package var operatorKey: VerifyingKey
  /// How long a cohort may gather once enough nodes are waiting.
  package var gatherMilliseconds: UInt64

  package init(
    directory: String, host: String, port: Int, federation: String, operatorKey: VerifyingKey,
    gatherMilliseconds: UInt64 = 1500
  ) {
    self.directory = directory
    self.host = host
    self.port = port
    self.federation = federation
    self.operatorKey = operatorKey
    self.gatherMilliseconds = gatherMilliseconds
  }
}

/// Why a server does not start.
package enum ServerStartError: Error, Sendable, CustomStringConvertible {
  /// Another process listens on the port.
  case portInUse(host: String, port: Int)
  /// The consent ledger was changed or damaged.
  case damagedLedger(String)
  /// The address cannot be bound for another reason.
  case cannotListen(host: String, port: Int, reason: String)

  package var description: String {
    switch self {
    case .portInUse(let host, let port):
      "port \(port) on \(host) is in use by another process; stop it or choose another with --port"
    case .damagedLedger(let problem):
      "the consent ledger does not verify, so the server does not start: \(problem); restore an intact copy"
    case .cannotListen(let host, let port, let reason): "cannot listen on \(host):\(port): \(reason)"
    }
  }
}

/// The aggregation server: opens the data directory, recovers, listens, and beats until it is told to stop.
package struct ServerApplication: Sendable {
  private let configuration: ServerConfiguration
  private let directory: DataDirectory
  private let keys: ServerKeys
  private let host: FederationHost
  private let ledger: LedgerStore
  private let logger: Logger
  private let certificate: String
  private let privateKey: String

  /// Opens everything; nothing is listening yet.
  package init(_ configuration: ServerConfiguration, logger: Logger) throws {
    self.configuration = configuration
    self.logger = logger
    directory = try DataDirectory(configuration.directory, kind: .server)
    keys = try ServerKeys(directory, operatorKey: configuration.operatorKey)
    ledger = try LedgerStore.open(
      directory: directory.path, origin: configuration.federation, logKey: keys.log,
      freshnessKey: keys.freshness, operatorKey: configuration.operatorKey)
    // A log that does not verify must not be served, let alone signed on.
    let verification = LedgerVerifier.verify(directory: directory.path, pinned: ledger.verifiers)
    guard verification.verified else {
      throw ServerStartError.damagedLedger(verification.firstProblem ?? "it does not verify")
    }
    let clock: @Sendable () -> UInt64 = { UInt64(Date().timeIntervalSince1970 * 1000) }
    host = try FederationHost(
      keys: keys, store: try ServerStore(directory), ledger: ledger, budgets: try ServerBudgets(directory),
      logger: logger, gatherMilliseconds: configuration.gatherMilliseconds, random: .system(), clock: clock)
    (certificate, privateKey) = try Self.tls(directory, host: configuration.host)
  }

  /// The certificate and key of the directory, made on first start.
  private static func tls(
    _ directory: DataDirectory, host: String
  ) throws -> (certificate: String, privateKey: String) {
    let certificatePath = directory.file("tls-certificate.pem")
    let keyPath = directory.file("keys/tls.pem")
    if !DurableFile.exists(keyPath) || !DurableFile.exists(certificatePath) {
      let made = try TLSIdentity.make(host: host, now: Date())
      try DurableFile.write(Array(made.certificate.utf8), to: certificatePath)
      try DurableFile.write(Array(made.privateKey.utf8), to: keyPath)
    }
    let certificate = try DurableFile.read(certificatePath, limit: 65_536) ?? []
    return (
      String(decoding: certificate, as: UTF8.self),
      String(decoding: try DurableFile.readSecret(keyPath), as: UTF8.self)
    )
  }

  /// Runs until the task is cancelled or a signal arrives. `onReady` gets the URL that nodes use; `onStopping`
  /// is called when waiting requests were sent home and only connections remain to be closed, which takes as
  /// long as the slowest peer's farewell: nothing is lost by not waiting for it.
  package func run(
    onReady: @escaping @Sendable (String) async -> Void = { _ in },
    onStopping: @escaping @Sendable () -> Void = {}
  ) async throws {
    try await host.recover()
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8)).map { .certificate($0) },
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(privateKey.utf8), format: .pem)))
    tls.minimumTLSVersion = .tlsv13
    var info = WireServerInfo()
    info.protocolVersion = RoundDescriptor.protocolVersion
    info.federation = configuration.federation
    info.serverKey = Data(keys.server.verifyingKey.bytes)
    info.operatorKey = Data(keys.operatorKey.bytes)
    let routes = Routes(
      host: host, serverInfo: encodeMessage(info),
      files: LedgerTileServer(store: ledger) { Int64(Date().timeIntervalSince1970 * 1000) }, logger: logger,
      clock: { UInt64(Date().timeIntervalSince1970 * 1000) })
    try await checkPort()
    let application = Application(
      router: routes.router(),
      server: try .tls(
        .http1(configuration: .init(idleTimeout: .seconds(60))), tlsConfiguration: tls),
      configuration: .init(address: .hostname(configuration.host, port: configuration.port)),
      onServerRunning: { channel in
        let port = channel.localAddress?.port ?? configuration.port
        let url = "https://\(configuration.host):\(port)"
        do {
          try ServerSettings.remember(port: port, directory: directory)
          try DurableFile.write(try trust(url: url).encode(), to: directory.file("trust.json"))
        } catch {
          logger.error("trust.json could not be written: \(error)")
        }
        logger.info("listening on \(url)")
        await onReady(url)
      }, logger: logger)
    // Services stop in reverse order: the beat first, which sends waiting requests home.
    var services = ServiceGroupConfiguration(
      services: [.init(service: application), .init(service: Beat(host: host, onStopping: onStopping))],
      gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
    // A peer that stopped in the middle of a request is not waited for.
    services.maximumGracefulShutdownDuration = .seconds(1)
    try await ServiceGroup(configuration: services).run()
  }

  /// Binds and releases the port once, to answer in a sentence when it is taken.
  private func checkPort() async throws {
    let host = configuration.host
    let port = configuration.port
    do {
      let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
        .bind(host: host, port: port).get()
      try await channel.close()
    } catch let error as IOError where error.errnoCode == EADDRINUSE {
      throw ServerStartError.portInUse(host: host, port: port)
    } catch {
      throw ServerStartError.cannotListen(host: host, port: port, reason: "\(error)")
    }
  }

  private func trust(url: String) -> TrustBundle {
    TrustBundle(
      federation: configuration.federation, url: url, certificate: certificate,
      serverKey: keys.server.verifyingKey, operatorKey: keys.operatorKey, logKey: keys.log.verifyingKey,
      freshnessKey: keys.freshness.verifyingKey)
  }
}

/// The server's beat: deadlines and session starts, a few times a second. It ends the server when something
/// happened after which going on would be a guess.
private struct Beat: Service {
  let host: FederationHost
  let onStopping: @Sendable () -> Void

  func run() async throws {
    do {
      try await cancelWhenGracefulShutdown {
        while !Task.isCancelled {
          try await host.tick()
          do { try await Task.sleep(for: .milliseconds(50)) } catch { break }
        }
      }
    } catch {
      // Whoever waits is sent home first: the listener ends only when its requests have.
      await host.stop()
      throw error
    }
    await host.stop()
    onStopping()
  }
}
