"""Whether a model depends on its sizes in no other way than the compiler follows: seen by importing it for other sizes.

What an import computes of shapes is gone afterwards: 127 may be a number of the model, or the last of 128 tokens.
Imports for several sizes tell the two apart. Their operators must be the same, constants that grow with a size must be
the beginnings of that for the largest, or one of what `sized_constants.py` knows, and other numbers that change must be
ends of axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from ...errors import UnsupportedError
from ...frontends import ImportedModel
from ...ir_passes.core.constants import array_of, constant
from ...ir_passes.core.graph import Binding, Graph, leaves
from ...ir_passes.dialect import interpolation
from ...ir_passes.dialect.sized import COUNTED, count_of, numbers_of, size, sized, start_of
from ...ir_passes.extents.step import operator_name, shape_of
from ...ir_types import Call, Expr, Var
from ...sizes import in_c
from ...slices import slices
from .ends import End, end_of
from .sized_constants import Band, Moved, Sizes, band, begins, moved
from .tables import Axes, table_axes

Ends: TypeAlias = dict[Var, End]
_KEPT = 1 << 22  # elements: masks, not weights
_FREE = ("relax.reshape", "relax.broadcast_to", "relax.full", "relax.zeros", "relax.ones")  # shapes are theirs to say


def settled(large: ImportedModel, seen: Seen, sizes: Sizes) -> ImportedModel:
    """The import for the largest sizes, in which what depends on sizes says so.

    Args:
        large: that import.
        seen: what those for other sizes have in its place.
        sizes: what all of them are for, in order.

    Raises:
        UnsupportedError: the model is another one for other sizes; the node is named.
    """
    graph, ends = Graph.read(large.module), _ends_of(seen.ends)
    write = _Writer(sizes)
    for number, (var, value) in enumerate(graph.bindings):
        where = f"node '{var.name}'"
        if var in ends:
            write.bind(var, ends[var].call(value))
        elif _is_counted(value):
            write.bind(var, write.counted(var, [value, *seen.found.get((number, 0), [])], where))
        elif isinstance(value, tvm.ir.Call) and any(key[0] == number for key in seen.differing):
            write.bind(var, write.call(value, number, seen, where))
        else:
            write.bind(var, value)
    module = replace(graph, bindings=tuple(write.bindings)).write(large.module)
    return replace(large, module=module)


@dataclass
class Seen:
    """What witnesses have where they may differ; they themselves are not kept, weights and all.

    Attributes:
        shapes: of the outputs, of each witness.
        ends: of each witness what is taken from the end of an axis.
        found: by binding and place among its constants: one of each witness, those of no more than `_KEPT` elements.
        differing: those that are not the beginning of the one for the largest sizes.
    """

    shapes: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)
    ends: list[Ends] = field(default_factory=list)
    found: dict[tuple[int, int], list[Expr]] = field(default_factory=dict)
    differing: set[tuple[int, int]] = field(default_factory=set)

    def see(self, number: int, place: int, large: Expr, small: Expr) -> None:
        """Notes one of a witness."""
        if _array(small).size <= _KEPT:
            self.found.setdefault((number, place), []).append(small)
        if not begins(_array(large), _array(small)):
            self.differing.add((number, place))


class _Writer:
    """The bindings of a model, with those of sizes before the first that reads them."""

    def __init__(self, sizes: Sizes) -> None:
        self.bindings: list[Binding] = []
        self._sizes = sizes
        self._known: dict[str, Var] = {}
        self._normalize = relax.BlockBuilder().normalize

    def bind(self, var: Var, value: Expr) -> None:
        """Adds a binding."""
        self.bindings.append((var, value if not value.ty.is_missing() else self._normalize(value)))

    def call(self, value: Expr, number: int, seen: Seen, where: str) -> Expr:
        """A call with what its constants are made of in their places."""
        place = -1

        def written(argument: Expr) -> Expr:
            nonlocal place
            if isinstance(argument, relax.Tuple):
                return relax.Tuple([written(each) for each in argument.fields])
            if not isinstance(argument, tvm.ir.GenericConst):
                return argument
            place += 1
            if (number, place) not in seen.differing:
                return argument
            arrays = [_array(each) for each in (argument, *seen.found.get((number, place), []))]
            whole = len(arrays) == len(self._sizes.values)
            found = (moved(arrays, self._sizes) or band(arrays, self._sizes)) if whole else None
            if found is None:
                _differ(
                    where,
                    "a constant that it reads depends on a size, and is not the beginning of the one for the largest",
                )
            hint = where.split("'")[1]
            if isinstance(found, Band):
                return self.emit(self.cut(found, hint), hint)
            plain = not found.table.shape and str(found.table.dtype) == "int64"
            return self.size(in_c(found.size, "")) if plain else self.emit(self.added(found, hint), hint)

        call = tvm.ir.Call(value.op, [written(each) for each in value.args], value.attrs, list(value.ty_args))
        return self._normalize(call)

    def counted(self, var: Var, calls: Sequence[Expr], where: str) -> Expr:
        """What a model counts, as its start and its length depend on sizes."""
        start = self._sizes.affine([start_of(each) for each in calls])
        count = self._sizes.affine([count_of(each) for each in calls])
        if start is None or count is None:
            _differ(where, "it counts from a number that is no sum of sizes, or up to one")
        if isinstance(start, int):
            numbers = constant(numbers_of(calls[0]))
        else:
            numbers = self.emit(self.added(Moved(numbers_of(calls[0], 0), start), str(var.name)), str(var.name))
        return (
            relax.op.reshape(numbers, [count_of(calls[0])])
            if isinstance(count, int)
            else sized(numbers, in_c(count, ""))
        )

    def added(self, numbers: Moved, hint: str) -> Expr:
        """A table and a size."""
        dtype = str(numbers.table.dtype)
        number = self.size(in_c(numbers.size, ""))
        wide = number if dtype == "int64" else self.emit(relax.op.astype(number, dtype), hint)
        return relax.op.add(constant(numbers.table), wide)

    def cut(self, found: Band, hint: str) -> Expr:
        """Elements of a band."""
        places = self.emit(relax.op.add(constant(found.places), self.size(in_c(found.size, ""))), hint)
        return relax.op.take(constant(found.numbers), places, 0, mode="wrap")

    def size(self, text: str) -> Var:
        """The variable that is a size."""
        if text not in self._known:
            self._known[text] = self.emit(size(text), "size")
        return self._known[text]

    def emit(self, value: Expr, hint: str) -> Var:
        """A new variable."""
        value = self._normalize(value)
        var = relax.DataflowVar(hint, value.ty)
        self.bindings.append((var, value))
        return var


def _array(expr: Expr) -> Any:
    array = array_of(expr)
    assert array is not None
    return array


def _is_counted(value: Expr) -> bool:
    return isinstance(value, tvm.ir.Call) and getattr(value.op, "name", "") == COUNTED


def check_witness(large: ImportedModel, small: ImportedModel, seen: Seen) -> None:
    """Compares the import for the largest sizes with one for others, and notes where they differ.

    Raises:
        UnsupportedError: the model is another one for other sizes; the node is named.
    """
    seen.shapes.append(output_shapes(small))
    if set(large.extents) | set(small.extents):
        raise UnsupportedError(
            "outputs whose size depends on data cannot be compiled for a range of sizes", where=large.name
        )
    for module in (large.module, small.module):
        if sum(isinstance(function, relax.Function) for function in module.functions.values()) > 1:
            raise UnsupportedError(
                "loops and branches cannot be compiled for a range of sizes", where=large.name, hint="fix its sizes"
            )
    ours, theirs = Graph.read(large.module), Graph.read(small.module)
    if len(ours.bindings) != len(theirs.bindings):
        _differ(large.name, "it has other operators for other sizes")
    names = dict(zip(ours.params, theirs.params, strict=True))
    tables: dict[Var, Axes] = {}
    ends: Ends = {}
    pairs = zip(ours.bindings, theirs.bindings, strict=True)
    for number, ((var, value), (other_var, other)) in enumerate(pairs):
        where = f"node '{var.name}'"
        end = _compare(value, other, names, where)
        if end is not None:
            ends[var] = end
        if end is None or end.distances is None:
            _see_constants(number, value, other, seen)
        if isinstance(value, tvm.ir.Call):
            found = table_axes(value, other, tables)
            if found is None:
                name = operator_name(value)
                _differ(where, f"its {name} reads a constant or a repetition that is as long as a size")
            tables[var] = found
        names[var] = other_var
    for output, name in zip(ours.outputs, large.output_names, strict=True):
        if tables.get(output) or isinstance(output, tvm.ir.GenericConst):
            _differ(f"output '{name}'", "it is a constant or a repetition that is as long as a size")
    seen.ends.append(ends)


def _ends_of(found: Sequence[Ends]) -> Ends:
    """What is taken from the end of an axis.

    Args:
        found: what each witness said; one whose axis is as long as the largest says nothing.

    Raises:
        UnsupportedError: witnesses contradict each other.
    """
    ends: Ends = {}
    for each in found:
        for var, end in each.items():
            known = ends.setdefault(var, end)
            if known != end:
                _differ(f"node '{var.name}'", "which part of a tensor it takes depends on a size")
    return {var: end for var, end in ends.items() if end.distances is not None}


def output_shapes(imported: ImportedModel) -> tuple[tuple[int, ...], ...]:
    """The shapes of a model's outputs."""
    return tuple(shape_of(each.ty) for each in Graph.read(imported.module).outputs)


