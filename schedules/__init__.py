"""Relax operators -> scheduled TensorIR kernels: what computes them, which template, which choice."""
