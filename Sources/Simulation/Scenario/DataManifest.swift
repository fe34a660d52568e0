package import Cryptography
import Foundation

/// The public data sets that ready scenarios use: where each file comes from, its licence, and its SHA-256.
package struct DataManifest: Sendable {
  /// A data set.
  package struct DataSet: Codable, Equatable, Sendable {
    /// The name of its folder.
    package let name: String
    /// What its authors call it.
    package let title: String
    /// Who made it.
    package let source: String
    /// Where the files can be had.
    package let obtain: String
    /// Under which conditions.
    package let licence: String
  }

  /// A file of a data set.
  package struct File: Codable, Equatable, Sendable {
    /// The path below the data directory.
    package let path: String
    /// SHA-256, hex.
    package let sha256: String
    /// Bytes.
    package let bytes: Int

    package init(path: String, sha256: String, bytes: Int) {
      self.path = path
      self.sha256 = sha256
      self.bytes = bytes
    }

    /// The data set it belongs to.
    package var set: String { String(path.prefix { $0 != "/" }) }
  }

  /// All data sets.
  package let sets: [DataSet]
  /// All files.
  package let files: [File]

  /// A manifest of other files, for tests.
  package init(sets: [DataSet], files: [File]) {
    self.sets = sets
    self.files = files
  }

  /// The manifest of the files that Accord's scenarios were made for.
  package static let standard = DataManifest(
    sets: Self.sets,
    files: Self.sums.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ", maxSplits: 2).map(String.init)
      guard words.count == 3, let bytes = Int(words[1]) else { return nil }
      return File(path: words[2], sha256: words[0], bytes: bytes)
    })

  /// The data set of a path below the data directory.
  package func set(of path: String) -> DataSet? {
    let name = path.prefix { $0 != "/" }
    return sets.first { $0.name == name }
  }

  // MARK: Checking

  /// What a look at a file gave.
  package enum State: String, Codable, Equatable, Sendable {
    /// The bytes are those of the manifest.
    case right
    /// There is no such file.
    case missing
    /// There are other bytes.
    case changed
    /// The file cannot be read.
    case unreadable
    /// The manifest does not know the file.
    case extra
  }

  /// A file and its state.
  package struct Finding: Codable, Equatable, Sendable {
    /// The path below the data directory.
    package let path: String
    /// What was found.
    package let state: State
    /// What the manifest says; nil for extra files.
    package let expected: String?
    /// What is there, if it could be read.
    package let actual: String?
  }

  /// Compares a directory with the manifest, file by file in the manifest's order, then extra files.
  ///
  /// - Parameter names: data sets to look at; empty for all.
  package func check(directory: String, only names: [String] = []) -> [Finding] {
    let chosen = files.filter { names.isEmpty || names.contains($0.set) }
    let findings = chosen.map { file -> Finding in
      let path = directory + "/" + file.path
      guard FileManager.default.fileExists(atPath: path) else {
        return Finding(path: file.path, state: .missing, expected: file.sha256, actual: nil)
      }
      guard let digest = try? FileDigest.sha256(path: path) else {
        return Finding(path: file.path, state: .unreadable, expected: file.sha256, actual: nil)
      }
      let state: State = digest.hex == file.sha256 ? .right : .changed
      return Finding(path: file.path, state: state, expected: file.sha256, actual: digest.hex)
    }
    return findings + extras(directory, names)
  }

  private func extras(_ directory: String, _ names: [String]) -> [Finding] {
    let known = Set(files.map(\.path))
    let folders = sets.map(\.name).filter { names.isEmpty || names.contains($0) }.sorted()
    return folders.flatMap { folder -> [Finding] in
      let found = FileManager.default.enumerator(atPath: directory + "/" + folder)
      let paths = (found?.allObjects as? [String] ?? []).map { folder + "/" + $0 }
      return paths.filter { path in
        var isDirectory: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: directory + "/" + path, isDirectory: &isDirectory)
        return !known.contains(path) && !isDirectory.boolValue
      }.sorted().map { Finding(path: $0, state: .extra, expected: nil, actual: nil) }
    }
  }
}

/// SHA-256 of files of any size.
package enum FileDigest {
  /// Reads the file once, 1 MiB at a time.
  package static func sha256(path: String) throws(TableError) -> Digest {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw FileManager.default.fileExists(atPath: path) ? .unreadable(path: path) : .fileMissing(path: path)
    }
    var hash = StreamingSHA256()
    do {
      while let piece = try file.read(upToCount: 1 << 20), !piece.isEmpty { hash.update(Array(piece)) }
      try file.close()
    } catch {
      throw .unreadable(path: path)
    }
    return hash.finalize()
  }
}
