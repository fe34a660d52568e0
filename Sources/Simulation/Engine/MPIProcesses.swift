#if MPI
  import CMPI
  import Synchronization
#endif

/// The processes that `mpirun` started (built with the package trait `MPI`): each computes its part of every cohort,
/// and `MPI_Allreduce` adds the integers up, so that every process holds the same model.
///
/// The processes must run on like machines: OpenBLAS picks its kernels by the processor, and another kernel may round
/// the last bit of an update differently before it becomes an integer.
package final class MPIProcesses: SumReducer {
  /// What went wrong between the processes.
  package enum Failure: Error, CustomStringConvertible {
    /// The program was built without MPI.
    case notBuiltIn
    /// MPI does not let threads of this program take turns in calling it.
    case noThreads
    /// A call failed with Open MPI's code.
    case call(String, code: Int32)

    package var description: String {
      switch self {
      case .notBuiltIn:
        "this accord was built without MPI; build it with `make mpi MPI_CONFIGURATION='-c release'`"
      case .noThreads: "this MPI was built without support for threads (MPI_THREAD_SERIALIZED)"
      case .call(let name, let code): "\(name) failed with code \(code)"
      }
    }
  }

  package let rank: Int
  package let ranks: Int

  #if MPI
    /// Calls take turns (MPI_THREAD_SERIALIZED).
    private let turn = Mutex(())

    /// Joins the other processes. Once in a program.
    package init() throws {
      var provided: Int32 = 0
      try Self.check("MPI_Init_thread", accord_mpi_init(&provided))
      guard provided >= accord_mpi_serialized() else { throw Failure.noThreads }
      var number: Int32 = 0
      try Self.check("MPI_Comm_rank", accord_mpi_rank(&number))
      rank = Int(number)
      try Self.check("MPI_Comm_size", accord_mpi_size(&number))
      ranks = Int(number)
    }

    package func allReduce(_ sums: inout [Int64]) throws {
      try turn.withLock { _ in
        try sums.withUnsafeMutableBufferPointer { sums in
          // A count is a 32-bit number.
          for start in stride(from: 0, to: sums.count, by: 1 << 27) {
            let count = min(sums.count - start, 1 << 27)
            try Self.check("MPI_Allreduce", accord_mpi_sum(sums.baseAddress! + start, Int32(count)))
          }
        }
      }
    }

    /// Leaves the other processes, when all have come here.
    package func finish() throws { try Self.check("MPI_Finalize", accord_mpi_finalize()) }

    private static func check(_ name: String, _ code: Int32) throws {
      guard code == 0 else { throw Failure.call(name, code: code) }
    }
  #else
    /// Throws: there are no other processes in this build.
    package init() throws { throw Failure.notBuiltIn }
    package func allReduce(_ sums: inout [Int64]) throws { throw Failure.notBuiltIn }
    package func finish() throws { throw Failure.notBuiltIn }
  #endif
}
