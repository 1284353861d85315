"""What executes a library somewhere and tells what came out and how long it took: all that checks and timings need.

An emulator, a machine behind ssh or a device behind RPC is one more class with these two functions: it takes the
library's file there, and its signature says what goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ..library.signature import Signature

Array: TypeAlias = npt.NDArray[Any]
Inputs: TypeAlias = Mapping[str, np.ndarray[Any, Any]]


class Library(Protocol):
    """What a runner executes: a loaded `CompiledModel`, or a `LibraryFile` that no one can load here."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def signature(self) -> Signature:
        """All that it says about itself."""


class Runner(Protocol):
    """A place that executes libraries. Its errors are those of `errors.py`."""

    def run(self, library: Library, inputs: Inputs) -> dict[str, Array]:
        """Runs once; gives the outputs by name."""

    def time(self, library: Library, inputs: Inputs, *, runs: int = 1, seconds: float = 0) -> list[float]:
        """Runs at least `runs` times and for at least `seconds`; gives the seconds of each run, one after another.

        What is timed is the call alone: the inputs are in their place beforehand.
        """
