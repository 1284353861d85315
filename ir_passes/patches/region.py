"""Which operators can be computed patch by patch together: one image goes in, one comes out, nothing else is seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.graph import Expr, Graph, Var, leaves
from ..core.match import calls
from ..dialect.patches import Patches, Span
from .stencils import Stencil, is_image, stencil_of

_TO_CHANNELS_LAST = [0, 2, 3, 1]


@dataclass(frozen=True)
class Region:
    """Operators between two images.

    Attributes:
        source: the image that they read; from outside they read nothing but constants.
        members: what they compute, in order; the last is the only one that is read outside.
        stencils: of each.
        origin: the tensor that the source is, or that it is a transposition of, (1, channels, rows, columns), which
            nothing else reads: patches are cut out of this.
    """

    source: Var
    members: tuple[Var, ...]
    stencils: Mapping[Var, Stencil]
    origin: Var

    @property
    def result(self) -> Var:
        """The image that they make."""
        return self.members[-1]


class Regions:
    """All regions of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.stencils: dict[Var, Stencil] = {}
        self._order: dict[Var, int] = {}
        self._readers: dict[Var, list[Var]] = {}
        self._transposed: dict[Var, Var] = {}
        self._images = [each for each in graph.params if is_image(each)]
        for position, (var, value) in enumerate(graph.bindings):
            self._order[var] = position
            if is_image(var):
                self._images.append(var)
            if calls(value, "permute_dims") and [int(each) for each in value.attrs.axes or ()] == _TO_CHANNELS_LAST:
                self._transposed[var] = value.args[0]
            found = stencil_of(value)
            if found is not None:
                self.stencils[var] = found
            for leaf in dict.fromkeys(leaves(value)):
                self._readers.setdefault(leaf, []).append(var)
        self._outputs: set[Expr] = {leaf for output in graph.outputs for leaf in leaves(output)}

    def around(self, peak: Var) -> Iterator[Region]:
        """Those that compute a value."""
        for source in self._images:
            if self._order.get(source, -1) < self._order[peak]:
                yield from self._from(source, peak)

    def _from(self, source: Var, peak: Var) -> Iterator[Region]:
        """Regions that begin with an image: everything that needs nothing else, and a cut through it."""
        reached = {source}
        inside: list[Var] = []
        for var in self._order:
            stencil = self.stencils.get(var)
            if stencil is None or not reached.issuperset(stencil.images):
                continue
            reached.add(var)
            inside.append(var)
        if peak not in reached:
            return
        for count, var in enumerate(inside, 1):
            if self._order[var] >= self._order[peak]:
                members = self._needed(inside[:count], var)
                if peak in members and self._is_closed(members):
                    stencils = {each: self.stencils[each] for each in members}
                    yield Region(source, members, stencils, self._origin(source, members))

    def _origin(self, source: Var, members: Sequence[Var]) -> Var:
        """What a source is a transposition of, if its only readers are these."""
        found = self._transposed.get(source, source)
        return found if set(members).issuperset(self._readers[source]) and source not in self._outputs else source

    def _needed(self, inside: Sequence[Var], result: Var) -> tuple[Var, ...]:
        """What a result is made of."""
        needed = {result}
        for var in reversed(inside):
            if var in needed:
                needed.update(self.stencils[var].images)
        return tuple(var for var in inside if var in needed)

    def _is_closed(self, members: Sequence[Var]) -> bool:
        """Whether nothing but the last member is read by others."""
        ours = set(members)
        return all(
            ours.issuperset(self._readers.get(var, ())) and var not in self._outputs for var in members[:-1]
        )


def spans(region: Region, result: Patches, patched: tuple[bool, bool]) -> dict[Var, Patches] | None:
    """Where the patches of each member lie, and what of the source they need; None if strides do not agree.

    Args:
        result: where those of the result lie.
        patched: along which axes there are several.
    """
    found: dict[Var, Patches] = {region.result: result}
    for var in reversed(region.members):
        for image in region.stencils[var].images:
            needed = read_by(region.stencils[var], found[var], patched, image)
            known = found.get(image)
            if known is not None:
                both = [_union(one, other) for one, other in zip(known.spans, needed.spans, strict=True)]
                if both[0] is None or both[1] is None:
                    return None
                needed = Patches(both[0], both[1], result.across)
            found[image] = needed
    return found


def read_by(stencil: Stencil, places: Patches, patched: tuple[bool, bool], image: Var) -> Patches:
    """What of an image an operator reads for patches of its result."""
    extents = [int(each) for each in list(image.ty.shape)[1:3]]
    rows, columns = (
        Span(
            span.step * axis.stride,
            span.first * axis.stride - axis.before,
            (span.size - 1) * axis.stride + axis.reach,
            extent,
        )
        if cut
        else Span(0, 0, extent, extent)
        for span, axis, cut, extent in zip(places.spans, stencil.axes, patched, extents, strict=True)
    )
    return Patches(rows, columns, places.across)


def _union(one: Span, other: Span) -> Span | None:
    if one.step != other.step:
        return None
    first = min(one.first, other.first)
    return Span(one.step, first, max(one.first + one.size, other.first + other.size) - first, one.extent)
