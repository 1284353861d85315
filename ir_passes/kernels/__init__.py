"""Passes on kernels: which operators are one, and where their results stand."""
