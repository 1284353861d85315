"""Templates and sources of libraries whose kernels run on NVIDIA's GPUs."""
