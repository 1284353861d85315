"""Patch by patch: convolutions whose tensors are large, computed so that only parts of these exist at a time."""
