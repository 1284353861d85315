"""What a benchmark model is fed with: its inputs by name, random from a seed, of the kind that it is made for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np


class Input(Protocol):
    """One input of a model: its name, its shape, and how it is drawn."""

    @property
    def name(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def draw(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """An array of `shape`."""
        ...


@dataclass(frozen=True)
class Noise:
    """Normal noise, float32: an image (N, C, H, W), sound (N, samples), features."""

    shape: tuple[int, ...]
    name: str = "input"

    def draw(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """An array of `shape`."""
        return generator.standard_normal(self.shape, dtype=np.float32)


@dataclass(frozen=True)
class Numbers:
    """Whole numbers below `end`, int64: tokens of a vocabulary, a step of a diffusion."""

    shape: tuple[int, ...]
    end: int
    name: str = "input_ids"

    def draw(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """An array of `shape`."""
        return generator.integers(0, self.end, self.shape, np.int64)


@dataclass(frozen=True)
class Mask:
    """Ones, int64, and zeros for the last `padding` tokens of every second row, the last row among them."""

    shape: tuple[int, int]
    padding: int
    name: str = "attention_mask"

    def draw(self, generator: np.random.Generator) -> np.ndarray[Any, Any]:
        """An array of `shape`; nothing in it is random."""
        mask = np.ones(self.shape, np.int64)
        mask[::-2, self.shape[1] - self.padding :] = 0
        return mask


def text(batch: int, tokens: int, vocabulary: int, padding: int) -> tuple[Input, ...]:
    """Tokens, and a mask that hides `padding` of them."""
    return Numbers((batch, tokens), vocabulary), Mask((batch, tokens), padding)


def batches(inputs: Sequence[Any], batch: int) -> tuple[Input, ...]:
    """The same inputs for so many rows at a time."""
    return tuple(replace(each, shape=(batch, *each.shape[1:])) for each in inputs)


def draw_inputs(inputs: Sequence[Input], seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """An array for each input, by name: the same for the same seed."""
    generator = np.random.default_rng(seed)
    return {each.name: each.draw(generator) for each in inputs}
