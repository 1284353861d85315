"""Benchmarks: the models to measure on, and Tilewright against its peers on the same work in one run."""
