"""Where keys and values of an attention lie, behind what only moves them for the operator's sake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tvm

from ...ir_types import Call, Expr
from ..dialect.append import APPENDED
from .step import operator_name, shape_of

MadeBy = Callable[[Expr], "Expr | None"]
_HEADS_FIRST = [0, 2, 1, 3]


@dataclass(frozen=True)
class Cache:
    """Keys or values: (batch, heads, keys, depth), or with keys before heads; fewer heads where each serves several.

    `by_text` are two numbers whose sum is how many keys there are, the first a vector, where each text has its own.
    """

    tensor: Expr
    heads_first: bool
    is_state: bool
    by_text: tuple[Expr, Expr] | None = None


def cache_of(operand: Expr, made_by: MadeBy) -> Cache:
    """The tensor that is (batch, keys, heads, depth) after transpositions, casts and repetitions of heads."""
    tensor = uncast(operand, made_by)
    moved = _call(tensor, made_by, "permute_dims")
    heads_first = moved is not None and [int(axis) for axis in moved.attrs.axes or ()] == _HEADS_FIRST
    if moved is not None and heads_first:
        tensor = uncast(moved.args[0], made_by)
        tensor = _once(tensor, made_by)
    made = made_by(tensor)
    if not isinstance(made, tvm.ir.Call) or getattr(made.op, "name", "") != APPENDED:
        return Cache(tensor, heads_first, False)
    _, _, begin, count = made.args
    return Cache(tensor, heads_first, True, (begin, count) if shape_of(begin.ty) else None)


def uncast(tensor: Expr, made_by: MadeBy) -> Expr:
    """What was cast to fewer bits for a product: the product is of float32."""
    cast = _call(tensor, made_by, "astype")
    return tensor if cast is None or str(cast.args[0].ty.dtype) != "float32" else cast.args[0]


def _once(tensor: Expr, made_by: MadeBy) -> Expr:
    """(batch, heads, keys, depth) before each head was repeated for several of the queries."""
    repeated = _call(tensor, made_by, "repeat")
    if repeated is not None and repeated.attrs.axis is not None and int(repeated.attrs.axis) == 1:
        return repeated.args[0]
    merged = _call(tensor, made_by, "reshape")
    spread = None if merged is None else _call(merged.args[0], made_by, "broadcast_to")
    one = None if spread is None else _call(spread.args[0], made_by, "reshape", "expand_dims")
    if merged is None or spread is None or one is None:
        return tensor
    heads, own = shape_of(tensor.ty), shape_of(one.args[0].ty)
    groups = shape_of(spread.ty)
    same = len(own) == 4 and len(groups) == 5 and (groups[0], groups[1], *groups[3:]) == own
    single = same and shape_of(one.ty) == (*own[:2], 1, *own[2:])
    return one.args[0] if single and heads == (own[0], own[1] * groups[2], *own[2:]) else tensor


def _call(tensor: Expr, made_by: MadeBy, *names: str) -> Call | None:
    value = made_by(tensor)
    return value if isinstance(value, tvm.ir.Call) and operator_name(value) in names else None
