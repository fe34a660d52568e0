// Open MPI's handles are macros over casts, which Swift does not import: these functions name them.
#pragma once

#include <mpi.h>
#include <stdint.h>

static inline int accord_mpi_init(int *provided) {
  return MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, provided);
}
static inline int accord_mpi_serialized(void) { return MPI_THREAD_SERIALIZED; }
static inline int accord_mpi_rank(int *rank) { return MPI_Comm_rank(MPI_COMM_WORLD, rank); }
static inline int accord_mpi_size(int *size) { return MPI_Comm_size(MPI_COMM_WORLD, size); }
static inline int accord_mpi_sum(int64_t *values, int count) {
  return MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
}
static inline int accord_mpi_finalize(void) { return MPI_Finalize(); }
