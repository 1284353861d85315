"""Our own Relax operators for what continues: rows that are written behind others, and parts of sizes that vary.

    relax.tilewright.append(state, new, begin, count)    state, whose rows from `begin` on are those of `new`
    relax.tilewright.joined(part, .., size, ..)          parts one after the other, of each the first `size` rows
    relax.tilewright.continued(old, new, begins)         room for all rows of both, those of `new` from `begins` on

Rows are along the attribute `axis`; `begin`, `count` and sizes are int64 scalars. `begin` may be a vector, and `begins`
is one: a number for each text, which the first axis counts. `joined` and `continued` have the type of a
concatenation; behind the rows of the last part, and of `continued` behind the new ones, is anything. `append` has the
state's memory for its result: a pass that comes last (`kernels/append_in_place.py`) sees to it that its kernel, which
writes the new rows alone, is given it. The importer writes `continued` where a model is compiled for several sizes, and
states are made of it, or it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
from tvm import relax, te, tirx
from tvm.ir import Op

from ...annotations import APPEND
from ...ir_types import Call, Expr, Node, Scalar, Type
from .registration import register
from .row_copies import rows_kernel

APPENDED, JOINED, CONTINUED = (f"relax.tilewright.{name}" for name in ("append", "joined", "continued"))


def append(state: Expr, new: Expr, begin: Expr, count: Expr, axis: int) -> Expr:
    """A call that writes rows into a state."""
    attributes = tvm.ir.make_node("ir.DictAttrs", axis=tirx.IntImm("int64", axis))
    return tvm.ir.Call(Op.get(APPENDED), [state, new, begin, count], attributes)


def joined(parts: Sequence[Expr], sizes: Sequence[Expr], axis: int) -> Expr:
    """A call that joins parts; a size for each but the last."""
    attributes = tvm.ir.make_node("ir.DictAttrs", axis=tirx.IntImm("int64", axis))
    return tvm.ir.Call(Op.get(JOINED), [*parts, *sizes], attributes)


def continued(old: Expr, new: Expr, begins: Expr, axis: int) -> Expr:
    """A call that puts the new rows of each text behind those that it has."""
    attributes = tvm.ir.make_node("ir.DictAttrs", axis=tirx.IntImm("int64", axis))
    return tvm.ir.Call(Op.get(CONTINUED), [old, new, begins], attributes)


def _type_of_continued(call: Call, context: Node) -> Type:
    axis, (old, new) = int(call.attrs["axis"]), call.args[:2]
    shape = [int(extent) for extent in old.ty.shape]
    shape[axis] += int(new.ty.shape[axis])
    return relax.TensorType(shape, str(old.ty.dtype))


def _type_of_append(call: Call, context: Node) -> Type:
    return call.args[0].ty


def _type_of_joined(call: Call, context: Node) -> Type:
    axis, parts = int(call.attrs["axis"]), list(call.args)[: (len(call.args) + 1) // 2]
    shape = [int(extent) for extent in parts[0].ty.shape]
    shape[axis] = sum(int(each.ty.shape[axis]) for each in parts)
    return relax.TensorType(shape, str(parts[0].ty.dtype))


def _legalize_append(builder: relax.BlockBuilder, call: Call) -> Expr:
    state, new, begin, count = call.args
    memory, rows = (tuple(int(extent) for extent in each.ty.shape) for each in (state, new))
    axis, texts = int(call.attrs["axis"]), tuple(int(extent) for extent in begin.ty.shape)
    function = rows_kernel(memory, rows, axis, str(state.ty.dtype), texts)
    kernel = builder.add_func(APPEND.on(function, True), "append")
    return relax.call_tir(kernel, relax.Tuple([state, new, begin, count]), call.ty)


def _legalize_joined(builder: relax.BlockBuilder, call: Call) -> Expr:
    axis, number = int(call.attrs["axis"]), (len(call.args) + 1) // 2
    shape = [int(extent) for extent in call.ty.shape]

    def compute(*tensors: te.Tensor) -> te.Tensor:
        parts, sizes = tensors[:number], tensors[number:]

        def element(*index: Scalar) -> Scalar:
            def of(part: te.Tensor, place: Scalar) -> Scalar:
                inside = tirx.min(place, part.shape[axis] - 1)
                return part(*(inside if each == axis else at for each, at in enumerate(index)))

            begin = tirx.IntImm("int64", 0)
            choices = []
            for part, size in zip(parts, sizes, strict=False):
                choices.append((begin + size(), of(part, index[axis] - begin)))
                begin = begin + size()
            value = of(parts[-1], index[axis] - begin)
            for end, chosen in reversed(choices):
                value = tirx.if_then_else(index[axis] < end, chosen, value)
            return value

        return te.compute(shape, element, name="joined")

    return builder.call_te(compute, *call.args, primfunc_name_hint="joined")


register(APPENDED, __doc__, _type_of_append, _legalize_append)
register(CONTINUED, __doc__, _type_of_continued)
register(JOINED, __doc__, _type_of_joined, _legalize_joined)
