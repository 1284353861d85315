"""Whether a model depends on its sizes in no other way than the compiler follows: seen by importing it for other sizes.

What an import computes of shapes is gone afterwards: 127 may be a number of the model, or the last of 128 tokens.
Imports for several sizes tell the two apart. Their operators must be the same, constants that grow with a size must be
the beginnings of that for the largest, or one of what `sized_constants.py` knows, and other numbers that change must be
ends of axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from ...errors import UnsupportedError
from ...frontends import ImportedModel
from ...ir_passes.core.functions import split
from ...ir_passes.core.graph import MAIN, Graph, leaves
from ...ir_passes.dialect.control_flow import BRANCH, LOOP, branch_of, loop_of
from ...ir_passes.extents.importer_kernels import has_rule
from ...ir_passes.extents.kept_places import literals
from ...ir_passes.extents.step import operator_name, shape_of
from ...ir_types import Call, Expr, IRModule, Var
from ...slices import slices
from .ends import AllBut, End, end_of
from .seen import Ends, Seen, differ, is_counted, is_sampled, known_array
from .sized_constants import begins
from .tables import Axes, shifted, table_axes, table_axes_of

_FREE = ("relax.reshape", "relax.broadcast_to", "relax.full", "relax.zeros", "relax.ones")  # shapes are theirs to say


def check_witness(large: ImportedModel, small: ImportedModel, seen: Seen, *, beyond: bool) -> None:
    """Compares the import for the largest sizes with one for others, and notes where they differ.

    Args:
        beyond: whether one of the others is larger.

    Raises:
        UnsupportedError: the model is another one for other sizes; the node is named.
    """
    seen.shapes.append(output_shapes(small))
    if set(large.extents) | set(small.extents):
        raise UnsupportedError(
            "outputs whose size depends on data cannot be compiled for a range of sizes", where=large.name
        )
    comparison = _Comparison(large, small, seen, beyond=beyond)
    tables = comparison.function(MAIN, [frozenset()] * len(large.input_names))
    outputs = Graph.read(large.module).outputs
    for output, name, axes in zip(outputs, large.output_names, tables, strict=True):
        if axes or isinstance(output, tvm.ir.GenericConst):
            differ(f"output '{name}'", "it is a constant or a repetition that is as long as a size")
    seen.ends.append(comparison.ends)


class _Comparison:
    """Of two imports, function by function: bodies of loops and branches where they are called."""

    def __init__(self, large: ImportedModel, small: ImportedModel, seen: Seen, *, beyond: bool) -> None:
        self.ends: Ends = {}
        self._beyond = beyond
        self._name = large.name
        self._seen = seen
        self._parts = split(large.module), split(small.module)
        self._names: dict[Any, Any] = {}
        self._tables: dict[Var, Axes] = {}
        self._made: dict[Expr, Expr] = {}
        self._items: dict[Var, list[Axes]] = {}  # of what calls of functions give

    def function(self, name: str, given: Sequence[Axes]) -> list[Axes]:
        """Compares a function, and gives the axes of its results that are tables.

        Args:
            given: the axes of its parameters that are.
        """
        if any(name not in part for part in self._parts):
            differ(self._name, "it has other loops or branches for other sizes")
        ours, theirs = (Graph.read(part[name]) for part in self._parts)
        if len(ours.bindings) != len(theirs.bindings) or len(ours.params) != len(theirs.params):
            differ(self._name, "it has other operators for other sizes")
        self._names.update(zip(ours.params, theirs.params, strict=True))
        self._tables.update(zip(ours.params, given, strict=True))
        pairs = zip(ours.bindings, theirs.bindings, strict=True)
        for number, ((var, value), (other_var, other)) in enumerate(pairs):
            where = f"node '{var.name}'"
            end = _compare(value, other, self._names, where, [part[name] for part in self._parts])
            if end is not None:
                self.ends[var] = end
            if end is None or not end.says:
                _see_constants(name, number, value, other, self._seen, beyond=self._beyond)
            self._made[var] = value
            self._note_tables(var, value, other, where)
            self._names[var] = other_var
        for one, two in zip(ours.outputs, theirs.outputs, strict=True):
            self._compare_outputs(name, one, two)
        return [table_axes_of(one, two, self._tables) for one, two in zip(ours.outputs, theirs.outputs, strict=True)]

    def _note_tables(self, var: Var, value: Expr, other: Expr, where: str) -> None:
        if isinstance(value, relax.TupleGetItem):
            items = self._items.get(value.tuple_value)
            self._tables[var] = items[int(value.index)] if items is not None else frozenset()
            return
        if not isinstance(value, tvm.ir.Call):
            return
        name = str(getattr(value.op, "name", ""))
        if name in (BRANCH, LOOP):
            self._items[var] = self._branch(value, other) if name == BRANCH else self._loop(value, other)
            return
        found = table_axes(value, other, self._tables, self._made.get)
        if found is None:
            differ(where, f"its {operator_name(value)} reads a constant or a repetition that is as long as a size")
        self._tables[var] = found

    def _given(self, ours: Sequence[Expr], theirs: Sequence[Expr]) -> list[Axes]:
        return [table_axes_of(one, two, self._tables) for one, two in zip(ours, theirs, strict=True)]

    def _branch(self, value: Call, other: Call) -> list[Axes]:
        """What is a table in both branches; in one alone, as much of it is used as there is of the other."""
        mine, theirs = branch_of(value), branch_of(other)
        given = self._given(mine.captures, theirs.captures)
        sides = [self.function(name, given) for name in (mine.then, mine.otherwise)]
        return [one & two for one, two in zip(*sides, strict=True)]

    def _loop(self, value: Call, other: Call) -> list[Axes]:
        """The same of what the first turn and the others take; slices are stacked along a new first axis."""
        mine, theirs = loop_of(value), loop_of(other)
        carried, captures = (
            self._given(one, two) for one, two in ((mine.carried, theirs.carried), (mine.captures, theirs.captures))
        )
        results = self.function(mine.body, [frozenset(), *carried, *captures])
        own = 0 if mine.condition is None else 1
        left = [one & two for one, two in zip(carried, results[own:], strict=False)]
        return [*left, *(shifted(axes, 1) for axes in results[own + len(carried) :])]

    def _compare_outputs(self, function: str, one: Expr, two: Expr) -> None:
        where = self._name if function == MAIN else f"'{function}'"
        if isinstance(one, tvm.ir.GenericConst) and isinstance(two, tvm.ir.GenericConst):
            if not begins(known_array(one), known_array(two), beyond=self._beyond):
                differ(where, "a constant that it gives depends on a size")
        elif not isinstance(one, relax.Var) or not self._names[one].same_as(two):
            differ(where, "it gives other tensors for other sizes")


def output_shapes(imported: ImportedModel) -> tuple[tuple[int, ...], ...]:
    """The shapes of a model's outputs."""
    return tuple(shape_of(each.ty) for each in Graph.read(imported.module).outputs)


