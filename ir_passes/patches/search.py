"""Which region of a graph to compute in which patches, so that it takes the memory it may with the least work twice."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tvm import DataType, relax

from ..core.graph import Expr, Graph, Var, leaves
from ..core.match import calls
from ..core.rewriter import dtype_of, shape_of
from ..dialect.patches import Patches, Span
from ..operators.elementwise import ELEMENTWISE
from .estimate import Peak, Value, peak
from .region import Region, Regions, spans

_BYTE_BITS = 8
_MOST_PLACES = 16  # patches along an axis
_SCRATCH = 1 / 16  # of the limit, which kernels may take besides tensors
_ALIASES = ("reshape", "flatten", "nn.batch_flatten", "expand_dims", "squeeze")


@dataclass(frozen=True)
class Plan:
    """A region and its patches.

    Attributes:
        region: what is computed.
        places: where the patches of each of its images lie.
        down, across: how many patches there are.
        peak_bytes: what the graph takes then.
        body_bytes: what the patches take of that.
        work: operations, the ones done twice counted twice.
    """

    region: Region
    places: Mapping[Var, Patches]
    down: int
    across: int
    peak_bytes: int
    body_bytes: int
    work: int

    @property
    def patched(self) -> tuple[bool, bool]:
        """Along which axes there are several."""
        return self.down > 1, self.across > 1


@dataclass(frozen=True)
class Memory:
    """What of a graph is stored.

    Attributes:
        values: its tensors.
        outside: those that are the caller's.
        in_place: whether results may take the place of operands.
    """

    values: Sequence[Value]
    outside: Collection[Hashable]
    in_place: bool

    @property
    def peak(self) -> Peak:
        """The most bytes at a time."""
        return peak(self.values, self.outside, in_place=self.in_place)


def memory_of(graph: Graph, scratch: Mapping[Var, int], in_place: bool) -> Memory:
    """What of a graph is stored.

    Args:
        scratch: bytes that making a value takes besides.
    """
    values = [
        Value(
            var,
            tuple(leaves(value)),
            nbytes_of(var),
            str(getattr(getattr(value, "op", None), "name", "")) in ELEMENTWISE
            or calls(value, *_ALIASES)
            or isinstance(value, relax.TupleGetItem),
            scratch.get(var, 0),
        )
        for var, value in graph.bindings
    ]
    outside = {*graph.params, *(leaf for output in graph.outputs for leaf in leaves(output))}
    return Memory(values, outside, in_place)


def best_plan(graph: Graph, memory: Memory, limit: int) -> Plan | None:
    """The plan of the least work among those within the limit, or of the least memory; None if none takes less."""
    now = memory.peak
    if now.key is None:
        return None
    room = limit - int(limit * _SCRATCH)
    best: Plan | None = None
    for region in Regions(graph).around(now.key):
        most = now.nbytes - 1 if best is None else max(room, best.peak_bytes)
        rest = _around(memory, region, 0, None, 1)
        if rest > most:
            continue
        for plan in _plans(memory, region, room, most):
            if best is None or _rank(plan, room) < _rank(best, room):
                best = plan
    return best


def _rank(plan: Plan, room: int) -> tuple[int, int, int]:
    """What fits before what does not; then the least work, or the least memory."""
    fits = plan.peak_bytes <= room
    return (0, plan.work, plan.down * plan.across) if fits else (1, plan.peak_bytes, plan.work)


def _plans(memory: Memory, region: Region, room: int, most: int) -> Iterator[Plan]:
    height, width = (shape_of(region.result) or ())[1:3]
    reads = {each.key: each for each in memory.values}
    for down, rows in _cuts(height):
        for across, columns in _cuts(width):
            if down * across == 1:
                continue
            patched = down > 1, across > 1
            result = Patches(
                Span(rows, 0, rows, height) if patched[0] else Span(0, 0, height, height),
                Span(columns, 0, columns, width) if patched[1] else Span(0, 0, width, width),
                across,
            )
            places = spans(region, result, patched)
            if places is None:
                break
            body = _body_bytes(region, places, reads)
            nbytes = _around(memory, region, body, result, down)
            work = down * across * sum(_area(places[each]) * _work(region, each) for each in region.members)
            if nbytes <= most:
                yield Plan(region, places, down, across, nbytes, body, work)
            if nbytes <= room:
                break  # more patches side by side are more work


def _cuts(extent: int) -> Iterator[tuple[int, int]]:
    """How many patches along an axis, and how long they are; each length once."""
    known = set()
    for count in range(1, min(extent, _MOST_PLACES) + 1):
        size = -(-extent // count)
        if size not in known:
            known.add(size)
            yield -(-extent // size), size


def _area(places: Patches) -> int:
    return places.rows.size * places.columns.size


def _work(region: Region, var: Var) -> int:
    return int((shape_of(var) or (1,))[-1]) * region.stencils[var].work


def _body_bytes(region: Region, places: Mapping[Var, Patches], known: Mapping[Hashable, Value]) -> int:
    """What one patch takes: its images, and the copy of what it reads of the source."""
    source = Value(region.source, (), _patch_bytes(region.source, places[region.source]), False)
    inside = [
        Value(var, known[var].reads, _patch_bytes(var, places[var]), region.stencils[var].is_pointwise)
        for var in region.members
    ]
    return peak([source, *inside], (), in_place=False).nbytes


def _patch_bytes(var: Var, places: Patches) -> int:
    return _area(places) * (shape_of(var) or (1,))[-1] * _element_bytes(var)


def _around(memory: Memory, region: Region, scratch: int, patches: Patches | None, down: int) -> int:
    """The peak of the graph with a region that takes so much for itself.

    Args:
        patches: where those of the result lie; all of them are stored one after another, before they are put together.
    """
    gone = {*region.members, *([] if region.origin.same_as(region.source) else [region.source])}
    values: list[Value] = []
    for value in memory.values:
        if value.key not in gone:
            values.append(value)
        elif value.key == region.result:
            nbytes = 0 if patches is None else down * patches.across * _patch_bytes(region.result, patches)
            made = Value(("patches", value.key), (region.origin,), nbytes, False, scratch)
            is_one_column = patches is None or patches.across == 1
            values += [made, Value(value.key, (made.key,), value.nbytes, is_one_column)]
    return peak(values, memory.outside, in_place=memory.in_place).nbytes


def nbytes_of(var: Expr) -> int:
    """The bytes of a tensor, or of all tensors of a tuple."""
    if isinstance(var.ty, relax.TupleType):
        return sum(nbytes_of(relax.Var("", field)) for field in var.ty.fields)
    return math.prod(shape_of(var) or ()) * _element_bytes(var)


def _element_bytes(var: Expr) -> int:
    return max(1, DataType(dtype_of(var)).bits // _BYTE_BITS)
