"""Sequences and optionals while a model is imported: how long one is, and what is in it, is known then, or never."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class SequenceValue:
    """A sequence of values in flight: arrays, Relax variables, other sequences."""

    items: tuple[Any, ...] = ()

    def mapped(self, change: Callable[[Any], Any]) -> SequenceValue:
        """The sequence of what becomes of each."""
        return SequenceValue(tuple(change(item) for item in self.items))


@dataclass(frozen=True, eq=False)
class Nothing:
    """An optional without a value; one that has a value is that value."""


NO_TENSORS = (SequenceValue, Nothing)
