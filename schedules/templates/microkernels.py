"""How a contraction is multiplied: by multiply-adds of vectors or threads, or by a unit for narrow operands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from ...annotations import STAGE
from ...ir_types import Scalar
from ...targets.target import DotUnit, Target
from ..tensorir.expressions import converted, int64, int64s
from ..tensorir.padding import padded
from . import contraction, dot_product, dot_product_packing, packing
from .contraction import TEMPLATE, MultiplyAddChoice, Workload
from .dot_product_choice import DotProductChoice
from .microkernel import STAGED, Element, Microkernel, Packed, ReadsInPlace
from .simt import SimtChoice
from .tensor_cores import TensorChoice
from .tensor_products import TensorProducts

TileChoice = MultiplyAddChoice | DotProductChoice
# What STAGE says of the sums of slices of k.
SLICES = "slices"


@dataclass(frozen=True)
class MultiplyAdd(ReadsInPlace):
    """Vector multiply-adds (`contraction.py`).

    Attributes:
        template, name: of the block of sums.
    """

    choice: MultiplyAddChoice
    target: Target
    template: str = TEMPLATE
    name: str = TEMPLATE

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> Packed:
        """B of shape (batch, columns, *k), packed."""
        return (packing.pack_constant(matrix, self.workload, self.choice, self.target),)

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs."""
        name = f"packed_{self.name}"
        return packing.pack_at_run_time(element, self.workload, self.choice, self.target, name=name)

    def compute(self, lhs: Element, *packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        sums = self.compute_padded(lhs, *packed)
        return lambda *index: sums[index]

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums with padding."""
        return contraction.compute(
            self.workload,
            self.choice,
            self.target,
            lhs,
            lambda *index: packed[0][index],
            template=self.template,
            name=self.name,
        )


@dataclass(frozen=True)
class StagedMultiplyAdd(MultiplyAdd):
    """The same with A as a stage, a part of which is copied to where threads share it (`simt.py`)."""

    def operand(
        self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], fill: int = 0
    ) -> Element:
        """A with its padding, which the stage computes."""
        if tuple(extents) == tuple(shape):
            return element
        stage = padded(element, extents, shape, before, self.workload.lhs, {}, f"padded_{self.name}", fill)
        return lambda *index: stage[index]

    @property
    def casts_operands(self) -> bool:
        """It does, where it copies or packs them."""
        return True

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """B, packed when the kernel runs."""
        return super().pack_at_run_time(lambda *index: converted(element(*index), self.workload.rhs))

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums with padding, of rows of the stage that are as many as those of whole tiles."""
        workload, rows = self.workload, contraction.padded_rows(self.workload, self.choice)

        def element(batch: Any, row: Any, *k: Any) -> Scalar:
            inside = row if rows == workload.rows else tirx.min(row, int64(workload.rows - 1))
            return converted(lhs(batch, inside, *k), workload.lhs)

        shape = int64s((workload.batch, rows, *workload.k))
        staged = te.compute(shape, element, name=f"{self.name}_rows", attrs=STAGE.entry(STAGED))
        return contraction.compute(
            replace(workload, rows=rows, filter=None),
            self.choice,
            self.target,
            lambda *index: staged[index],
            lambda *index: packed[0][index],
            template=self.template,
            name=self.name,
            flops=workload.flops,
        )


@dataclass(frozen=True)
class DotProducts:
    """A unit for narrow operands (`dot_product.py`).

    Attributes:
        template, name: of the block of sums.
    """

    workload: Workload
    choice: DotProductChoice
    unit: DotUnit
    template: str = dot_product.TEMPLATE
    name: str = dot_product.TEMPLATE

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

    def made_for(self, workload: Workload) -> DotProducts:
        """The same tile for another workload."""
        return replace(self, workload=workload)

    def operand(
        self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], fill: int = 0
    ) -> Element:
        """A in the dtype that it is read in; the schedule drops the stage where it would only copy."""
        name, dtype = f"{self.name}_operand", self.unit.copied_as or self.workload.lhs
        stage = padded(element, extents, shape, before, dtype, STAGE.entry(dot_product.OPERAND), name, fill)
        return lambda *index: stage[index]

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> Packed:
        """B of shape (batch, columns, *k), packed; the last extent may be shorter than that of the workload."""
        return (dot_product_packing.pack_constant(matrix, self.workload, self.choice, self.unit),)

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs."""
        return dot_product_packing.pack_at_run_time(
            element, self.workload, self.choice, self.unit, name=f"packed_{self.name}"
        )

    def compute(self, lhs: Element, *packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        sums, line = self.compute_padded(lhs, *packed), self.workload.image_line
        if not dot_product.ends_within_lines(self.workload, self.choice.rows):
            return lambda *index: sums[index]
        return lambda batch, row, column: sums[batch, row // line, row % line, column]

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums with padding, or those of images without."""
        return dot_product.compute(
            self.workload, self.choice, self.unit, lhs, *packed, template=self.template, name=self.name
        )


