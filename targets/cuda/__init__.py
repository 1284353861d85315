"""NVIDIA's GPUs: kernels in CUDA C++, called from a library for the machine that they are in."""