def _compare(value: Expr, other: Expr, names: dict[Any, Any], where: str) -> End | None:
    if type(value) is not type(other):
        _differ(where, "it is another operator for other sizes")
    if not isinstance(value, tvm.ir.Call):
        return None
    if _is_counted(value) and _is_counted(other):
        return None
    if str(value.op) != str(other.op) or len(value.args) != len(other.args):
        _differ(where, "it is another operator for other sizes")
    name = str(getattr(value.op, "name", value.op))
    mine, theirs = list(leaves(value)), list(leaves(other))
    if len(mine) != len(theirs) or not all(names[a].same_as(b) for a, b in zip(mine, theirs, strict=True)):
        _differ(where, "it reads other tensors for other sizes")
    end = end_of(value, other)
    if end is not None and end.distances is not None:
        return end
    if name == "relax.strided_slice":
        _compare_slices(value, other, where)
    elif name == interpolation.NAME:
        _compare_tables(value, other, where)
    elif name not in _FREE:
        for argument, another in zip(value.args, other.args, strict=True):
            _compare_argument(argument, another, where)
    else:
        _compare_argument(value.args[0], other.args[0], where)
    if not tvm_ffi.structural_equal(value.attrs, other.attrs):
        _differ(where, f"the attributes of its {name.removeprefix('relax.')} depend on a size")
    return end


