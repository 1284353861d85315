"""Whether a model depends on its sizes in no other way than the compiler follows: seen by importing it for other sizes.

What an import computes of shapes is gone afterwards: 127 may be a number of the model, or the last of 128 tokens.
Imports for several sizes tell the two apart. Their operators must be the same, constants that grow with a size must be
the beginnings of that for the largest, and numbers that change must be ends of axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn, TypeAlias

import numpy as np
import tvm
import tvm_ffi
from tvm import relax, tirx

from ..errors import UnsupportedError
from ..frontends import ImportedModel
from ..ir_passes.core.constants import array_of
from ..ir_passes.core.graph import Graph, leaves
from ..ir_passes.dialect import interpolation
from ..ir_passes.extents.step import shape_of
from ..ir_types import Call, Expr, Var
from ..slices import slices
from .ends import End, end_of
from .tables import Axes, table_axes

Ends: TypeAlias = dict[Var, End]
_FREE = ("relax.reshape", "relax.broadcast_to", "relax.full", "relax.zeros", "relax.ones")  # shapes are theirs to say


def check_witness(large: ImportedModel, small: ImportedModel) -> Ends:
    """Compares the import for the largest sizes with one for others.

    Returns:
        the variables of the import for the largest sizes whose values are taken from the end of an axis.

    Raises:
        UnsupportedError: the model is another one for other sizes; the node is named.
    """
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
    for (var, value), (other_var, other) in zip(ours.bindings, theirs.bindings, strict=True):
        where = f"node '{var.name}'"
        end = _compare(value, other, names, where)
        if end is not None:
            ends[var] = end
        if isinstance(value, tvm.ir.Call):
            found = table_axes(value, other, tables)
            if found is None:
                _differ(where, "it reads a constant or a repetition that is as long as a size")
            tables[var] = found
        names[var] = other_var
    for output, name in zip(ours.outputs, large.output_names, strict=True):
        if tables.get(output) or isinstance(output, tvm.ir.GenericConst):
            _differ(f"output '{name}'", "it is a constant or a repetition that is as long as a size")
    return ends


def with_ends(imported: ImportedModel, found: Sequence[Ends]) -> ImportedModel:
    """The import for the largest sizes, in which what is taken from the end of an axis says so.

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
    calls = {var: end for var, end in ends.items() if end.distances is not None}
    if not calls:
        return imported
    graph, normalize = Graph.read(imported.module), relax.BlockBuilder().normalize
    bindings = tuple(
        (var, normalize(calls[var].call(value)) if var in calls else value) for var, value in graph.bindings
    )
    return replace(imported, module=replace(graph, bindings=bindings).write(imported.module))


def output_shapes(imported: ImportedModel) -> tuple[tuple[int, ...], ...]:
    """The shapes of a model's outputs."""
    return tuple(shape_of(each.ty) for each in Graph.read(imported.module).outputs)


def _compare(value: Expr, other: Expr, names: dict[Any, Any], where: str) -> End | None:
    if type(value) is not type(other):
        _differ(where, "it is another operator for other sizes")
    if not isinstance(value, tvm.ir.Call):
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
        _compare_argument(weights, other_weights, where)
        large, small = array_of(positions), array_of(others)
        extent = shape_of(other.args[0].ty)[axis]
        if large is None or small is None or not np.array_equal(np.minimum(large[: len(small)], extent - 1), small):
            _differ(where, "what it interpolates depends on a size, beyond the end of the image")


def _compare_argument(argument: Expr, other: Expr, where: str) -> None:
    array, another = array_of(argument), array_of(other)
    if array is not None and another is not None:
        begins = tuple(slice(0, extent) for extent in another.shape)
        longer = array.ndim == another.ndim and all(a >= b for a, b in zip(array.shape, another.shape, strict=True))
        same = longer and np.array_equal(array[begins], another, equal_nan=another.dtype.kind == "f")
        if not same:
            _differ(
                where, "a constant that it reads depends on a size, and is not the beginning of the one for the largest"
            )
    elif isinstance(argument, relax.Tuple) and isinstance(other, relax.Tuple):
        for one, two in zip(argument.fields, other.fields, strict=True):
            _compare_argument(one, two, where)
    elif isinstance(argument, tirx.IntImm | tirx.FloatImm | relax.ShapeExpr) and not tvm_ffi.structural_equal(
        argument, other
    ):
        _differ(where, "a number in it depends on a size")


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
