"""Patch by patch: a run of convolutions whose tensors are large, computed so that only parts of them exist at a time."""
