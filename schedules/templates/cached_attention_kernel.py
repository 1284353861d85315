"""The kernel of attention to a cache, statement by statement; `cached_attention.py` shows the loop nest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import s_tir, tirx
from tvm.s_tir import Schedule

from ...annotations import ANCHOR, FLOPS, OWN_END, WHOLE
from ...hidden_floats import larger
from ...ir_types import Buffer, PrimFunc, Scalar, Stmt
from ...targets.target import Target
from ...tensorir_statements import counted, int64, load, loop, sequence, store, tensor, variables, whole
from .cached_attention import TEMPLATE, CachedAttentionChoice, CachedHeads, blocks_of

_DTYPE = "float32"
_LOW = float("-inf")


def schedule_kernel(sch: Schedule, choice: CachedAttentionChoice, target: Target) -> None:
    """Nothing: the loops are those of the choice already."""


def compute(
    workload: CachedHeads,
    choice: CachedAttentionChoice,
    target: Target,
    masks: Sequence[Sequence[int]],
    scale: float,
    nan_is_zero: bool,
) -> PrimFunc:
    """The PrimFunc of (q, k, v, queries, keys, *masks, result), the masks of these shapes."""
    return _Kernel(workload, choice, masks, scale, nan_is_zero).function()


class _Kernel:
    """The buffers of a kernel, and its statements."""

    def __init__(
        self,
        sizes: CachedHeads,
        choice: CachedAttentionChoice,
        masks: Sequence[Sequence[int]],
        scale: float,
        nan_is_zero: bool,
    ) -> None:
        self.sizes, self.choice, self.scale, self.nan_is_zero = sizes, choice, scale, nan_is_zero
        heads = sizes.heads // sizes.groups

        def cache(first: bool, depth: int, name: str) -> Buffer:
            shape = (heads, sizes.keys) if first else (sizes.keys, heads)
            return tensor((sizes.batch, *shape, depth), _DTYPE, name)

        self.q = tensor((sizes.batch, sizes.queries, sizes.heads, sizes.depth), _DTYPE, "q")
        self.k = cache(sizes.keys_first, sizes.depth, "k")
        self.v = cache(sizes.values_first, sizes.value_depth, "v")
        self.queries = tensor((), "int64", "queries")
        self.keys = tensor((sizes.batch,) if sizes.by_text else (), "int64", "keys")
        self.masks = [tensor(shape, _DTYPE, f"mask_{number}") for number, shape in enumerate(masks)]
        self.result = tensor((sizes.batch, sizes.queries, sizes.heads, sizes.value_depth), _DTYPE, "result")
        rows, lanes = choice.rows, choice.lanes
        self.width = math.ceil(sizes.keys / lanes) * lanes
        self.scores = tensor((rows, self.width), _DTYPE, "scores")
        self.partial = variables(rows * lanes, _DTYPE, "partial")
        self.sums = variables(rows * sizes.value_depth, _DTYPE, "sums")
        self.most, self.total = (variables(rows, _DTYPE, name) for name in ("most", "total"))
        self.counter = variables(1, "int64", "counter")

    def function(self) -> PrimFunc:
        """Everything."""
        reads = [self.q, self.k, self.v, self.queries, self.keys, *self.masks]
        body = s_tir.SBlock(
            [],
            [whole(each) for each in reads],
            [whole(self.result)],
            TEMPLATE,
            loop(blocks_of(self.sizes, self.choice), self.task, parallel=self.choice.threads > 1),
            annotations={**ANCHOR.entry(TEMPLATE), **FLOPS.entry(self.flops())},
        )
        root = s_tir.SBlock([], [], [], "root", s_tir.SBlockRealize([], True, body))
        attributes = {"tirx.noalias": True, "s_tir": True, **WHOLE.entry(), **OWN_END.entry()}
        return tirx.PrimFunc([*reads, self.result], s_tir.SBlockRealize([], True, root)).with_attr(attributes)

    def flops(self) -> int:
        """Of all products, for the most keys."""
        sizes = self.sizes
        return 2 * sizes.batch * sizes.heads * sizes.queries * sizes.keys * (sizes.depth + sizes.value_depth)

    def task(self, index: Scalar) -> list[Stmt]:
        """A block of rows of a head, if it is there."""
        blocks = self.sizes.queries // self.choice.rows
        block, head = index % blocks, index // blocks
        place = head // self.sizes.heads, head % self.sizes.heads, block * self.choice.rows
        statements = sequence([*self.scored(*place), *self.powers(place[0]), *self.summed(*place)])
        own = [self.scores, self.partial, self.sums, self.most, self.total, self.counter]
        inner = s_tir.SBlockRealize([], True, s_tir.SBlock([], [], [], "block", statements, alloc_buffers=own))
        return [tirx.IfThenElse(place[2] < load(self.queries), inner, None) if blocks > 1 else inner]

    def scored(self, image: Scalar, head: Scalar, first: Scalar) -> list[Stmt]:
        """The scores of all keys, the largest of each row, and -inf behind them."""
        rows, lanes, depth = self.choice.rows, self.choice.lanes, self.sizes.depth

        def key(index: Scalar) -> list[Stmt]:
            statements: list[Stmt] = []
            for start in range(0, depth, lanes):
                for row in range(rows):

                    def term(lane: Scalar, row: int = row, start: int = start) -> list[Stmt]:
                        product = load(self.q, image, first + row, head, start + lane) * self.cached(
                            self.k, self.sizes.keys_first, image, head, index, start + lane
                        )
                        place = row * lanes + lane
                        value = product if start == 0 else load(self.partial, place) + product
                        return [store(self.partial, value, place)]

                    statements.append(self.vector(lanes, term))
            for row in range(rows):
                statements += self.added(self.partial, row * lanes)
                score = load(self.partial, row * lanes)
                score = score if self.scale == 1 else score * tirx.const(self.scale, _DTYPE)
                for mask in self.masks:
                    score = score + self.masked(mask, image, head, first + row, index)
                statements.append(store(self.scores, score, row, index))
                statements.append(store(self.most, larger(load(self.most, row), load(self.scores, row, index)), row))
            return statements

        def clear(index: Scalar) -> list[Stmt]:
            def low(row: int) -> Stmt:
                return self.vector(
                    lanes, lambda lane: [store(self.scores, tirx.const(_LOW, _DTYPE), row, index * lanes + lane)]
                )

            return [low(row) for row in range(rows)]

        begin = [store(self.most, tirx.const(_LOW, _DTYPE), row) for row in range(rows)]
        # All of it, so that TVM sees how large it is: a position that is counted tells it nothing.
        every = loop(self.width // lanes, clear)
        return [*begin, every, counted(self.counter, 0, self.key_count(image), key)]

    def powers(self, image: Scalar) -> list[Stmt]:
        """The powers of the scores less the largest, and their sums."""
        rows, lanes = self.choice.rows, self.choice.lanes
        vectors = (self.key_count(image) + (lanes - 1)) // lanes
        statements: list[Stmt] = []
        for row in range(rows):

            def clear(lane: Scalar, row: int = row) -> list[Stmt]:
                return [store(self.partial, tirx.const(0, _DTYPE), row * lanes + lane)]

            def power(index: Scalar, row: int = row) -> list[Stmt]:
                def raised(lane: Scalar) -> list[Stmt]:
                    place = index * lanes + lane
                    return [
                        store(self.scores, tirx.exp(load(self.scores, row, place) - load(self.most, row)), row, place)
                    ]

                def total(lane: Scalar) -> list[Stmt]:
                    value = load(self.partial, row * lanes + lane) + load(self.scores, row, index * lanes + lane)
                    return [store(self.partial, value, row * lanes + lane)]

                return [self.vector(lanes, raised), self.vector(lanes, total)]

            statements += [self.vector(lanes, clear), counted(self.counter, 0, vectors, power)]
            statements += self.added(self.partial, row * lanes)
            statements.append(store(self.total, load(self.partial, row * lanes), row))
        return statements

    def summed(self, image: Scalar, head: Scalar, first: Scalar) -> list[Stmt]:
        """The sums of values, and the result."""
        rows, lanes, depth = self.choice.rows, self.choice.lanes, self.sizes.value_depth

        def each(make: Callable[[int, Scalar], Stmt]) -> list[Stmt]:
            def one(row: int, start: int) -> Stmt:
                return self.vector(lanes, lambda lane: [make(row, start + lane)])

            return [one(row, start) for start in range(0, depth, lanes) for row in range(rows)]

        def clear(row: int, place: Scalar) -> Stmt:
            return store(self.sums, tirx.const(0, _DTYPE), row * depth + place)

        def key(index: Scalar) -> list[Stmt]:
            def add(row: int, place: Scalar) -> Stmt:
                value = self.cached(self.v, self.sizes.values_first, image, head, index, place)
                at = row * depth + place
                return store(self.sums, load(self.sums, at) + load(self.scores, row, index) * value, at)

            return each(add)

        def finish(row: int, place: Scalar) -> Stmt:
            value = load(self.sums, row * depth + place) / load(self.total, row)
            if self.nan_is_zero:
                zero = tirx.const(0, _DTYPE)
                value = tirx.Select(load(self.total, row) > zero, value, zero)
            return store(self.result, value, image, first + row, head, place)

        return [*each(clear), counted(self.counter, 0, self.key_count(image), key), *each(finish)]

    def key_count(self, image: Scalar) -> Scalar:
        """How many keys a text has."""
        return load(self.keys, image) if self.sizes.by_text else load(self.keys)

    def cached(self, buffer: Buffer, first: bool, image: Scalar, head: Scalar, key: Scalar, place: Scalar) -> Scalar:
        """An element of a key or a value."""
        own = head // self.sizes.groups
        return load(buffer, image, own, key, place) if first else load(buffer, image, key, own, place)

    def masked(self, mask: Buffer, image: Scalar, head: Scalar, row: Scalar, key: Scalar) -> Scalar:
        """What a mask adds to a score."""
        extents = [int(extent) for extent in mask.shape]
        place = (image % extents[0], head, row, key)
        return load(mask, *(at if extent > 1 else int64(0) for at, extent in zip(place, extents, strict=True)))

    def added(self, buffer: Buffer, first: int) -> list[Stmt]:
        """The sum of the lanes of a vector, in its first one: halves are added until one is left."""
        statements, lanes = [], self.choice.lanes
        while lanes > 1:
            lanes //= 2

            def half(lane: Scalar, lanes: int = lanes) -> list[Stmt]:
                value = load(buffer, first + lane) + load(buffer, first + lanes + lane)
                return [store(buffer, value, first + lane)]

            statements.append(self.vector(lanes, half))
        return statements

    @staticmethod
    def vector(lanes: int, body: Callable[[Scalar], list[Stmt]]) -> Stmt:
        """Statements for every lane."""
        return loop(lanes, body, vectorized=True) if lanes > 1 else sequence(body(int64(0)))
