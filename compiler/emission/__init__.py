"""Kernels and a plan -> one library and its header."""
