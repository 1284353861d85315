"""Imports that a process of our own can do without."""

from __future__ import annotations

import sys


def without_torch() -> None:
    """Keeps TVM from importing PyTorch where it is installed: that takes seconds, and serves only to share tensors.

    For processes that run nothing but Tilewright; a Python program that uses it may want PyTorch itself.
    """
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]  # the documented way to make an import fail
