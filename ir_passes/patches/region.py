"""Which operators can be computed patch by patch together: one image goes in, one comes out, nothing else is seen."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..core.graph import Expr, Graph, Var, leaves
from ..core.match import calls
from ..dialect.patches import Patches, Span
from .stencils import Image, Stencil, image_of, stencil_of

_TO_CHANNELS_LAST = [0, 2, 3, 1]


@dataclass(frozen=True)
class Region:
    """Operators between two images.

    Attributes:
        source: the image that they read; from outside they read nothing but constants.
        members: what they compute, in order; the last is the only one that is read outside.
        stencils: of each.
        sizes: of the images of the graph.
        origin: the tensor that the source is, or that it is a transposition of, (1, channels, rows, columns), which
            nothing else reads: patches are cut out of this.
    """

    source: Var
    members: tuple[Var, ...]
    stencils: Mapping[Var, Stencil]
    sizes: Mapping[Var, Image]
    origin: Var

    @property
    def size(self) -> Image:
        """Of the result."""
        return self.sizes[self.result]

    @property
    def result(self) -> Var:
        """The image that they make."""
        return self.members[-1]


class Regions:
    """All regions of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.stencils: dict[Var, Stencil] = {}
        self._readers: dict[Var, list[Var]] = {}
        self._transposed: dict[Var, Var] = {}
        self._sizes: dict[Var, Image] = {}
        for var in (*graph.params, *(var for var, _ in graph.bindings)):
            if (size := image_of(var)) is not None:
                self._sizes[var] = size
        for var, value in graph.bindings:
            if calls(value, "permute_dims") and [int(each) for each in value.attrs.axes or ()] == _TO_CHANNELS_LAST:
                self._transposed[var] = value.args[0]
            found = stencil_of(value)
            if found is not None:
                self.stencils[var] = found
            for leaf in dict.fromkeys(leaves(value)):
                self._readers.setdefault(leaf, []).append(var)
        self._outputs: set[Expr] = {leaf for output in graph.outputs for leaf in leaves(output)}

    def between(self, images: Collection[Expr]) -> Iterator[Region]:
        """From each image on everything that needs nothing else, and the cuts of that which are such images."""
        for source in self._sizes:
            if source not in images:
                continue
            reached = {source}
            inside: list[Var] = []
            for var, stencil in self.stencils.items():
                if reached.issuperset(stencil.images):
                    reached.add(var)
                    inside.append(var)
            for count, var in enumerate(inside, 1):
                members = self._needed(inside[:count], var) if var in images else ()
                if members and self._is_closed(members):
                    stencils = {each: self.stencils[each] for each in members}
                    yield Region(source, members, stencils, self._sizes, self._origin(source, members))

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
        return all(ours.issuperset(self._readers.get(var, ())) and var not in self._outputs for var in members[:-1])


def spans(region: Region, result: Patches, patched: tuple[bool, bool]) -> dict[Var, Patches] | None:
    """Where the patches of each member lie, and what of the source they need; None if strides do not agree.

    Args:
        result: where those of the result lie.
        patched: along which axes there are several.
    """
    found: dict[Var, Patches] = {region.result: result}
    for var in reversed(region.members):
        for image in region.stencils[var].images:
            needed = read_by(region.stencils[var], found[var], patched, region.sizes[image])
            known = found.get(image)
            if known is not None:
                both = [_union(one, other) for one, other in zip(known.spans, needed.spans, strict=True)]
                if both[0] is None or both[1] is None:
                    return None
                needed = Patches(both[0], both[1], result.across)
            found[image] = needed
    return found


def read_by(stencil: Stencil, places: Patches, patched: tuple[bool, bool], image: Image) -> Patches:
    """What of an image an operator reads for patches of its result."""
    extents = image.rows, image.columns
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
