"""Which region of a graph to compute in which patches, so that it takes the memory it may with the least work twice."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from tvm import relax

from ..core.graph import Expr, Graph, Var, leaves
from ..core.match import calls
from ..core.rewriter import shape_of
from ..dialect.patches import Patches, Span
from ..operators.elementwise import ELEMENTWISE
from .estimate import Value, alive_bytes, stored_in_stead
from .region import Region, Regions, spans
from .stencils import Image, Stencil, element_bytes, image_of, stencil_of

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
        nbytes: what is alive while they are computed.
        work: operations that are done more often than once.
    """

    region: Region
    places: Mapping[Var, Patches]
    down: int
    across: int
    nbytes: int
    work: int

    @property
    def count(self) -> int:
        """How many patches there are."""
        return self.down * self.across

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
        saves: whether results may take the place of operands, and padding is stored by lines (`Target.saves_memory`).
    """

    values: Sequence[Value]
    outside: Collection[Hashable]
    saves: bool

    @property
    def alive(self) -> dict[Hashable, int]:
        """The bytes alive while each tensor is made."""
        return alive_bytes(self.values, self.outside, in_place=self.saves)


def memory_of(graph: Graph, saves: bool) -> Memory:
    """What of a graph is stored; `saves` as `Memory` has it."""
    values = [
        Value(
            var,
            tuple(leaves(value)),
            nbytes_of(var),
            str(getattr(getattr(value, "op", None), "name", "")) in ELEMENTWISE
            or calls(value, *_ALIASES)
            or isinstance(value, relax.TupleGetItem),
            _padded_bytes(stencil, image_of(stencil.images[0]) if stencil else None, saves),
        )
        for var, value in graph.bindings
        for stencil in [stencil_of(value)]
    ]
    outside = {*graph.params, *(leaf for output in graph.outputs for leaf in leaves(output))}
    return Memory(values, outside, saves)


@dataclass(frozen=True)
class _Way:
    """The graph up to some place: bytes beyond the limit, work, and the plans on the way there."""

    excess: int
    work: int
    plans: tuple[Plan, ...]


def best_plans(graph: Graph, memory: Memory, limit: int) -> tuple[Plan, ...]:
    """Plans for parts of a graph, one after the other: those of the least work that keep the limit, or come nearest.

    A shortest path from the first tensor to the last: a step is one tensor as it is, or a region in patches.
    """
    alive = list(memory.alive.values())
    if max(alive, default=0) <= limit:
        return ()
    steps: dict[int, list[tuple[int, Plan]]] = {}
    for first, last, region in _regions(graph, memory, alive, limit):
        plan = _plan(memory, region, limit - int(limit * _SCRATCH))
        if plan is not None:
            steps.setdefault(first, []).append((last, plan))
    ways: list[_Way | None] = [_Way(0, 0, ()), *[None] * len(alive)]
    for place, nbytes in enumerate(alive):
        way = ways[place]
        assert way is not None
        _offer(ways, place + 1, _Way(max(way.excess, nbytes - limit), way.work, way.plans))
        for last, plan in steps.get(place, ()):
            after = _Way(max(way.excess, plan.nbytes - limit), way.work + plan.work, (*way.plans, plan))
            _offer(ways, last + 1, after)
    whole = ways[-1]
    assert whole is not None
    return whole.plans


def _offer(ways: list[_Way | None], place: int, way: _Way) -> None:
    known = ways[place]
    if known is None or (way.excess, way.work, len(way.plans)) < (known.excess, known.work, len(known.plans)):
        ways[place] = way


def _regions(graph: Graph, memory: Memory, alive: Sequence[int], limit: int) -> Iterator[tuple[int, int, Region]]:
    """Regions around tensors that take more than the limit, with the places where they begin and end."""
    place = {value.key: number for number, value in enumerate(memory.values)}
    stored = stored_in_stead(memory.values, memory.outside)
    high = [number for number, nbytes in enumerate(alive) if nbytes > limit]
    ends = {*graph.params, *(key for key, kept in stored.items() if key == kept)}
    for region in Regions(graph).between(ends):
        places = [place[each] for each in region.members]
        if not region.origin.same_as(region.source):
            places.insert(0, place[region.source])
        first, last = places[0], places[-1]
        is_run = places == list(range(first, last + 1))
        if is_run and any(first <= each <= last for each in high):
            yield first, last, region


def _plan(memory: Memory, region: Region, room: int) -> Plan | None:
    """The patches of a region that keep the limit with the least work, or the smallest; None if none can help."""
    extents = region.size.rows, region.size.columns
    beside = _beside(memory, region)
    known = {value.key: value for value in memory.values}

    @cache
    def made(down: int, across: int) -> Plan | None:
        return _patched(memory, region, known, beside, extents, down, across)

    finest = made(*(_cuts(extent)[-1] for extent in extents))
    if finest is None or finest.nbytes > room:
        return finest
    best = finest
    for down in _cuts(extents[0]):
        options = [across for across in _cuts(extents[1]) if across * down > 1]
        fewest = bisect_left(options, True, key=lambda across: _fits(made(down, across), room))
        plan = made(down, options[fewest]) if fewest < len(options) else None
        if plan is not None and _fits(plan, room) and (plan.work, plan.count) < (best.work, best.count):
            best = plan
        if fewest == 0 and plan is not None and plan.across == 1:
            break  # with more patches the same is only computed more often
    return best


def _fits(plan: Plan | None, room: int) -> bool:
    return plan is not None and plan.nbytes <= room


def _patched(
    memory: Memory,
    region: Region,
    known: Mapping[Hashable, Value],
    beside: int,
    extents: tuple[int, int],
    down: int,
    across: int,
) -> Plan | None:
    """A region in so many patches; None if its strides do not allow it."""
    rows, columns = (
        Span(-(-extent // count), 0, -(-extent // count), extent) if count > 1 else Span(0, 0, extent, extent)
        for extent, count in zip(extents, (down, across), strict=True)
    )
    patched = down > 1, across > 1
    result = Patches(rows, columns, across)
    places = spans(region, result, patched)
    if places is None:
        return None
    body = _body_bytes(region, places, known, patched, memory.saves)
    # All patches are stored one after another, and put together where there are several side by side.
    stored = down * across * _area(result) * region.size.pixel_bytes
    nbytes = beside + stored + max(body, region.size.pixels * region.size.pixel_bytes if across > 1 else 0)
    work = down * across * sum(_area(places[each]) * _work(region, each) for each in region.members)
    once = sum(region.sizes[each].pixels * _work(region, each) for each in region.members)
    return Plan(region, places, down, across, nbytes, work - once)


@cache
def _cuts(extent: int) -> tuple[int, ...]:
    """How many patches there may be along an axis: each number for another length."""
    sizes = dict.fromkeys(-(-extent // count) for count in range(1, min(extent, _MOST_PLACES) + 1))
    return tuple(-(-extent // size) for size in sizes)


def _area(places: Patches) -> int:
    return places.rows.size * places.columns.size


def _work(region: Region, var: Var) -> int:
    """Operations of a pixel."""
    return region.sizes[var].channels * region.stencils[var].work


def _body_bytes(
    region: Region,
    places: Mapping[Var, Patches],
    known: Mapping[Hashable, Value],
    patched: tuple[bool, bool],
    saves: bool,
) -> int:
    """What one patch takes: its images, and the copy of what it reads of the source."""
    source = Value(region.source, (), _area(places[region.source]) * region.sizes[region.source].pixel_bytes, False)
    inside = [
        Value(
            var,
            known[var].reads,
            _area(places[var]) * region.sizes[var].pixel_bytes,
            stencil.is_pointwise,
            _padded_bytes(stencil, _patch_of(region, stencil.images[0], places), saves, patched),
        )
        for var, stencil in region.stencils.items()
    ]
    return max(alive_bytes([source, *inside], (), in_place=False).values())


def _padded_bytes(
    stencil: Stencil | None,
    image: Image | None,
    saves: bool,
    patched: tuple[bool, bool] = (False, False),
) -> int:
    """What a kernel takes to store padding around its image, or around the lines that it reads at a time."""
    if stencil is None or image is None or not stencil.copies_padding or not any(stencil.padding(patched)):
        return 0
    more_rows, more_columns = stencil.padding(patched)
    rows = stencil.axes[0].reach if saves else image.rows + more_rows
    return rows * (image.columns + more_columns) * image.pixel_bytes


def _patch_of(region: Region, var: Var, places: Mapping[Var, Patches]) -> Image:
    """The sizes of a patch of an image."""
    return replace(region.sizes[var], rows=places[var].rows.size, columns=places[var].columns.size)


def _beside(memory: Memory, region: Region) -> int:
    """Bytes of other tensors that are alive while a region is computed."""
    gone = {*region.members, *([] if region.origin.same_as(region.source) else [region.source])}
    values = [value for value in memory.values if value.key not in gone or value.key == region.result]
    made = next(number for number, value in enumerate(values) if value.key == region.result)
    values[made] = replace(values[made], reads=(region.origin,), scratch=0, is_pointwise=False)
    alive = alive_bytes(values, memory.outside, in_place=memory.saves)[region.result]
    return alive if region.result in memory.outside else alive - values[made].nbytes


def nbytes_of(var: Expr) -> int:
    """The bytes of a tensor, or of all tensors of a tuple."""
    if isinstance(var.ty, relax.TupleType):
        return sum(nbytes_of(relax.Var("", field)) for field in var.ty.fields)
    return math.prod(shape_of(var) or ()) * element_bytes(var)
