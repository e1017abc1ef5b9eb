"""The machine: threads, the threads of BLAS, and the memory allocator."""
