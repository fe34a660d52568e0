/// What can go wrong between this process and its files. Every sentence names the file and what to do.
package enum StorageError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A directory is missing.
  case noDirectory(path: String)
  /// A directory exists but is no Accord data directory.
  case notADataDirectory(path: String)
  /// A data directory belongs to another role.
  case otherKind(path: String, expected: String, found: String)
  /// A data directory or database was written by another version.
  case otherVersion(path: String, expected: Int, found: Int)
  /// Another process holds the lock.
  case inUse(path: String)
  /// A file is missing.
  case missingFile(path: String)
  /// A secret file can be read by others.
  case exposedSecret(path: String, mode: String)
  /// A key file does not hold what it should.
  case malformedKeyFile(path: String)
  /// A name cannot be a file name here.
  case invalidName(String)
  /// The operating system refused an operation.
  case system(operation: String, path: String, errno: Int32)
  /// A database file is damaged or no database.
  case corrupted(path: String)
  /// A file is a database, but of something else.
  case otherDatabase(path: String, expected: String)
  /// SQLite refused an operation; the code is its extended result code.
  case database(path: String, code: Int32)
  /// The durable mode could not be set, so nothing may be acknowledged.
  case notDurable(path: String, synchronous: Int)
  /// An idempotency key was used before for something else.
  case conflictingDebit(id: String)
  /// A population was declared before with other values, or is not declared.
  case unknownPopulation(String)
  /// A population was declared before with another unit or budget.
  case conflictingPopulation(String)
  /// The budget does not permit the debit.
  case budgetRefused(population: String)

  /// A sentence for people.
  package var description: String {
    switch self {
    case .noDirectory(let path): "there is no directory \(path)"
    case .notADataDirectory(let path):
      "\(path) is not an Accord data directory (it has no valid VERSION file); choose an empty one"
    case .otherKind(let path, let expected, let found):
      "\(path) is the data directory of a \(found), not of a \(expected)"
    case .otherVersion(let path, let expected, let found):
      "\(path) has format version \(found), but this program needs version \(expected)"
    case .inUse(let path): "\(path) is in use by another process; stop it first"
    case .missingFile(let path): "the file \(path) is missing"
    case .exposedSecret(let path, let mode):
      "\(path) holds a secret but has mode \(mode); make it readable by its owner only: chmod 600"
    case .malformedKeyFile(let path): "\(path) does not hold a key in hexadecimal; restore it from a backup"
    case .invalidName(let name):
      "“\(name)” is no file name: use letters, digits, dots, dashes and underscores"
    case .system(let operation, let path, let code):
      "could not \(operation) \(path): \(systemMessage(code))"
    case .corrupted(let path): "\(path) is damaged or no database; restore it from a backup"
    case .otherDatabase(let path, let expected):
      "\(path) is a database, but not the \(expected) expected here"
    case .database(let path, let code): "the database \(path) refused an operation (SQLite code \(code))"
    case .notDurable(let path, let level):
      "the database \(path) runs with synchronous=\(level) instead of 2 (FULL)"
    case .conflictingDebit(let id): "the debit \(id) was recorded before with other content"
    case .unknownPopulation(let name): "the population \(name) has no declared budget"
    case .conflictingPopulation(let name):
      "the population \(name) was declared before with another unit or budget"
    case .budgetRefused(let name): "the privacy budget of \(name) does not permit this debit"
    }
  }
}