def _compare_tables(value: Call, other: Call, where: str) -> None:
    """Tables of an interpolation: where an image ends, what is there last goes on."""
    pairs = (interpolation.tables_of(list(each.args)[1:]) for each in (value, other))
    for axis, (positions, weights), (others, other_weights) in zip(interpolation.axes_of(value), *pairs, strict=True):
        if not begins(_array(weights), _array(other_weights)):
            _differ(where, "by which weights it interpolates depends on a size")
        large, small = array_of(positions), array_of(others)
        extent = shape_of(other.args[0].ty)[axis]
        if large is None or small is None or not np.array_equal(np.minimum(large[: len(small)], extent - 1), small):
            _differ(where, "what it interpolates depends on a size, beyond the end of the image")


def _compare_argument(argument: Expr, other: Expr, where: str) -> None:
    if isinstance(argument, relax.Tuple) and isinstance(other, relax.Tuple):
        for one, two in zip(argument.fields, other.fields, strict=True):
            _compare_argument(one, two, where)
    elif isinstance(argument, tirx.IntImm | tirx.FloatImm | relax.ShapeExpr) and not tvm_ffi.structural_equal(
        argument, other
    ):
        _differ(where, "a number in it depends on a size")


def _see_constants(number: int, value: Expr, other: Expr, seen: Seen) -> None:
    if not isinstance(value, tvm.ir.Call) or getattr(value.op, "name", "") == interpolation.NAME:
        return  # whose tables are compared already
    if _is_counted(value):
        seen.found.setdefault((number, 0), []).append(other)
        return
    pairs = zip(_constants(value), _constants(other), strict=True)
    for place, (one, two) in enumerate(pairs):
        seen.see(number, place, one, two)


def _constants(value: Expr) -> list[Expr]:
    """The constants that a call reads, in order."""
    fields = [
        each
        for argument in value.args
        for each in (argument.fields if isinstance(argument, relax.Tuple) else [argument])
    ]
    return [each for each in fields if isinstance(each, tvm.ir.GenericConst)]


def _compare_slices(value: Expr, other: Expr, where: str) -> None:
    shape, another = ([int(extent) for extent in each.args[0].ty.shape] for each in (value, other))
    mine, theirs = slices(value, tuple(shape)), slices(other, tuple(another))
    if mine is None or theirs is None:
        _differ(where, "where it begins and ends is not known")
    for one, two, large, small in zip(mine, theirs, shape, another, strict=True):
        ends = one.stop == large and two.stop == small
        if (one.start, one.step) != (two.start, two.step) or (one.stop != two.stop and not ends):
            _differ(where, "which part of a tensor it takes depends on a size")
        if large != small and one.stop == large and not ends:
            _differ(where, "which part of a tensor it takes depends on a size")


def _differ(where: str, why: str) -> NoReturn:
    raise UnsupportedError(
        f"the model cannot be compiled for a range of sizes: {why}",
        where=where,
        hint="leave that dimension out of --range, or compile a library for each size",
    )
