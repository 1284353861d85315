"""Copies of a block as tiles of tensors, which an engine moves: one thread asks, and zeros come for what is not there.

A copy that lays lines of 128 bytes side by side, as they are in memory, is a tile of a tensor of two axes: its elements
side by side, and lines at one distance; or of three, where grids of a batch read one each. The index of an element in
memory and the condition under which it is there say which tensor that is; what they are is compared with what a tile of
it would be, for every line and element. Lines behind the last one belong to no result, so they may be anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import StringImm, TensorLoad

from ...annotations import LINES
from ...ir_types import Analyzer, Buffer, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import found, substituted
from ...targets.grid import TILE_COPY, TILE_LINE_BYTES
from .shared_copies import Copy, Layout, called, taken_apart
from .tried_values import are_equal

_MOST_LINES = 256  # of a tile
_ALIGNED = 16  # bytes that lines are apart from each other are a multiple of
_BLOCK = "blockIdx."


@dataclass(frozen=True)
class TensorView:
    """A tensor in the memory of a GPU, and the tiles that are copied of it; the innermost axis comes first.

    Attributes:
        dtype: of its elements.
        extents: elements, an axis.
        strides: bytes from one to the next along all axes but the first.
        box: elements of a tile, an axis.
    """

    dtype: str
    extents: tuple[int, ...]
    strides: tuple[int, ...]
    box: tuple[int, ...]

    def __str__(self) -> str:
        parts = (self.extents, self.strides, self.box)
        return "/".join([self.dtype, *(",".join(map(str, each)) for each in parts)])

    @classmethod
    def parse(cls, text: str) -> TensorView:
        """The view that `str` made a text of."""
        dtype, *parts = text.split("/")
        extents, strides, box = (tuple(map(int, each.split(","))) for each in parts)
        return cls(dtype, extents, strides, box)


@dataclass(frozen=True)
class Tiles:
    """A copy of a slab as tiles below each other.

    Attributes:
        source: the tensor.
        view: what it is, and a tile of it.
        place: where the first tile begins, innermost axis first.
        count: of tiles.
        to: the buffer that it is copied to.
    """

    source: Buffer
    view: TensorView
    place: tuple[Scalar, ...]
    count: int
    to: Buffer

    @property
    def bytes(self) -> int:
        """That come, zeros included."""
        return self.count * self.view.box[1] * TILE_LINE_BYTES

    def statements(self, arrived: Scalar, names: Mapping[str, str]) -> list[Stmt]:
        """The calls that ask for it; `arrived` is the address of the barrier that counts bytes."""
        elements, lines, *_ = self.view.box
        x, y, *rest = self.place
        start = tirx.address_of(tirx.BufferLoad(self.source, [tirx.IntImm("int32", 0)]))
        return [
            called(
                names[f"{TILE_COPY}{len(self.place)}"],
                tirx.address_of(tirx.BufferLoad(self.to, [tirx.IntImm("int32", number * lines * elements)])),
                StringImm(str(self.view)),
                start,
                arrived,
                *(each.astype("int32") for each in (x, y + number * lines, *rest)),
            )
            for number in range(self.count)
        ]


def tiles_of(
    copy: Copy, slab: Var, places: Mapping[str, Var], names: Mapping[str, str], analyzer: Analyzer
) -> Tiles | None:
    """The tiles that a copy is; None: it is none, or the machine has no engine for them.

    Args:
        slab: the variable of the loop over slabs.
        places: variables of the grid, by their names.
        names: of the target's functions.
        analyzer: knows the variables.
    """
    conditions, value = taken_apart(copy.store.value)
    (to,) = copy.store.indices
    pitch = copy.layout.pitch
    if f"{TILE_COPY}2" not in names or copy.conditions or not isinstance(value, TensorLoad):
        return None
    buffer = copy.store.buffer
    if str(value.source.dtype) != str(buffer.dtype) or value.source.scope() != "global":
        return None
    if copy.layout != Layout(pitch, 1, 1, 1, copy.layout.bits) or pitch * copy.layout.bits != TILE_LINE_BYTES * 8:
        return None
    (index,) = value.indices
    given = _Given(copy, slab, places, index, to, analyzer)
    lines = int(buffer.shape[0]) // pitch
    count = -(-lines // _MOST_LINES)
    if lines % count:
        return None
    tensor = given.packed(conditions) or given.rows(conditions)
    if tensor is None:
        return None
    extents, strides, place = tensor
    size = copy.layout.bits // 8
    strides_in_bytes = tuple(each * size for each in strides)
    if any(each % _ALIGNED for each in strides_in_bytes):
        return None
    box = (pitch, lines // count, *(1 for _ in extents[2:]))
    return Tiles(value.source, TensorView(str(buffer.dtype), extents, strides_in_bytes, box), place, count, buffer)


_Found = tuple[tuple[int, ...], tuple[int, ...], tuple[Scalar, ...]]  # extents, strides in elements, the place


@dataclass(frozen=True)
class _Given:
    """A copy, and where its elements come from and go to."""

    copy: Copy
    slab: Var
    places: Mapping[str, Var]
    index: Scalar
    to: Scalar
    analyzer: Analyzer

    def packed(self, conditions: Sequence[Scalar]) -> _Found | None:
        """As lines one after the other, in the order in which they are copied."""
        pitch = self.copy.layout.pitch
        first = self._at(dict.fromkeys(found(self.to, tirx.Var), 0))
        whole = int(self._source.shape[0])
        if conditions or whole % pitch or not self._is_multiple(first, pitch):
            return None
        if not are_equal(self.index, first + self.to, self.analyzer):
            return None
        line = self.analyzer.simplify(tirx.floordiv(first, pitch))
        return (pitch, whole // pitch), (pitch,), (tirx.IntImm("int32", 0), line)

    def rows(self, conditions: Sequence[Scalar]) -> _Found | None:
        """As rows of A, of which it has so many, each of so many elements."""
        known = LINES.of(self.copy.nest[-1])
        if known is None:
            return None
        rows, depth = known
        pitch, tile = self.copy.layout.pitch, int(self.copy.store.buffer.shape[0]) // self.copy.layout.pitch
        row, batch = self._block("x") * tile, self._block("z")
        last = row + self.to // pitch
        k = self.slab * pitch + self.to % pitch
        apart, of_batch = self._distance(row=1), self._distance(batch=1)
        if rows == 1:
            apart = depth
        if apart is None or of_batch is None or apart < depth:
            return None
        whole = last if rows % tile == 0 else tirx.min(last, rows - 1)
        expected = whole * apart + k
        if of_batch:
            expected = batch * of_batch + expected
        if not are_equal(self.index, expected, self.analyzer):
            return None
        if not self._ends(conditions, depth):
            return None
        start = self.slab * pitch
        if of_batch == 0:
            return (depth, rows), (apart,), (start, row)
        if of_batch < apart:  # slices of rows: behind each comes the next one, which is not zero
            whole_rows = depth % pitch == 0
            return ((apart, rows), (apart,), (batch * of_batch + start, row)) if whole_rows else None
        batches = self._extent("z")
        return (depth, rows, batches), (apart, of_batch), (start, row, batch)

    @property
    def _source(self) -> Buffer:
        return taken_apart(self.copy.store.value)[1].source

    def _block(self, axis: str) -> Scalar:
        return self.places.get(f"{_BLOCK}{axis}", tirx.IntImm("int32", 0))

    def _extent(self, axis: str) -> int:
        variable = self.places.get(f"{_BLOCK}{axis}")
        return 1 if variable is None else int(self.analyzer.const_int_bound(variable).max_value) + 1

    def _at(self, values: Mapping[Var, int]) -> Scalar:
        chosen = {each: tirx.IntImm(str(each.ty.dtype), value) for each, value in values.items()}
        return self.analyzer.simplify(substituted(self.index, chosen))

    def _distance(self, row: int = 0, batch: int = 0) -> int | None:
        """Elements from the first place to the next row of the first tile, or to the same of the next batch.

        0 where there is no other; None where it cannot be told.
        """
        origin = dict.fromkeys(found(self.index, tirx.Var), 0)
        if batch:
            variable = self.places.get(f"{_BLOCK}z")
            next_one = {variable: 1} if variable is not None and self._extent("z") > 1 else {}
        else:
            next_one = self._place_of_line(row)
        moved = {**origin, **{variable: value for variable, value in next_one.items() if variable in origin}}
        first, second = self._at(origin), self._at(moved)
        if not isinstance(first, tirx.IntImm) or not isinstance(second, tirx.IntImm):
            return None
        return int(second) - int(first)

    def _place_of_line(self, line: int) -> dict[Var, int]:
        """Values of the variables of the nest for the first element of a line; those of threads are among them."""
        pitch = self.copy.layout.pitch
        variables = list(found(self.to, tirx.Var))
        for variable in dict.fromkeys(variables):
            bound = self.analyzer.const_int_bound(variable)
            for value in range(int(bound.max_value) + 1):
                chosen = {
                    each: tirx.IntImm(str(each.ty.dtype), value if each.same_as(variable) else 0) for each in variables
                }
                reached = self.analyzer.simplify(substituted(self.to, chosen))
                if isinstance(reached, tirx.IntImm) and int(reached) == line * pitch:
                    return {variable: value}
        return {}

    def _is_multiple(self, index: Scalar, of: int) -> bool:
        known = self.analyzer.modular_set(index)
        return int(known.coeff) % of == 0 and int(known.base) % of == 0

    def _ends(self, conditions: Sequence[Scalar], depth: int) -> bool:
        """Whether elements are there just where k has not ended."""
        pitch, run = self.copy.layout.pitch, self.copy.run
        if not conditions:
            return depth % pitch == 0
        if len(conditions) != 1 or not isinstance(conditions[0], tirx.LT) or depth % run:
            return False
        condition = conditions[0]
        number = (self.slab * pitch + self.to % pitch) // run
        return are_equal(condition.a - condition.b, number - depth // run, self.analyzer)
