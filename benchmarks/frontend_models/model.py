"""A row of the table of architectures: how a small model of it is made, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass(frozen=True)
class Model:
    """An architecture in a small configuration.

    Args:
        name: what the table calls it.
        family: what it is for.
        make: makes the module, with random weights.
        inputs: makes its keyword arguments, or a tuple of positional ones.
    """

    name: str
    family: str
    make: Callable[[], torch.nn.Module]
    inputs: Callable[[], Mapping[str, Any] | tuple[Any, ...]]


@dataclass(frozen=True)
class Hub:
    """A model of `transformers`: its class, its configuration's class, and what is small about it."""

    model: str
    config: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self) -> torch.nn.Module:
        """Makes it."""
        import transformers

        options = {key: value() if callable(value) else value for key, value in self.options.items()}
        config = getattr(transformers, self.config)(**options)
        config._attn_implementation = "eager" if self.model.startswith("Deberta") else config._attn_implementation
        module: torch.nn.Module = getattr(transformers, self.model)(config)
        return module


def image(size: int = 32, channels: int = 3) -> Callable[[], dict[str, Any]]:
    """One image."""
    return lambda: {"pixel_values": torch.randn(1, channels, size, size)}


def tokens(length: int = 12, vocabulary: int = 99, **more: Any) -> Callable[[], dict[str, Any]]:
    """One sentence of random words, and switches that are no tensors."""
    return lambda: {"input_ids": torch.randint(1, vocabulary, (1, length)), **more}


def pair(length: int = 10, vocabulary: int = 99) -> Callable[[], dict[str, Any]]:
    """A sentence and the beginning of its translation."""
    return lambda: {
        "input_ids": torch.randint(1, vocabulary, (1, length)),
        "decoder_input_ids": torch.randint(1, vocabulary, (1, length // 2)),
        "use_cache": False,
    }
