"""What a thread does with the tiles of keys of its block's queries, statement by statement.

Powers are those of two: of scores less the largest, both times log2 e. A thread keeps the largest as that product,
which is rounded once for all that is done with it: sums are scaled by just what was taken from their scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tvm import tirx

from ...annotations import LHS, RHS, ROLE, ROLES, UNIT, operand
from ...ir_types import Buffer, Scalar, Stmt
from ...targets.grid import LARGER_NUMBER, POWER_OF_TWO, VALUE_OF_LANE
from ...targets.target import DotUnit
from ...tensorir_statements import int64, load, loop, sequence, store, variables
from ..tensorir.expressions import converted
from .attention import Heads
from .flash_attention import PANEL, Extents, FlashChoice
from .tensor_cores import LANES, OWN

_DTYPE = "float32"
_LOW = float("-inf")
_LOG2_E = math.log2(math.e)
_APART = tuple(1 << bit for bit in range(LANES[1].bit_length() - 1))  # lanes that share rows, by halves


@dataclass(frozen=True)
class Place:
    """Where a thread is.

    Attributes:
        image, head: of its block.
        query: the block's first.
        warp, lane: in the block, and in the warp.
    """

    image: Scalar
    head: Scalar
    query: Scalar
    warp: Scalar
    lane: Scalar


@dataclass(frozen=True)
class Shared:
    """What a block shares: rows of queries, of a tile of keys, and of their values."""

    q: Buffer
    k: Buffer
    v: Buffer


class Thread:
    """Its numbers, and its statements.

    Args:
        scale, nan_is_zero: as the operator has them.
    """

    def __init__(
        self,
        sizes: Heads,
        choice: FlashChoice,
        unit: DotUnit | None,
        extents: Extents,
        shared: Shared,
        masks: Sequence[Buffer],
        place: Place,
        *,
        scale: float,
        nan_is_zero: bool,
    ) -> None:
        self._sizes, self._choice, self._unit, self._extents = sizes, choice, unit, extents
        self._shared, self._masks, self._place = shared, masks, place
        self._scale, self._nan_is_zero = scale, nan_is_zero
        self._rows, self._keys = choice.own
        self._columns = extents.columns // LANES[1]
        self._below, self._beside = place.lane // LANES[1], place.lane % LANES[1]
        self._row = (place.warp * LANES[0] + self._below) * self._rows  # its first, of the block
        self._scores = variables(self._rows * self._keys, _DTYPE, "scores")
        self._sums = variables(self._rows * self._columns, _DTYPE, "sums")
        self._most, self._total, self._largest, self._below_zero, self._factor = (
            variables(self._rows, _DTYPE, name) for name in ("most", "total", "largest", "below_zero", "factor")
        )

    @property
    def kept(self) -> list[Buffer]:
        """Its numbers of all tiles."""
        return [self._sums, self._most, self._total]

    @property
    def of_a_tile(self) -> list[Buffer]:
        """Its numbers of one tile."""
        return [self._scores, self._largest, self._below_zero, self._factor]

    def begin(self) -> list[Stmt]:
        """Before the first tile."""
        return [_set(self._sums, 0), _set(self._most, _LOW), _set(self._total, 0)]

    def tile(self, key: Scalar) -> list[Stmt]:
        """What is done with a tile from this key on, once it is in shared memory."""
        return [*self._multiplied(), *self._masked(key), *self._powers(), *self._values()]

    def _multiplied(self) -> list[Stmt]:
        """The products of queries and keys."""
        term, depth = self._extents.term, self._extents.depth

        def product(row: Scalar, key: Scalar, inner: Scalar) -> Stmt:
            left = load(self._shared.q, (self._row + row) * depth + inner)
            right = load(self._shared.k, (self._beside * self._keys + key) * depth + inner)
            return self._added(self._scores, row * self._keys + key, left, right)

        def by_unit(number: Scalar) -> list[Stmt]:
            return [
                self._marked(
                    self._choice.panels, (1, term), lambda row, key, group, at: product(row, key, number * term + at)
                )
            ]

        def by_threads(number: Scalar) -> list[Stmt]:
            def each(at: Scalar) -> list[Stmt]:
                return [self._each_of(self._keys, lambda row, key: [product(row, key, number * term + at)])]

            return [loop(term, each, unrolled=True)]

        step = by_threads if self._unit is None else by_unit
        return [_set(self._scores, 0), loop(depth // term, step, unrolled=self._unit is not None)]

    def _values(self) -> list[Stmt]:
        """The products of powers and values, which are added to the sums; powers of other lanes are those of theirs."""
        columns = self._extents.columns

        def product(row: Scalar, column: Scalar, group: Scalar, key: Scalar, power: Scalar) -> Stmt:
            place = column // OWN[1] * PANEL + self._beside * OWN[1] + column % OWN[1]
            value = load(self._shared.v, (group * self._keys + key) * columns + place)
            return self._added(self._sums, row * self._columns + column, power, value)

        def power(row: Scalar, group: Scalar, key: Scalar) -> Scalar:
            return _value_of_lane(load(self._scores, row * self._keys + key), self._below * LANES[1] + group)

        def by_unit(number: Scalar) -> list[Stmt]:
            own = self._extents.term // LANES[1]

            def term(row: Scalar, column: Scalar, group: Scalar, at: Scalar) -> Stmt:
                key = number * own + at
                return product(row, column, group, key, power(row, group, key))

            return [self._marked(columns // PANEL, (LANES[1], own), term)]

        def by_threads(group: Scalar) -> list[Stmt]:
            def each(key: Scalar) -> list[Stmt]:
                return [
                    _each(self._factor, lambda row: store(self._factor, power(row, group, key), row)),
                    self._each_of(
                        self._columns,
                        lambda row, column: [product(row, column, group, key, load(self._factor, row))],
                    ),
                ]

            return [loop(self._keys, each, unrolled=True)]

        if self._unit is None:
            return [loop(LANES[1], by_threads)]
        return [loop(self._choice.tile[1] // self._extents.term, by_unit, unrolled=True)]

    def _added(self, sums: Buffer, at: Scalar, left: Scalar, right: Scalar) -> Stmt:
        factors = [
            operand(role, converted(converted(each, self._extents.dtype), _DTYPE))
            for role, each in ((LHS, left), (RHS, right))
        ]
        return store(sums, load(sums, at) + factors[0] * factors[1], at)

    def _marked(self, panels: int, terms: tuple[int, int], product: Callable[..., Stmt]) -> Stmt:
        """`product(row, column, group, term)` for all of a thread, in the loops of an instruction."""
        assert self._unit is not None
        extents = dict(zip(ROLES, (self._choice.pieces, OWN[0], panels, OWN[1], *terms), strict=True))
        unit = UNIT.entry(self._unit.name)

        def nest(roles: Sequence[str], at: Mapping[str, Scalar]) -> list[Stmt]:
            if not roles:
                row, column = at["register"] * OWN[0] + at["row"], at["vector"] * OWN[1] + at["lane"]
                return [product(row, column, at["group"], at["term"])]
            role, *inner = roles
            marks = {**ROLE.entry(role), **(unit if role == ROLES[0] else {})}
            return [loop(extents[role], lambda index: nest(inner, {**at, role: index}), marks=marks)]

        return sequence(nest(ROLES, {}))

    def _masked(self, key: Scalar) -> list[Stmt]:
        """Scores with scale and masks; -inf behind the last key."""
        scales = self._scales_first and self._scale != 1
        is_whole = self._sizes.keys % self._choice.tile[1] == 0
        if not scales and not self._masks and is_whole:
            return []

        def element(row: Scalar, column: Scalar) -> list[Stmt]:
            at, own_key = row * self._keys + column, key + self._beside * self._keys + column
            value = load(self._scores, at)
            value = value * tirx.const(self._scale, _DTYPE) if scales else value
            for mask in self._masks:
                value = value + self._mask(mask, row, own_key)
            value = value if is_whole else tirx.if_then_else(own_key < self._sizes.keys, value, _number(_LOW))
            return [store(self._scores, value, at)]

        return [self._each_of(self._keys, element)]

    @property
    def _scales_first(self) -> bool:
        """Whether scores are scaled before the largest is found: else that of the products is scaled."""
        return bool(self._masks) or self._scale <= 0

    def _mask(self, mask: Buffer, row: Scalar, key: Scalar) -> Scalar:
        """What a mask adds to a score."""
        query = tirx.min(self._place.query + self._row + row, int64(self._sizes.queries - 1))
        extents = [int(extent) for extent in mask.shape]
        place = (self._place.image % extents[0], self._place.head, query, key)
        return load(mask, *(at if extent > 1 else int64(0) for at, extent in zip(place, extents, strict=True)))

    def _powers(self) -> list[Stmt]:
        """Scores become powers; sums and totals are scaled for the largest score so far."""
        factor = _number(_LOG2_E * (1.0 if self._scales_first else self._scale))

        def row_of(row: Scalar) -> list[Stmt]:
            first = row * self._keys

            def larger(other: Scalar) -> Stmt:
                call = tirx.call_pure_extern(_DTYPE, LARGER_NUMBER, load(self._largest, row), other)
                return store(self._largest, call, row)

            def power(key: Scalar) -> list[Stmt]:
                at = first + key
                return [
                    store(self._scores, load(self._scores, at) * factor + load(self._below_zero, row), at),
                    store(self._scores, _power_of_two(load(self._scores, at)), at),
                    store(self._total, load(self._total, row) + load(self._scores, at), row),
                ]

            nothing = tirx.EQ(load(self._largest, row), _number(_LOW))
            return [
                store(self._largest, load(self._scores, first), row),
                loop(self._keys - 1, lambda key: [larger(load(self._scores, first + 1 + key))], unrolled=True),
                *(larger(self._of_other(self._largest, row, apart)) for apart in _APART),
                store(self._largest, load(self._largest, row) * factor, row),
                larger(load(self._most, row)),
                # Of a row that is masked so far nothing is taken away: -inf less -inf is no number.
                store(
                    self._below_zero,
                    tirx.Select(nothing, _number(0), _number(0) - load(self._largest, row)),
                    row,
                ),
                store(self._factor, load(self._most, row) + load(self._below_zero, row), row),
                store(self._factor, _power_of_two(load(self._factor, row)), row),
                store(self._most, load(self._largest, row), row),
                store(self._total, load(self._total, row) * load(self._factor, row), row),
                loop(self._keys, power, unrolled=True),
            ]

        def scaled(row: Scalar, column: Scalar) -> list[Stmt]:
            at = row * self._columns + column
            return [store(self._sums, load(self._sums, at) * load(self._factor, row), at)]

        return [loop(self._rows, row_of, unrolled=True), self._each_of(self._columns, scaled)]

    def finish(self, result: Buffer) -> list[Stmt]:
        """The results of a thread, where there are such queries and columns."""
        sizes = self._sizes

        def row_of(row: Scalar) -> list[Stmt]:
            query, total = self._place.query + self._row + row, load(self._total, row)

            def element(column: Scalar) -> list[Stmt]:
                value = load(self._sums, row * self._columns + column) / total
                if self._nan_is_zero:
                    value = tirx.Select(total > _number(0), value, _number(0))
                place = column // OWN[1] * PANEL + self._beside * OWN[1] + column % OWN[1]
                stored = store(result, value, self._place.image, query, self._place.head, place)
                is_there = place < sizes.value_depth
                return [stored if sizes.value_depth % PANEL == 0 else tirx.IfThenElse(is_there, stored, None)]

            added = [store(self._total, total + self._of_other(self._total, row, apart), row) for apart in _APART]
            stores = loop(self._columns, element, unrolled=True)
            return [
                *added,
                stores
                if sizes.queries % self._choice.tile[0] == 0
                else tirx.IfThenElse(query < sizes.queries, stores, None),
            ]

        return [loop(self._rows, row_of, unrolled=True)]

    def _of_other(self, buffer: Buffer, row: Scalar, apart: int) -> Scalar:
        """A row's number of the lane whose place differs in a bit; exclusive or, in words that TVM knows bounds of."""
        lane = self._place.lane
        return _value_of_lane(load(buffer, row), lane + apart - lane // apart % 2 * (2 * apart))

    def _each_of(self, columns: int, body: Callable[[Scalar, Scalar], Sequence[Stmt]]) -> Stmt:
        """Statements for each of a thread's rows, and so many columns."""
        return loop(self._rows, lambda row: [loop(columns, lambda at: body(row, at), unrolled=True)], unrolled=True)


def _set(buffer: Buffer, value: float) -> Stmt:
    return _each(buffer, lambda at: store(buffer, _number(value), at))


def _each(buffer: Buffer, body: Callable[[Scalar], Stmt]) -> Stmt:
    """A statement for each of the variables."""
    return loop(int(buffer.shape[0]), lambda at: [body(at)], unrolled=True)


def _number(value: float) -> Scalar:
    return tirx.const(value, _DTYPE)


def _value_of_lane(value: Scalar, lane: Scalar) -> Scalar:
    return tirx.call_extern(_DTYPE, VALUE_OF_LANE, value, lane.astype("int32"))


def _power_of_two(value: Scalar) -> Scalar:
    return tirx.call_pure_extern(_DTYPE, POWER_OF_TWO, value)
