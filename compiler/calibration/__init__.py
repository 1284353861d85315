"""What data shows of a model: samples, the ranges of its tensors, and what quantizing them costs in accuracy."""
