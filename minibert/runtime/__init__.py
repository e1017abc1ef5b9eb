"""Threads, BLAS and memory."""
