"""Imports that a process of our own can do without."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

_TORCH = "torch"


class _NoTorch(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """Nothing is found, and an import of PyTorch fails."""
        if name == _TORCH:
            raise ModuleNotFoundError("PyTorch is not imported here", name=name)


def without_torch() -> None:
    """Keeps TVM from importing PyTorch where it is installed: that takes seconds, and serves only to share tensors.

    For processes that run nothing but Tilewright; a Python program that uses it may want PyTorch itself. A None among
    `sys.modules` would do for TVM, but SciPy, which XGBoost imports, takes what stands there for a module.
    """
    if not any(isinstance(finder, _NoTorch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _NoTorch())