def _compare(
    value: Expr, other: Expr, names: dict[Any, Any], where: str, parts: Sequence[IRModule]
) -> End | AllBut | None:
    if type(value) is not type(other):
        differ(where, "it is another operator for other sizes")
    if not isinstance(value, tvm.ir.Call):
        same = isinstance(value, relax.TupleGetItem) and value.index == other.index
        if not same or not names[value.tuple_value].same_as(other.tuple_value):
            differ(where, "it reads other tensors for other sizes")
        return None
    if is_counted(value) and is_counted(other):
        return None
    if str(value.op) != str(other.op) or len(value.args) != len(other.args):
        differ(where, "it is another operator for other sizes")
    name = str(getattr(value.op, "name", value.op))
    mine, theirs = list(leaves(value)), list(leaves(other))
    if len(mine) != len(theirs) or not all(names[a].same_as(b) for a, b in zip(mine, theirs, strict=True)):
        differ(where, "it reads other tensors for other sizes")
    end = end_of(value, other)
    if end is not None and end.says:
        return end
    if name == "relax.strided_slice":
        _compare_slices(value, other, where)
    elif is_sampled(value):
        return None  # what its tables are is seen when all imports are there
    elif name not in _FREE:
        for argument, another in zip(value.args, other.args, strict=True):
            _compare_argument(argument, another, where)
    else:
        _compare_argument(value.args[0], other.args[0], where)
    if name == "relax.call_tir":
        _compare_kernels(value, other, parts, where)
    if not tvm_ffi.structural_equal(value.attrs, other.attrs):
        differ(where, f"the attributes of its {name.removeprefix('relax.')} depend on a size")
    return end


def _compare_kernels(value: Expr, other: Expr, parts: Sequence[IRModule], where: str) -> None:
    """What has no rule of its own is followed by its statements: they have to be the same."""
    ours, theirs = (part[call.args[0]] for part, call in zip(parts, (value, other), strict=True))
    if not has_rule(str(value.args[0].name_hint)) and literals(ours) != literals(theirs):
        differ(where, "a number in its kernel depends on a size")


def _compare_argument(argument: Expr, other: Expr, where: str) -> None:
    if isinstance(argument, relax.Tuple) and isinstance(other, relax.Tuple):
        for one, two in zip(argument.fields, other.fields, strict=True):
            _compare_argument(one, two, where)
    elif isinstance(argument, tirx.IntImm | tirx.FloatImm | relax.ShapeExpr) and not tvm_ffi.structural_equal(
        argument, other
    ):
        differ(where, "a number in it depends on a size")


def _see_constants(function: str, number: int, value: Expr, other: Expr, seen: Seen, *, beyond: bool) -> None:
    if not isinstance(value, tvm.ir.Call):
        return
    if is_sampled(value):
        seen.calls.setdefault((function, number), []).append(other)
        return
    if is_counted(value):
        seen.found.setdefault((function, number, 0), []).append(other)
        return
    pairs = zip(_constants(value), _constants(other), strict=True)
    for place, (one, two) in enumerate(pairs):
        seen.see((function, number, place), one, two, beyond=beyond)


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
        differ(where, "where it begins and ends is not known")
    for one, two, large, small in zip(mine, theirs, shape, another, strict=True):
        ends = one.stop == large and two.stop == small
        if (one.start, one.step) != (two.start, two.step) or (one.stop != two.stop and not ends):
            differ(where, "which part of a tensor it takes depends on a size")
        if large != small and one.stop == large and not ends:
            differ(where, "which part of a tensor it takes depends on a size")
