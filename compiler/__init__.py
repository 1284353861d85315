"""Drives a compile: from a fused Relax module to a library, and from a library back to numpy arrays.

Importing this package, or `artifact` and what that needs, never imports TVM.
"""

from .process.fast_import import torch_not_for_tvm

torch_not_for_tvm()
