"""Calls of loops and branches on tensors that are not there throughout: bodies are followed where they are called.

A body gets the sizes that it needs as parameters, its last ones, and what calls it gives them: so each is a function of
its own afterwards, as it was before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import tvm
from tvm import relax

from ...errors import UnsupportedError
from ...ir_types import Call, Expr, IRModule, Var
from ...sizes import Size, SizeExpr
from ..dialect.control_flow import BRANCH, LOOP, branch_of, loop_of
from .digits import Axis, Digit, Extents, axis_of, merged
from .step import extents_text, shape_of


class Walk(Protocol):
    """What follows the bindings of a function (`hold_extents.Walk`)."""

    sizes: dict[SizeExpr, Var]
    bodies: dict[str, IRModule]

    def inside(self, name: str, inputs: Sequence[Extents], sizes: Iterable[SizeExpr]) -> Walk:
        """What follows a body: one that has these sizes as parameters already."""

    def run(self) -> list[Extents]:
        """Follows the bindings, and gives the extents of the results."""

    def written(self, outputs: Sequence[Extents]) -> IRModule:
        """The function as it is then."""

    def tensor(self, value: Expr) -> Extents:
        """What there is of a tensor."""

    def scalar(self, size: Size) -> Var:
        """The parameter that a size is."""

    def size_of(self, value: Expr) -> Size | None:
        """The size that a scalar is; None of one that is none."""


def follow_branch(walk: Walk, var: Var, call: Call) -> tuple[Expr, list[Extents]]:
    """A branch: both of its bodies get the sizes that one of them needs."""
    parts = branch_of(call)
    given = [walk.tensor(each) for each in parts.captures]
    sides: list[tuple[Walk, list[Extents]]] = []
    sizes: Iterable[SizeExpr] = ()
    for name in (parts.then, parts.otherwise):
        side = walk.inside(name, given, sizes)
        sides.append((side, side.run()))
        side.written(sides[-1][1])  # which asks for sizes, too
        sizes = side.sizes
    for name, (side, results) in zip((parts.then, parts.otherwise), sides, strict=True):
        for size in sizes:
            side.scalar(size)
        walk.bodies |= {**side.bodies, name: side.written(results)}
    why = "its branches give results of different sizes"
    results = [_joined(var, why, *pair) for pair in zip(sides[0][1], sides[1][1], strict=True)]
    return _with_sizes(walk, call, sizes), results


def follow_loop(walk: Walk, var: Var, call: Call) -> tuple[Expr, list[Extents]]:
    """A loop: what it hands on is there as far as it is after every turn; of slices as many as there are turns."""
    parts = loop_of(call)
    carried = [walk.tensor(each) for each in parts.carried]
    captures = [walk.tensor(each) for each in parts.captures]
    own, before = int(parts.condition is not None), None
    while carried != before:
        before = carried
        inside = walk.inside(parts.body, [(), *carried, *captures], ())
        results = inside.run()
        why = "what it hands on to the next turn changes its size"
        carried = [_joined(var, why, *pair) for pair in zip(carried, results[own:], strict=False)]
    walk.bodies |= {**inside.bodies, parts.body: inside.written(results)}
    turns = walk.size_of(parts.count)
    slices = []
    for ty, extents in zip(call.ty.fields[len(carried) :], results[own + len(carried) :], strict=True):
        bound, *_ = shape_of(ty)
        slices.append((axis_of([Digit(bound, bound if turns is None else turns)]), *extents))
    return _with_sizes(walk, call, inside.sizes), [*carried, *slices]


# The operators that call functions of the module, without ``relax.``.
CALLS: Mapping[str, Callable[[Walk, Var, Call], tuple[Expr, list[Extents]]]] = MappingProxyType(
    {BRANCH.removeprefix("relax."): follow_branch, LOOP.removeprefix("relax."): follow_loop}
)


def _with_sizes(walk: Walk, call: Call, sizes: Iterable[SizeExpr]) -> Expr:
    arguments = [*call.args, *(walk.scalar(size) for size in sizes)]
    return relax.BlockBuilder().normalize(tvm.ir.Call(call.op, arguments, call.attrs, list(call.ty_args)))


def _joined(var: Var, why: str, one: Extents, other: Extents) -> Extents:
    """What is there of a tensor that is one of two; what does not vary is a table of which as much is used."""
    axes: list[Axis] = []
    for mine, theirs in zip(one, other, strict=True):
        axis = merged(mine, theirs)
        if axis is None:
            raise UnsupportedError(
                f"the loop or branch cannot be compiled for a range of sizes: {why}",
                where=f"node '{var.name}'",
                details=[f"{extents_text(one)}, and {extents_text(other)}"],
                hint="leave that dimension out of --range",
            )
        axes.append(axis)
    return tuple(axes)
