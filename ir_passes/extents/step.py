"""One operator on tensors that are not there throughout: what its rule sees, and what it says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import tvm
from tvm import relax

from ...errors import UnsupportedError
from ...ir_types import Call, Expr, PrimFunc, Type
from ...sizes import Size
from .digits import Axis, Extents, any_varies, merged, whole


class Emit(Protocol):
    """Binds a value to a variable; of one that is not there throughout, `extents` says what is."""

    def __call__(self, value: Expr, extents: Extents | None = None, /) -> Expr:
        """The variable."""


# What to compute in place of a call: of its operands and the sizes that were asked for, as int64 scalars.
Instead: TypeAlias = Callable[[Sequence[Expr], Emit], Expr]


def _nobody(expr: Expr) -> None:
    """What made a tensor of which nothing is known."""


@dataclass
class Step:
    """A call and how much of its operands is there.

    A rule returns the extents of the result, and may set what follows `fields`.

    Attributes:
        call: the call.
        name: its operator, without ``relax.``.
        node: the node of the model that it came from.
        operands: of each argument; () of what is no tensor.
        fields: of each argument that is a tuple: those of its fields.
        made_by: what a variable is bound to; None for an input.
        fills: what an operand must hold where it is not there, by its place; None: what is there last.
        in_sums: operands of reductions that what they hold there does not change.
        reaches: how far behind its end, by place and axis; without a number, up to the bound.
        own_end: whether the kernel of the result finds itself where it ends.
        function: the kernel that is called, where it is one.
        sizes, instead: sizes that have to be known when it runs, and what is to be computed of them instead.
    """

    call: Call
    name: str
    node: str
    operands: list[Extents]
    fields: dict[int, list[Extents]] = field(default_factory=dict)
    made_by: Callable[[Expr], Expr | None] = field(default=_nobody)
    fills: dict[int, float | None] = field(default_factory=dict)
    in_sums: set[int] = field(default_factory=set)
    reaches: dict[int, dict[int, int]] = field(default_factory=dict)
    sizes: tuple[Size, ...] = ()
    instead: Instead | None = None
    own_end: bool = False
    function: PrimFunc | None = None

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the results."""
        return [shape_of(ty) for ty in tensor_types(self.call.ty)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the only result."""
        (shape,) = self.shapes
        return shape

    def varying(self) -> bool:
        """Whether an operand is not there throughout."""
        every = [*self.operands, *(each for fields in self.fields.values() for each in fields)]
        return any(any_varies(each) for each in every)

    def fill(self, operand: int, value: float | None, reach: Mapping[int, int] | None = None) -> None:
        """Asks for a value in place of what is not there of an operand, if anything is not.

        Args:
            operand: its place.
            value: what it must hold, or None for what is there last along the axes of `reach` that are not 0.
            reach: of axes along which only so many positions behind the end are read for what is there of the result.
        """
        if any_varies(self.operands[operand]):
            self.fills[operand] = value
            self.reaches[operand] = dict(reach or {})

    def refused(self, why: str) -> UnsupportedError:
        """The error that this operator has no kernel for it."""
        every = [*self.operands, *(each for fields in self.fields.values() for each in fields)]
        found = [each for each in every if any_varies(each)]
        text = "; ".join(extents_text(each) for each in found)
        name = self.name if self.name != "call_tir" else re.sub(r"\d+$", "", str(self.call.args[0].name_hint))
        return UnsupportedError(
            f"the operator {name} cannot be compiled for a range of sizes: {why}",
            where=f"node '{self.node}'",
            details=[f"its operands: {text}"] if text else [],
            hint="leave that dimension out of --range, or cut the model there",
        )


def extents_text(extents: Extents) -> str:
    """The sizes of a tensor for people: ``Nx3x224x224``."""
    return "x".join("*".join(str(digit.size) for digit in axis) or "1" for axis in extents) or "a scalar"


def tensor_types(ty: Type) -> list[Type]:
    """The tensors of a type, which may be a tuple's."""
    return [leaf for each in ty.fields for leaf in tensor_types(each)] if isinstance(ty, relax.TupleType) else [ty]


def shape_of(ty: Type) -> tuple[int, ...]:
    """The shape of a tensor's type, all known."""
    return tuple(int(extent) for extent in ty.shape)


def operator_name(value: Expr) -> str:
    """The name of a call's operator, without ``relax.``."""
    assert isinstance(value, tvm.ir.Call)
    return str(value.op.name).removeprefix("relax.")


def axes_of(call: Call, rank: int) -> list[int]:
    """The axes of a reduction, counted from 0, in order."""
    axis = call.attrs.axis
    if axis is None:
        return list(range(rank))
    given = [axis] if isinstance(axis, int) or not hasattr(axis, "__iter__") else list(axis)
    return sorted(int(each) % rank for each in given)


def broadcast(step: Step, operands: Sequence[Extents], shape: Sequence[int]) -> Extents:
    """The extents of tensors that broadcast to a shape."""
    axes: list[Axis] = []
    for place, extent in enumerate(shape):
        found: Axis = ()
        for operand in operands:
            own = place - (len(shape) - len(operand))
            if own < 0 or not operand[own]:
                continue
            joined = merged(found, operand[own])
            if joined is None:
                raise step.refused(f"along axis {place} its operands have sizes that differ")
            found = joined
        axes.append(found or whole([extent])[0])
    return tuple(axes)
