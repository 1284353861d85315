"""Plain torch definitions of published networks, one family a file, written from their papers.

There is no CPU build of torchvision to depend on; `from_transformers` has what `transformers` defines as published.
Every network takes and returns tensors alone, and a row of a table makes one by its name: `architecture`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def architecture(name: str, **options: Any) -> Callable[[], nn.Module]:
    """What makes the network `FILE.NAME` of this folder with `options`; importing it, which takes torch, waits."""
    file, _, function = name.partition(".")

    def build() -> nn.Module:
        module: nn.Module = getattr(importlib.import_module(f"{__name__}.{file}"), function)(**options)
        return module

    return build
