"""Tiles that are there throughout are computed without conditions on their elements.

    for pixel of the tile:                                        if the last pixel of the tile is there, and its line:
        out = value if pixel is there else 0         ->               for pixel of the tile: out = value
                                                                  else: as before

Where sizes vary, a value stands in place of what is not there (`ir_passes/dialect/within.py`). Whether a pixel is there
takes a division each; of a tile whose places grow with its loops, one for the last one says it of all of them, unless a
line ends in between. Works on loops over buffers that still have their axes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...ir_types import Buffer, For, PrimFunc, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import found, mentions, renewed, substituted

_MOST_PLACES = 64  # of a tile: its loops are unrolled


def split_whole_tiles(function: PrimFunc) -> PrimFunc:
    """The function, in which tiles that may be whole are computed in two ways."""
    sizes = {each for each in function.params if not each.shape and str(each.dtype) == "int64"}
    if not sizes:
        return function
    tiles: dict[Var, Stmt] = {}
    for loop in found(function.body, tirx.For):  # inner ones first
        split = _split(loop, sizes)
        if split is not None:
            for each in found(loop.body, tirx.For):
                tiles.pop(each.loop_var, None)
            tiles[loop.loop_var] = split

    def rewritten(loop: For) -> Stmt:
        return tiles.get(loop.loop_var, loop)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, rewritten), order="post"))


def _split(loop: For, sizes: set[Buffer]) -> Stmt | None:
    """A tile in two ways; None where nothing in it depends on its places and on sizes."""
    loops = [loop, *found(loop.body, tirx.For)]
    if loop.kind != tirx.ForKind.UNROLLED or not all(isinstance(each.extent, tirx.IntImm) for each in loops):
        return None
    extents = {each.loop_var: int(each.extent) for each in loops}
    places = math.prod(extents[each.loop_var] for each in loops if each.kind != tirx.ForKind.VECTORIZED)
    masks: list[tirx.Select] = []
    whole: list[Scalar] = []
    if places > _MOST_PLACES or any(each.kind == tirx.ForKind.SERIAL for each in loops):
        return None
    for select in found(loop.body, tirx.Select):
        conditions = _of_whole(select.condition, extents, sizes)
        if conditions is not None and mentions(select.condition, list(extents)):
            masks.append(select)
            whole += [each for each in conditions if not any(tvm_ffi.structural_equal(each, one) for one in whole)]
    if not masks:
        return None

    def plain(select: tirx.Select) -> Scalar:
        return select.true_value if any(select.same_as(each) for each in masks) else select

    unmasked = tvm_ffi.structural_map(loop, (tirx.Select, plain), order="post")
    return tirx.IfThenElse(tirx.all(*whole), renewed(unmasked), loop)


def _of_whole(condition: Scalar, extents: Mapping[Var, int], sizes: set[Buffer]) -> list[Scalar] | None:
    """When a condition holds for all places of a tile; None of one that is not of places before sizes."""
    if isinstance(condition, tirx.And):
        both = [_of_whole(each, extents, sizes) for each in (condition.a, condition.b)]
        return None if both[0] is None or both[1] is None else [*both[0], *both[1]]
    if not isinstance(condition, tirx.LT) or not isinstance(condition.b, TensorLoad) or condition.b.source not in sizes:
        return None
    last = _last(condition.a, extents)
    return None if last is None else [*last[1], last[0] < condition.b]


def _last(place: Scalar, extents: Mapping[Var, int]) -> tuple[Scalar, list[Scalar]] | None:
    """The largest of all places of a tile, and when it is that; None where that is not known."""
    variables = list(extents)
    if not mentions(place, variables):
        return place, []
    if isinstance(place, tirx.FloorDiv) and isinstance(place.b, tirx.IntImm):
        inner = _last(place.a, extents)
        return None if inner is None else (tirx.floordiv(inner[0], place.b), inner[1])
    if isinstance(place, tirx.FloorMod) and isinstance(place.b, tirx.IntImm):
        steps = _steps(place.a, extents)
        if steps is None:
            return None
        top = tirx.floormod(substituted(place.a, dict.fromkeys(variables, _ZERO)), place.b) + steps
        return top, [top < place.b]  # a line that ends in between begins anew
    steps = _steps(place, extents)
    return None if steps is None else (substituted(place, dict.fromkeys(variables, _ZERO)) + steps, [])


_ZERO = tirx.IntImm("int64", 0)
# What places may be that do not grow by as much with each step of a loop.
_FOLDED = (tirx.FloorDiv, tirx.FloorMod, tirx.Min, tirx.Max, tirx.Select, TensorLoad, tvm.ir.Call)


def _steps(place: Scalar, extents: Mapping[Var, int]) -> Scalar | None:
    """How far the last place of a tile is from the first, of places that grow by so much with each loop."""
    if any(mentions(each, list(extents)) for kind in _FOLDED for each in found(place, kind)):
        return None
    analyzer, total = tvm.sym.Analyzer(), 0
    first = substituted(place, dict.fromkeys(extents, _ZERO))
    for variable, extent in extents.items():
        values = {**dict.fromkeys(extents, _ZERO), variable: tirx.IntImm("int64", extent - 1)}
        step = analyzer.simplify(substituted(place, values) - first)
        if not isinstance(step, tirx.IntImm) or int(step) < 0:
            return None
        total += int(step)
    return tirx.IntImm("int64", total)
