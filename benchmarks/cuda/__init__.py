"""Libraries for NVIDIA's GPUs against their peers, built beforehand and measured in one short call where a GPU is."""
