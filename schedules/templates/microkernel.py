"""What every way to compute a contraction offers (`microkernels.py`, `sparse_kernel.py`).

Lowerings say the same whichever was chosen: how A is read, how B is packed, what the sums are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from tvm import te

from ...annotations import STAGE
from ...ir_types import Scalar
from ..tensorir.padding import padded
from .contraction import Workload

if TYPE_CHECKING:
    from typing_extensions import Self

# What STAGE says of a first operand that is copied by tiles.
STAGED = "staged"

Element = Callable[..., Scalar]
# Constant weights as a kernel reads them: an array an operand.
Packed = tuple[npt.NDArray[np.generic], ...]


class Microkernel(Protocol):
    """One way to compute a contraction."""

    @property
    def workload(self) -> Workload:
        """What it computes: the innermost extent of k may be longer than asked for, with zeros in A and B."""
        ...

    @property
    def rows_read(self) -> int:
        """Rows of A that it reads: at least those of the workload."""
        ...

    @property
    def operand_dtype(self) -> str:
        """What A is to be read as."""
        ...

    @property
    def casts_operands(self) -> bool:
        """Whether it makes A and B what they are to be read as; else they are read as they are."""
        ...

    def made_for(self, workload: Workload) -> Microkernel:
        """The same tile for another workload."""
        ...

    def operand(
        self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], fill: int = 0
    ) -> Element:
        """A, or the image that A's elements are read from, with zeros around it.

        Args:
            element: what there is of it, of `extents`.
            shape: with the zeros.
            before: zeros before it, an axis.
            fill: what stands there for the zeros.
        """
        ...

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> Packed:
        """B of shape (batch, columns, *k) as `compute` reads it."""
        ...

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs, from the element at (batch, column, *k)."""
        ...

    def compute(self, lhs: Element, *packed: te.Tensor) -> Element:
        """The sum at (batch, row, column), from A at (batch, row, *k) and the packed B."""
        ...

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums as a tensor (batch, rows, columns), both with padding; not for images."""
        ...


def with_padding(
    element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], dtype: str, fill: int = 0
) -> Element:
    """A, or the image that it is read from, with `fill` around it: itself where there is nothing to pad."""
    if tuple(extents) == tuple(shape):
        return element
    stage = padded(element, extents, shape, before, dtype, STAGE.entry("pad"), "padded", fill)
    return lambda *index: stage[index]


@dataclass(frozen=True)
class ReadsInPlace:
    """What `Microkernel`s share that read A where it is, many times, whatever their tiles are.

    Attributes:
        workload: what they compute.
    """

    workload: Workload

    @property
    def rows_read(self) -> int:
        """Rows of A that it reads."""
        return self.workload.rows

    @property
    def operand_dtype(self) -> str:
        """What A is read as."""
        return self.workload.lhs

    @property
    def casts_operands(self) -> bool:
        """It does not."""
        return False

    def made_for(self, workload: Workload) -> Self:
        """The same tile for another workload."""
        return replace(self, workload=workload)

    def operand(
        self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], fill: int = 0
    ) -> Element:
        """A itself where there is nothing to pad."""
        return with_padding(element, extents, shape, before, self.workload.lhs, fill)
