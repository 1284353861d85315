"""Scheduled kernels -> loops that LLVM takes: vectors, floats and instructions written out."""
