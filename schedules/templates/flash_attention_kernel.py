"""The kernel of attention by tiles of keys: its grid, its memory, its copies; `flash_attention.py` shows the loops."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm import s_tir, tirx
from tvm.s_tir import Schedule

from ...annotations import AHEAD, ANCHOR, COPY, FLOPS, ROLLED, WHOLE
from ...ir_types import Buffer, PrimFunc, Scalar, Stmt
from ...targets.target import Target
from ...tensorir_statements import int64, load, loop, places, sequence, store, tensor, variables, whole
from ..tensorir.expressions import converted
from ..tensorir.padding import within
from .attention import Heads
from .flash_attention import TEMPLATE, FlashChoice, extents_of, run_of, unit_of
from .flash_attention_thread import Place, Shared, Thread
from .grid import BLOCK, THREAD
from .tensor_cores import LANES, OWN

_DTYPE = "float32"


def schedule_kernel(sch: Schedule, choice: FlashChoice, target: Target) -> None:
    """Nothing: the loops are those of the choice already."""


def compute(
    workload: Heads,
    choice: FlashChoice,
    target: Target,
    operands: Sequence[tuple[Sequence[int], str]],
    scale: float,
    nan_is_zero: bool,
) -> PrimFunc:
    """The PrimFunc of (q, k, v, *masks, result), with operands of these shapes and dtypes."""
    return _Kernel(workload, choice, target, operands, scale, nan_is_zero).function()


class _Kernel:
    """The buffers of a kernel, and the statements around those of a thread."""

    def __init__(
        self,
        sizes: Heads,
        choice: FlashChoice,
        target: Target,
        operands: Sequence[tuple[Sequence[int], str]],
        scale: float,
        nan_is_zero: bool,
    ) -> None:
        self._sizes, self._choice, self._scale, self._nan_is_zero = sizes, choice, scale, nan_is_zero
        self._unit = unit_of(choice, target)
        self._extents = extents_of(sizes, self._unit)
        self._warp = target.the_grid.warp
        self._rows, self._keys = choice.tile
        names = ("q", "k", "v", *(f"mask_{number}" for number in range(len(operands) - 3)))
        tensors = [tensor(shape, dtype, name) for (shape, dtype), name in zip(operands, names, strict=True)]
        self._q, self._k, self._v, *self._masks = tensors
        batch, _, self._heads, _ = (int(extent) for extent in self._q.shape)
        self._result = tensor((batch, sizes.queries, self._heads, sizes.value_depth), _DTYPE, "result")
        self._shared = Shared(
            self._room(self._rows, self._extents.depth, "queries"),
            self._room(self._keys, self._extents.depth, "keys"),
            self._room(self._keys, self._extents.columns, "values"),
        )

    def _room(self, rows: int, pitch: int, name: str) -> Buffer:
        return variables(rows * pitch, self._extents.dtype, name, scope="shared")

    @property
    def _blocks(self) -> int:
        """Tiles of queries of a head."""
        return math.ceil(self._sizes.queries / self._rows)

    def function(self) -> PrimFunc:
        """Everything."""
        reads, sizes = [self._q, self._k, self._v, *self._masks], self._sizes
        flops = 2 * sizes.heads * sizes.queries * sizes.keys * (sizes.depth + sizes.value_depth)
        body = s_tir.SBlock(
            [],
            [whole(each) for each in reads],
            [whole(self._result)],
            TEMPLATE,
            places(sizes.heads * self._blocks, f"{BLOCK}x", self._block),
            annotations={**ANCHOR.entry(TEMPLATE), **FLOPS.entry(flops)},
        )
        root = s_tir.SBlock([], [], [], "root", s_tir.SBlockRealize([], True, body))
        attributes = {"tirx.noalias": True, "s_tir": True, **WHOLE.entry()}
        return tirx.PrimFunc([*reads, self._result], s_tir.SBlockRealize([], True, root)).with_attr(attributes)

    def _block(self, block: Scalar) -> list[Stmt]:
        head, first = block // self._blocks, block % self._blocks * self._rows

        def lanes(warp: Scalar) -> list[Stmt]:
            def thread(lane: Scalar) -> list[Stmt]:
                return [self._thread(Place(head // self._heads, head % self._heads, first, warp, lane))]

            return [places(self._warp, f"{THREAD}x", thread)]

        return [places(self._choice.warps, f"{THREAD}y", lanes)] if self._choice.warps > 1 else lanes(int64(0))

    def _thread(self, place: Place) -> Stmt:
        """All that a thread does."""
        own = Thread(
            self._sizes,
            self._choice,
            self._unit,
            self._extents,
            self._shared,
            self._masks,
            place,
            scale=self._scale,
            nan_is_zero=self._nan_is_zero,
        )

        def tile(number: Scalar) -> list[Stmt]:
            key, shared = number * self._keys, self._shared
            return [
                _with_memory(
                    [*self._copies(place, key), *own.tile(key)], [shared.q, shared.k, shared.v, *own.of_a_tile]
                )
            ]

        # Written out several times, a tile would be long, and its numbers would not fit the registers.
        marks = {**AHEAD.entry(self._choice.stages), **ROLLED.entry()}
        tiles = loop(math.ceil(self._sizes.keys / self._keys), tile, marks=marks)
        return _with_memory([*own.begin(), tiles, *own.finish(self._result)], own.kept)

    def _copies(self, place: Place, key: Scalar) -> list[Stmt]:
        """The block's queries, and a tile's keys and values."""
        depth, columns = self._extents.depth, self._extents.columns
        (own_rows, own_keys), shared = self._choice.own, self._shared
        queries, keys = (depth, LANES[0], own_rows, 1), (LANES[1], own_keys, OWN[1])
        return [
            self._copy(place, self._q, shared.q, place.query, self._rows, queries),
            self._copy(place, self._k, shared.k, key, self._keys, (depth, *keys)),
            self._copy(place, self._v, shared.v, key, self._keys, (columns, *keys)),
        ]

    def _copy(
        self, place: Place, source: Buffer, shared: Buffer, first: Scalar, rows: int, layout: tuple[int, ...]
    ) -> Stmt:
        """Copies the rows of so many tokens, with zeros behind their ends and behind the last token.

        Args:
            layout: what `COPY` says of it.
        """
        _, tokens, heads, depth = (int(extent) for extent in source.shape)
        pitch, dtype = layout[0], self._extents.dtype
        run = run_of(depth, dtype)
        runs, threads = pitch // run, self._warp * self._choice.warps
        head = place.head // (self._heads // heads)

        def turn(number: Scalar) -> list[Stmt]:
            at = number * threads + place.warp * self._warp + place.lane
            row, part = at // runs, at % runs

            def element(index: Scalar) -> list[Stmt]:
                value = converted(load(source, place.image, first + row, head, part * run + index), dtype)
                value = within(value, part, depth // run, runs)
                value = within(value, first + row, tokens, math.ceil(tokens / rows) * rows)
                return [store(shared, value, row * pitch + part * run + index)]

            moved = loop(run, element, marks=COPY.entry(list(layout)))
            return [moved if rows * runs % threads == 0 else tirx.IfThenElse(at < rows * runs, moved, None)]

        return loop(math.ceil(rows * runs / threads), turn)


def _with_memory(statements: Sequence[Stmt], buffers: Sequence[Buffer]) -> Stmt:
    """Statements that have memory of their own."""
    block = s_tir.SBlock([], [], [], "block", sequence(statements), alloc_buffers=list(buffers))
    return s_tir.SBlockRealize([], True, block)
