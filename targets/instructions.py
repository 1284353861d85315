"""How code uses a unit for narrow operands: what lowering tells of a step, and the statements it gets for it.

`compiler/lowering/select_dots.py` finds the loops that a schedule has marked for a unit and reads their operands'
addresses; the unit's `Instructions` say what stands in their place. They need TVM, so a unit names what makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..ir_types import Buffer, Scalar, Stmt


@dataclass(frozen=True)
class Operand:
    """An operand's place in a buffer.

    Attributes:
        buffer: one-dimensional.
        at: the index in it, as a function of the loops of a step by their roles; those left out are at 0. On machines
            with grids ``thread`` is the place of a thread in its warp.
        strides: elements from one iteration to the next of those loops that one instruction takes: ``row``, ``lane``,
            ``group``, ``term``.
        thread: that place; None on other machines.
    """

    buffer: Buffer
    at: Callable[..., Scalar]
    strides: Mapping[str, int]
    thread: Scalar = None


@dataclass(frozen=True)
class Emitted:
    """The statements that a step becomes.

    Attributes:
        step: in the place of the marked loops.
        after_sums: behind the loops over k: what brings the sums to memory.
        before_tiles, after_tiles: around the loop over tiles of C.
        stays_in_loop: whether a compiler of C must not write out the loop around the step.
    """

    step: tuple[Stmt, ...]
    after_sums: tuple[Stmt, ...] = ()
    before_tiles: tuple[Stmt, ...] = ()
    after_tiles: tuple[Stmt, ...] = ()
    stays_in_loop: bool = False


class Instructions(Protocol):
    """A unit's instructions. `extents` are those of a step's loops, by their roles.

    ``register`` and ``vector`` count instructions, below and beside each other in a tile of C; ``row``, ``lane``,
    ``group`` and ``term`` are the loops of one instruction.
    """

    @property
    def symbols(self) -> frozenset[str]:
        """Functions that kernels call and that are in `objects`."""
        ...

    @property
    def objects(self) -> tuple[Path, ...]:
        """Object files that a library with such kernels is linked with."""
        ...

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets the sums of a tile to zero."""
        ...

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Adds the products of a step to the sums of a tile."""
        ...

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32 to the unit's operands: to nearest, ties to even.

        It takes them as a vector, and returns the bits of the result as integers.
        """
        ...

    def text_of(self, function: str) -> str:
        """The text of a function that kernels call, in LLVM IR or in C, as the target's code is; empty for others."""
        ...
