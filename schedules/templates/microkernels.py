"""How a contraction is multiplied: by vector multiply-adds in its own dtype, or by a unit for narrow operands.

Lowerings ask `multiplier` and then say the same whichever it is: how A is read, how B is packed, what the sums are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tvm import te

from ...annotations import STAGE
from ...targets.target import DotUnit, Target
from ..tensorir.expressions import Scalar
from ..tensorir.padding import padded
from . import contraction, dot_product, packing
from .contraction import TEMPLATE, Choice, Workload

Element = Callable[..., Scalar]


class Multiplier(Protocol):
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

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Rows of a tile of sums, as the tile counts them: equal for two that can share a loop over tiles."""
        ...

    @property
    def cycles(self) -> float:
        """Estimated cycles of one core, operands in the caches."""
        ...

    def made_for(self, workload: Workload, **changed: int) -> Multiplier:
        """The same tile for another workload, other parameters of the choice changed."""
        ...

    def operand(self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int]) -> Element:
        """A, or the image that A's elements are read from, with zeros around it.

        Args:
            element: what there is of it, of `extents`.
            shape: with the zeros.
            before: zeros before it, an axis.
        """
        ...

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """B of shape (batch, columns, *k) as `compute` reads it."""
        ...

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs, from the element at (batch, column, *k)."""
        ...

    def compute(self, lhs: Element, packed: te.Tensor) -> Element:
        """The sum at (batch, row, column), from A at (batch, row, *k) and the packed B."""
        ...

    def compute_padded(self, lhs: Element, packed: te.Tensor) -> te.Tensor:
        """The sums as a tensor (batch, rows, columns), both with padding; not for images."""
        ...


@dataclass(frozen=True)
class MultiplyAdd:
    """Vector multiply-adds (`contraction.py`).

    Attributes:
        template, name: of the block of sums.
    """

    workload: Workload
    choice: Choice
    target: Target
    template: str = TEMPLATE
    name: str = TEMPLATE

    @staticmethod
    def tilings(workload: Workload, target: Target, template: str, name: str) -> list[MultiplyAdd]:
        """Every tile that fits the registers."""
        tiles = contraction.register_tiles(workload, target)
        return [MultiplyAdd(workload, tile, target, template, name) for tile in tiles]

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
        """It does not: operands are read where they are, many times."""
        return False

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Rows of a tile."""
        return (self.choice["rows"],)

    @property
    def cycles(self) -> float:
        """Estimated cycles of one core."""
        return contraction.cycles(self.workload, self.choice["rows"], self.choice["vectors"], self.target)

    def made_for(self, workload: Workload, **changed: int) -> MultiplyAdd:
        """The same tile for another workload."""
        return replace(self, workload=workload, choice={**self.choice, **changed})

    def operand(self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int]) -> Element:
        """A itself where there is nothing to pad."""
        if tuple(extents) == tuple(shape):
            return element
        stage = padded(element, extents, shape, before, self.workload.lhs, STAGE.entry("pad"), "padded")
        return lambda *index: stage[index]

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """B of shape (batch, columns, *k), packed."""
        return packing.pack_constant(matrix, self.workload, self.choice, self.target)

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs."""
        name = f"packed_{self.name}"
        return packing.pack_at_run_time(element, self.workload, self.choice, self.target, name=name)

    def compute(self, lhs: Element, packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        sums = self.compute_padded(lhs, packed)
        return lambda *index: sums[index]

    def compute_padded(self, lhs: Element, packed: te.Tensor) -> te.Tensor:
        """The sums with padding."""
        return contraction.compute(
            self.workload, self.choice, self.target, lhs, packed, template=self.template, name=self.name
        )


@dataclass(frozen=True)
class DotProducts:
    """A unit for narrow operands (`dot_product.py`).

    Attributes:
        template, name: of the block of sums.
    """

    workload: Workload
    choice: Choice
    unit: DotUnit
    template: str = TEMPLATE
    name: str = TEMPLATE

    @staticmethod
    def tilings(workload: Workload, unit: DotUnit, template: str, name: str) -> list[DotProducts]:
        """Every tile that fits the unit's registers."""
        return [DotProducts(workload, choice, unit, template, name) for choice in dot_product.space(workload, unit)]

    @property
    def rows_read(self) -> int:
        """Rows of A that it reads: whole instructions."""
        return dot_product.whole_rows(self.workload, self.choice)

    @property
    def operand_dtype(self) -> str:
        """What A is read as."""
        return self.workload.lhs

    @property
    def casts_operands(self) -> bool:
        """It does, where it copies or packs them."""
        return True

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Rows of an instruction, and instructions below each other in a tile."""
        return self.choice["rows"], self.choice["row_registers"]

    @property
    def cycles(self) -> float:
        """Estimated cycles of one core."""
        return dot_product.cycles(self.workload, self.choice, self.unit)

    def made_for(self, workload: Workload, **changed: int) -> DotProducts:
        """The same tile for another workload."""
        depth = dot_product.depth_of(workload.k[-1], self.unit)
        return replace(self, workload=workload, choice={**self.choice, "depth": depth, **changed})

    def operand(self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int]) -> Element:
        """A in the dtype that it is multiplied in; the schedule drops the stage where it would only copy."""
        name = f"{self.name}_operand"
        stage = padded(element, extents, shape, before, self.workload.lhs, STAGE.entry(dot_product.OPERAND), name)
        return lambda *index: stage[index]

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """B of shape (batch, columns, *k), packed; the last extent may be shorter than that of the workload."""
        return dot_product.pack_constant(matrix, self.workload, self.choice, self.unit)

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs."""
        return dot_product.pack_at_run_time(element, self.workload, self.choice, self.unit, name=f"packed_{self.name}")

    def compute(self, lhs: Element, packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        sums, line = self.compute_padded(lhs, packed), self.workload.image_line
        if not dot_product.ends_within_lines(self.workload, self.choice["rows"]):
            return lambda *index: sums[index]
        return lambda batch, row, column: sums[batch, row // line, row % line, column]

    def compute_padded(self, lhs: Element, packed: te.Tensor) -> te.Tensor:
        """The sums with padding, or those of images without."""
        return dot_product.compute(
            self.workload, self.choice, self.unit, lhs, packed, template=self.template, name=self.name
        )


def multiplier(target: Target, workload: Workload, *longer: Workload) -> Multiplier:
    """The way of the fewest estimated cycles.

    Args:
        longer: workloads that may stand for `workload`, with zeros or with axes joined, where a unit for narrow
            operands is used.
    """
    found = dot_product.best([workload, *longer], target)
    if found is None:
        return MultiplyAdd(workload, contraction.default(workload, target), target)
    return DotProducts(*found)
