"""Our own Relax operators for control flow: calls of other Relax functions of the module, named by attributes.

    relax.tilewright.branch(condition, *captures)           then(*captures) or otherwise(*captures)
    relax.tilewright.loop(count, condition, *carried, *captures)        body(turn, *carried, *captures), again and again

A function is named, and not referred to, so that each of them can be a module of its own, whose `main` it is, while
passes work on it (`ir_passes/core/functions.py`). Both operators give tuples.

A branch takes a bool. Its attributes `then` and `otherwise` name functions of the same parameters and results.

A loop has `count` turns, an int64, and none after one that finds `condition` false, a bool; an attribute says whether
there is a condition: else the operand is not looked at. `body` gives the next condition, if there is one, the next
`carried`, of which there are so many as the attribute says, and slices. The loop gives the last `carried`, and the
slices of all turns stacked along a new first axis. `turn` is an int64, from 0 on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
from tvm import relax, tirx
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

BRANCH = "relax.tilewright.branch"
LOOP = "relax.tilewright.loop"


@dataclass(frozen=True)
class BranchCall:
    """A call of the operator, taken apart."""

    condition: Expr
    captures: tuple[Expr, ...]
    then: str
    otherwise: str


@dataclass(frozen=True)
class LoopCall:
    """A call of the operator, taken apart; `condition` is None where there is none."""

    count: Expr
    condition: Expr | None
    carried: tuple[Expr, ...]
    captures: tuple[Expr, ...]
    body: str


def branch(then: str, otherwise: str, condition: Expr, captures: Sequence[Expr], results: Sequence[Type]) -> Expr:
    """A call of `then` or `otherwise`, which give such results."""
    attributes = tvm.ir.make_node("ir.DictAttrs", then=then, otherwise=otherwise)
    return tvm.ir.Call(Op.get(BRANCH), [condition, *captures], attributes, [relax.TupleType(list(results))])


def loop(
    body: str,
    count: Expr,
    condition: Expr | None,
    carried: Sequence[Expr],
    captures: Sequence[Expr],
    results: Sequence[Type],
) -> Expr:
    """The turns of `body`, whose last `carried` and stacked slices are of the types `results`."""
    attributes = tvm.ir.make_node(
        "ir.DictAttrs",
        body=body,
        carried=tirx.IntImm("int64", len(carried)),
        conditional=tirx.IntImm("int64", condition is not None),
    )
    operands = [count, relax.const(True, "bool") if condition is None else condition, *carried, *captures]
    return tvm.ir.Call(Op.get(LOOP), operands, attributes, [relax.TupleType(list(results))])


def branch_of(call: Call) -> BranchCall:
    """What a call of `branch` says."""
    condition, *captures = call.args
    return BranchCall(condition, tuple(captures), str(call.attrs["then"]), str(call.attrs["otherwise"]))


def loop_of(call: Call) -> LoopCall:
    """What a call of `loop` says."""
    count, condition, *rest = call.args
    carried = int(call.attrs["carried"])
    conditional = bool(int(call.attrs["conditional"]))
    return LoopCall(
        count,
        condition if conditional else None,
        tuple(rest[:carried]),
        tuple(rest[carried:]),
        str(call.attrs["body"]),
    )


def _infer_type(call: Call, context: Node) -> Type:
    return call.ty_args[0]


for _name in (BRANCH, LOOP):
    register(_name, __doc__, _infer_type)
