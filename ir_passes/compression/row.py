"""What a row of the table of operators is: how indices go together, and the call on fewer of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tvm import relax

from ...ir_types import Call, Expr
from ..core.constants import Array, is_constant
from ..core.rewriter import rebuild
from .links import Axis, Links, Tensor


@dataclass(frozen=True)
class Site:
    """A call in a network.

    Attributes:
        links: those of the network.
        call: the call, before anything is cut.
        operands: its tensors in order, constants among them; `tensors_of` gives the expressions.
        results: the tensor that it makes, or the fields of a tuple.
    """

    links: Links
    call: Call
    operands: tuple[Tensor, ...]
    results: tuple[Tensor, ...]

    def operand(self, number: int, axis: int) -> Axis:
        """An axis of an operand."""
        return self.links.axis(self.operands[number], axis)

    def result(self, axis: int, number: int = 0) -> Axis:
        """An axis of the result."""
        return self.links.axis(self.results[number], axis)

    def same_axes(self, operand: int = 0, *, but: tuple[int, ...] = (), result: int = 0) -> None:
        """An operand's axes are the result's, but for some."""
        for axis in range(len(self.operands[operand].shape)):
            if axis not in but:
                self.links.same(self.operand(operand, axis), self.result(axis, result))

    def pin_axis(self, axis: int, reason: str) -> None:
        """Along this axis nothing can be cut, of the first operand or of any result that has it."""
        self.links.pin(self.operand(0, axis), reason)
        for number, result in enumerate(self.results):
            if len(result.shape) == len(self.operands[0].shape):
                self.links.pin(self.result(axis, number), reason)


class Kept(Protocol):
    """What a cut leaves of the axes of a network."""

    def indices(self, axis: Axis) -> Array:
        """The indices of an axis that are left, in order."""
        ...

    def size(self, axis: Axis) -> int:
        """How many are left."""
        ...

    def shape(self, tensor: Tensor) -> list[int]:
        """The shape that a tensor is left with."""
        ...


Link = Callable[[Site], None]
# Given the call's new arguments and what is left of every axis: the call anew.
Shrink = Callable[[Site, "list[Expr]", Kept], Expr]


def unchanged(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """The same call of smaller operands: nothing in it speaks of a size."""
    del kept
    return rebuild(site.call, args)


@dataclass(frozen=True)
class Row:
    """An operator: how indices of its operands and results go together, and its call when some are gone."""

    link: Link
    shrink: Shrink = unchanged


def opaque(site: Site) -> None:
    """An operator without a row: nothing that goes in or comes out can be cut."""
    name = getattr(site.call.op, "name", None) or "a call"
    for tensor in (*site.operands, *site.results):
        site.links.pin_all(tensor, f"{str(name).removeprefix('relax.')} is not seen through")


OPAQUE = Row(opaque)


def tensors_of(value: Expr) -> Iterator[Expr]:
    """The tensors that a value reads, constants among them, in order; variables that are tuples as they are."""
    if is_constant(value):
        yield value
    elif isinstance(value, relax.Var):
        if isinstance(value.ty, relax.TensorType | relax.TupleType):
            yield value
    elif isinstance(value, relax.Tuple):
        for field in value.fields:
            yield from tensors_of(field)
    elif isinstance(value, relax.TupleGetItem):
        yield from tensors_of(value.tuple_value)
    else:
        for argument in getattr(value, "args", ()):
            yield from tensors_of(argument)
