"""Inputs that outputs continue: one memory of the caller's for both, which a call changes in place.

A state of fixed size is read and then replaced (of a recurrent network). A cache grows: the output is the input with
what is new behind it along one axis. Its memory has room for the most that there can be, where all of it stays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax

from ...errors import UnsupportedError, UsageError
from ...frontends import ImportedModel
from ...ir_passes.core.constants import constant
from ...ir_passes.core.graph import Binding, Graph, leaves
from ...ir_passes.dialect.append import CONTINUED, append
from ...ir_passes.dialect.sized import size
from ...ir_passes.extents.step import shape_of
from ...ir_types import Call, Expr, Var
from ...sizes import Dimension, Size, SizeExpr, dimensions_of, in_c, with_values
from .sized_constants import Sizes


@dataclass(frozen=True)
class State:
    """An input and the output that is its next contents.

    Attributes:
        axis: along which the output continues the input; None where it replaces it.
        room: how many it has room for along that axis.
        before, after: how many there are when a call begins, and when it ends.
    """

    input: str
    output: str
    axis: int | None = None
    room: int = 0
    before: Size = 0
    after: Size = 0

    @property
    def more(self) -> Size:
        """How many a call adds."""
        return self.after + self.before * -1


def states_of(
    imported: ImportedModel,
    pairs: Mapping[str, str],
    inputs: Mapping[str, Sequence[Size]],
    shapes: Sequence[Sequence[Sequence[int]]] = (),
    sizes: Sizes | None = None,
) -> tuple[State, ...]:
    """What becomes of each pair.

    Args:
        imported: the model for the largest sizes, settled for all.
        inputs: the sizes of inputs that vary.
        shapes, sizes: those of all outputs in imports for other sizes, and the sizes of all of them.

    Raises:
        UnsupportedError: an output is no next contents of its input.
    """
    graph = Graph.read(imported.module)
    made = dict(graph.bindings)
    found = []
    for name, output in pairs.items():
        if name not in imported.input_names or output not in imported.output_names:
            raise UsageError("a value that is bound is no state", where=f"--state {name}={output}")
        param = graph.params[imported.input_names.index(name)]
        place = imported.output_names.index(output)
        result = graph.outputs[place]
        axis = _continued(param, made.get(result) if isinstance(result, relax.Var) else None)
        if axis is None:
            if shape_of(param.ty) != shape_of(result.ty) or str(param.ty.dtype) != str(result.ty.dtype):
                raise _no_state(name, output, "it is neither the input with more behind it, nor of the same size")
            found.append(State(name, output))
            continue
        if sum(each.same_as(param) for _, value in graph.bindings for each in leaves(value)) > 1:
            raise _no_state(name, output, "other operators read the input, too")
        before: Size = inputs[name][axis] if name in inputs else shape_of(param.ty)[axis]
        lengths = [shape_of(result.ty)[axis], *(each[place][axis] for each in shapes)]
        after = None if sizes is None else sizes.affine(lengths)
        if not isinstance(before, SizeExpr) or before != dimensions_of(before)[0].size:
            raise _no_state(name, output, "the number of what there is has no range: add --range NAME=0..1024 for it")
        if after is None:
            raise _no_state(name, output, f"its length ({lengths[0]} at most) is no sum of the dimensions that vary")
        found.append(State(name, output, axis, shape_of(result.ty)[axis], before, after))
    return tuple(found)


def rooms_of(states: Sequence[State]) -> dict[str, tuple[int, Size]]:
    """For each dimension that counts what states hold: how much these have room for, and how much a call adds."""
    rooms: dict[str, tuple[int, Size]] = {}
    for state in states:
        if state.axis is None:
            continue
        (dimension,) = dimensions_of(state.before)
        if rooms.setdefault(dimension.name, (state.room, state.more)) != (state.room, state.more):
            raise _no_state(state.input, state.output, "other states that hold as many get more, or less")
    return rooms


def steps_of(states: Sequence[State], dimensions: Sequence[Dimension]) -> tuple[tuple[Dimension, int], ...]:
    """The dimension that counts what is new in a call, at one: what a library for a cache is called with most."""
    grown = {each for state in states if state.axis is not None for each in dimensions_of(state.more)}
    new = [each for each in dimensions if each in grown and each.least <= 1 < each.bound]
    return ((new[0], 1),) if len(new) == 1 else ()


def with_states(imported: ImportedModel, states: Sequence[State], values: Mapping[str, int]) -> ImportedModel:
    """The model on states with room for the most: what was joined to one is written behind what it holds.

    Args:
        values: of dimensions that are fixed.
    """
    growing = {state.input: state for state in states if state.axis is not None}
    graph = Graph.read(imported.module)
    normalize = relax.BlockBuilder().normalize
    rooms: dict[Var, tuple[Var, State]] = {}
    params = []
    for param, name in zip(graph.params, imported.input_names, strict=True):
        if name in growing:
            state, shape = growing[name], list(shape_of(param.ty))
            shape[state.axis or 0] = state.room
            rooms[param] = relax.Var(param.name, relax.TensorType(shape, str(param.ty.dtype))), state
            param = rooms[param][0]
        params.append(param)
    bindings: list[Binding] = []

    def emit(value: Expr) -> Expr:
        value = normalize(value)
        bindings.append((relax.DataflowVar("size", value.ty), value))
        return bindings[-1][0]

    def number(each: Size) -> Expr:
        each = with_values(each, values)
        if isinstance(each, int):
            return constant(np.array(each, np.int64))
        return emit(size(in_c(each, "")))

    for var, value in graph.bindings:
        first = next((each for each in leaves(value) if each in rooms), None)
        if first is not None:
            room, state = rooms[first]
            before, more = number(state.before), number(state.more)
            new, begin = _new_rows(value, before, emit)
            value = normalize(append(room, new, begin, more, state.axis or 0))
        bindings.append((var, value))
    made = replace(graph, params=tuple(params), bindings=tuple(bindings))
    return replace(imported, module=made.write(imported.module))


def _continued(param: Var, value: Expr | None) -> int | None:
    """The axis along which a value is a parameter with more behind it."""
    if not isinstance(value, tvm.ir.Call):
        return None
    name = str(getattr(value.op, "name", ""))
    if name == CONTINUED and value.args[0].same_as(param):
        return int(value.attrs["axis"])
    if name != "relax.concat":
        return None
    fields = list(getattr(value.args[0], "fields", ()))
    if len(fields) != 2 or not fields[0].same_as(param) or value.attrs.axis is None:
        return None
    return int(value.attrs.axis) % len(shape_of(param.ty))


def _new_rows(value: Call, before: Expr, emit: Callable[[Expr], Expr]) -> tuple[Expr, Expr]:
    """What is behind a state, and where it begins: behind what there is, or behind what each text has of that.

    Numbers of texts are data, and are kept within the memory whatever they are.
    """
    if str(value.op.name) != CONTINUED:
        return value.args[0].fields[1], before
    _, new, begins = value.args
    least = emit(relax.op.maximum(begins, constant(np.zeros((), np.int64))))
    return new, emit(relax.op.minimum(least, before))


def _no_state(name: str, output: str, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"the output {output!r} cannot be the next contents of the input {name!r}: {why}",
        where=f"--state {name}={output}",
        hint="leave the pair out: --state none, if it was found by its name",
    )
