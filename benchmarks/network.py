"""A network to measure or to test: what makes it, what it is fed with, and how its random weights are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .inputs import Input, Noise, draw_inputs
from .random_weights import randomise

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Network:
    """One row of a table.

    Attributes:
        name: file name without the suffix.
        build: makes the torch module with untouched random weights.
        inputs: in the order in which the module takes them.
        outputs: names of the outputs.
        gain: see `randomise`; below 1 where blocks are added up with no norm between, 0 for language models.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...] = ("logits",)
    gain: float = 1.0

    def example_inputs(self, seed: int) -> dict[str, np.ndarray[Any, Any]]:
        """Inputs by name: the same for the same seed."""
        return draw_inputs(self.inputs, seed)

    def create(self, rows: int, seed: int) -> nn.Module:
        """The torch module with its random weights, in evaluation mode: the same for the same seed.

        Args:
            rows: of the batch that sets the batch norms.
        """
        import torch

        torch.manual_seed(seed)
        model = self.build()
        first, *others = self.inputs
        batch = torch.randn(rows, *first.shape[1:]) if isinstance(first, Noise) and not others else None
        randomise(model, batch, self.gain, seed)
        return model
