// glibc's own figures of allocated memory, for benchmarks.
#include <malloc.h>
