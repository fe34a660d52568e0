#include <cblas.h>
#include <stddef.h>

// Two of LAPACK's subroutines, which OpenBLAS holds but whose C header is not part of every installation of it.
// Texts are passed with their lengths after the other arguments, as Fortran compilers do.

/// Solves A·X = B for a symmetric positive definite A by Cholesky's factorisation.
void dposv_(
  const char *uplo, const blasint *n, const blasint *nrhs, double *a, const blasint *lda, double *b,
  const blasint *ldb, blasint *info, size_t uplo_length);

/// The eigenvalues, ascending, and eigenvectors of a symmetric matrix.
void dsyev_(
  const char *jobz, const char *uplo, const blasint *n, double *a, const blasint *lda, double *w, double *work,
  const blasint *lwork, blasint *info, size_t jobz_length, size_t uplo_length);