@dataclass(frozen=True)
class Slices:
    """A contraction in slices of k, whose sums are added in order: the same bits whoever computes which slice.

    Attributes:
        whole: how all of it would be computed.
        part: how the slices are, each a product of the batch.
        count: of slices.
    """

    whole: Microkernel
    part: Microkernel
    count: int

    @property
    def workload(self) -> Workload:
        """What it computes."""
        return self.whole.workload

    @property
    def rows_read(self) -> int:
        """Rows of A that it reads."""
        return self.whole.rows_read

    @property
    def operand_dtype(self) -> str:
        """What A is read as."""
        return self.whole.operand_dtype

    @property
    def casts_operands(self) -> bool:
        """Whether it makes A and B what they are to be read as."""
        return self.whole.casts_operands

    def made_for(self, workload: Workload) -> Slices:
        """The same for another workload."""
        return Slices(self.whole.made_for(workload), self.part.made_for(workload.sliced(self.count)), self.count)

    def operand(
        self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], fill: int = 0
    ) -> Element:
        """A, not sliced."""
        return self.whole.operand(element, extents, shape, before, fill)

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> Packed:
        """B of shape (batch, columns, *k), packed by slices; the last extent may be shorter than the workload's."""
        batch, columns, *outer, run = matrix.shape
        length = self.workload.k[-1]
        whole = np.pad(matrix, [(0, 0)] * (matrix.ndim - 1) + [(0, length - run)])
        sliced = np.moveaxis(whole.reshape(batch, columns, *outer, self.count, length // self.count), -2, 1)
        return self.part.pack_constant(sliced.reshape(batch * self.count, columns, *outer, length // self.count))

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs."""
        return self.part.pack_at_run_time(self._of_slices(element))

    def compute(self, lhs: Element, *packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        workload, line = self.workload, self.workload.line
        shape = (workload.batch * self.count, workload.rows // line, line, workload.columns)
        sums = self.part.compute(self._of_slices(lhs), *packed)

        def part(batch: Any, number: Any, at: Any, column: Any) -> Scalar:
            return sums(batch, number * line + at, column)

        parts = te.compute(int64s(shape), part, name="slices", attrs=STAGE.entry(SLICES))

        def total(batch: Any, row: Any, column: Any) -> Scalar:
            places = [(batch * self.count + each, row // line, row % line, column) for each in range(self.count)]
            value = parts[places[0]]
            for place in places[1:]:
                value = value + parts[place]
            return value

        return total

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums as a tensor."""
        workload = self.workload
        shape = int64s((workload.batch, workload.rows, workload.columns))
        return te.compute(shape, self.compute(lhs, *packed), name="added")

    def _of_slices(self, element: Element) -> Element:
        """The element at (slice of the batch, row or column, *k) of one at (batch, row or column, *k)."""
        length = self.workload.k[-1] // self.count

        def sliced(batch: Any, at: Any, *k: Any) -> Scalar:
            *outer, inner = k
            return element(batch // self.count, at, *outer, batch % self.count * length + inner)

        return sliced


def microkernel(workload: Workload, choice: TileChoice | TensorChoice, target: Target, **named: str) -> Microkernel:
    """How a choice computes a contraction.

    Args:
        named: `template` and `name` of the block of sums.
    """
    whole: Microkernel
    if isinstance(choice, SimtChoice):
        whole = StagedMultiplyAdd(workload, choice, target, **named)
    elif isinstance(choice, TensorChoice):
        of_choice = {"template": choice.template, "name": choice.template, **named}
        whole = TensorProducts(workload, choice, target.unit(choice.unit), **of_choice)
    elif isinstance(choice, MultiplyAddChoice):
        whole = MultiplyAdd(contraction.as_chosen(workload, choice), choice, target, **named)
    else:
        whole = DotProducts(workload.with_k(choice.k), choice, target.unit(choice.unit), **named)
    if choice.k_splits == 1:
        return whole
    return Slices(whole, whole.made_for(whole.workload.sliced(choice.k_splits)), choice.k_splits)
