#if DEBUG
  import Foundation
  import FuzzTargets

  /// What libFuzzer's own `main` does; the package manager wants that of an executable to be its own.
  @_silgen_name("LLVMFuzzerRunDriver")
  private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
  ) -> CInt

  @main enum Fuzzing {
    static func main() {
      var count = CommandLine.argc
      var arguments = CommandLine.unsafeArgv
      exit(runDriver(&count, &arguments) { testOneInput($0, $1) })
    }
  }

  // libFuzzer calls the two functions below by their C names.

  /// The target under test, chosen once by the environment.
  private let target: FuzzTarget = {
    let name = ProcessInfo.processInfo.environment["ACCORD_FUZZ_TARGET"] ?? ""
    guard let target = FuzzTargets.named(name) else {
      say("ACCORD_FUZZ_TARGET is “\(name)” but must be one of \(FuzzTargets.all.map(\.name))")
      exit(2)
    }
    return target
  }()

  private func say(_ sentence: String) { FileHandle.standardError.write(Data((sentence + "\n").utf8)) }

  /// `Fuzzing --list` prints names and longest inputs, `Fuzzing --write-seeds DIR` writes the seeds of every
  /// target into a directory of its own; all other arguments are libFuzzer's, and ACCORD_FUZZ_TARGET chooses.
  @_cdecl("LLVMFuzzerInitialize")
  public func initialize(_ count: UnsafeMutablePointer<CInt>?, _ arguments: UnsafeMutableRawPointer?) -> CInt
  {
    let arguments = CommandLine.arguments.dropFirst()
    if arguments == ["--list"] {
      let lines = FuzzTargets.all.map { "\($0.name) \($0.maximumLength)\n" }
      FileHandle.standardOutput.write(Data(lines.joined().utf8))
      exit(0)
    }
    if arguments.first == "--write-seeds", let directory = arguments.dropFirst().first {
      do { try writeSeeds(to: directory) } catch {
        say("the seeds were not written: \(error)")
        exit(1)
      }
      exit(0)
    }
    _ = target
    return 0
  }

  private func writeSeeds(to directory: String) throws {
    for target in FuzzTargets.all {
      let folder = URL(fileURLWithPath: directory).appendingPathComponent(target.name)
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      for (index, seed) in try target.seeds().enumerated() {
        try Data(seed).write(to: folder.appendingPathComponent("seed-\(index)"))
      }
    }
  }

  /// Runs one input; a broken promise ends the process as a trap would, and libFuzzer keeps the input.
  @_cdecl("LLVMFuzzerTestOneInput")
  public func testOneInput(_ data: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    do { try target.run(Array(UnsafeBufferPointer(start: data, count: count))) } catch {
      say("\(target.name): \(error)")
      abort()
    }
    return 0
  }
#endif
