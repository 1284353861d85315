"""What a step of a unit becomes whose sums are variables of C, numbers one by one, and its operands several terms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ...ir_types import Scalar, Stmt
from ..instructions import Emitted, Operand

# Makes a variable for a value, which is computed once.
Bound = Callable[[Scalar], Scalar]


@dataclass(frozen=True)
class SumsInVariables:
    """Instructions of a processor that C sources are written for, whose sums are variables.

    `stays_in_loop` is as `Emitted` has it: addresses that a load's offset does not reach would be kept on the stack.
    """

    stays_in_loop: bool = False
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def rounding(self, lanes: int) -> str:
        """Integers are not rounded."""
        raise NotImplementedError

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all sums to zero."""
        return tuple(
            tirx.BufferStore(sums.buffer, tirx.const(0, "int32"), [sums.at(**row, **column)])
            for row in rows_of(extents)
            for column in columns_of(extents)
        )


class ScalarSums(SumsInVariables):
    """Those whose operands are variables, too; extending classes say what they are."""

    @abstractmethod
    def row(self, lhs: Operand, extents: Mapping[str, int], bound: Bound, **at: int) -> Sequence[Scalar]:
        """What is loaded of a row of the first operand."""

    @abstractmethod
    def column(self, rhs: Operand, extents: Mapping[str, int], bound: Bound, **at: int) -> Sequence[Scalar]:
        """What is loaded of a column of the second operand: as many as of a row."""

    @abstractmethod
    def add(self, left: Scalar, right: Scalar, total: Scalar) -> Scalar:
        """A sum and the products of one of each."""

    @abstractmethod
    def text_of(self, function: str) -> str:
        """The text, in C, of one of its functions; empty for others."""

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Multiplies each row with each column; of rows or columns, whichever are fewer, all stay in registers."""
        step: list[Stmt] = []

        def bound(value: Scalar) -> Scalar:
            variable = tirx.Var("operand", value.ty)
            step.append(tirx.Bind(variable, value))
            return variable

        def add(
            row: Mapping[str, int], column: Mapping[str, int], left: Sequence[Scalar], right: Sequence[Scalar]
        ) -> None:
            index = [sums.at(**row, **column)]
            for a, b in zip(left, right, strict=True):
                value = self.add(a, b, tirx.BufferLoad(sums.buffer, index))
                step.append(tirx.BufferStore(sums.buffer, value, index))

        rows, columns = rows_of(extents), columns_of(extents)
        if len(rows) <= len(columns):
            held = [self.row(lhs, extents, bound, **row) for row in rows]
            for column in columns:
                right = self.column(rhs, extents, bound, **column)
                for row, left in zip(rows, held, strict=True):
                    add(row, column, left, right)
        else:
            held = [self.column(rhs, extents, bound, **column) for column in columns]
            for row in rows:
                left = self.row(lhs, extents, bound, **row)
                for column, right in zip(columns, held, strict=True):
                    add(row, column, left, right)
        return Emitted(tuple(step), stays_in_loop=self.stays_in_loop)


def loaded(dtype: str, function: str, place: Operand, **at: int) -> Scalar:
    """What a function loads at a place."""
    return tirx.call_extern(dtype, function, tirx.address_of(tirx.BufferLoad(place.buffer, [place.at(**at)])))


def rows_of(extents: Mapping[str, int]) -> list[dict[str, int]]:
    """The loops' values for each row of a tile."""
    return [
        {"register": register, "row": row} for register in range(extents["register"]) for row in range(extents["row"])
    ]


def columns_of(extents: Mapping[str, int]) -> list[dict[str, int]]:
    """And for each column."""
    return [{"vector": vector, "lane": lane} for vector in range(extents["vector"]) for lane in range(extents["lane"])]
