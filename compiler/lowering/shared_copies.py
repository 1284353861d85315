"""A copy to memory that a block of threads shares: its loops, where elements lie, and whether it only moves them.

In memory, rows lie in the order in which instructions take them, whose rows are several threads' (`COPY` says how), and
16 bytes of a row lie at the place that they have or at another one, by the row's number: eight rows that are read
together are in different banks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from tvm import tirx
from tvm.ir import TensorLoad

from ...annotations import COPY, LINES, without
from ...hidden_floats import name_of
from ...ir_types import Analyzer, For, Node, Scalar, Stmt, Var
from ...schedules.tensorir.expressions import dtype_bits
from ...schedules.tensorir.rebuild import mentions, substituted, with_body
from ...targets.grid import COPY_ASYNC, COPY_LOAD
from .tried_values import are_equal

_CHOICE = "prim.if_then_else"
_BANKED_BYTES, UNIT_BYTES = 128, 16  # of all banks; that lie together


@dataclass(frozen=True)
class Layout:
    """Where elements lie in shared memory; the attributes are those of `COPY`."""

    pitch: int
    lanes: int
    own: int
    together: int
    bits: int

    def place(self, index: Scalar) -> Scalar:
        """The index in memory of one by rows of a tile in order."""
        row, inside = index // self.pitch, index % self.pitch
        of_warp = self.lanes * self.own
        lane, own = row % of_warp // self.own, row % self.own
        within = (own // self.together * self.lanes + lane) * self.together + own % self.together
        row = row // of_warp * of_warp + within
        unit = UNIT_BYTES * 8 // self.bits
        units = math.gcd(self.pitch // unit, _BANKED_BYTES // UNIT_BYTES)
        lines = _BANKED_BYTES // UNIT_BYTES // units  # rows that all banks hold
        number = inside // unit
        # What is not exchanged stands by itself: places that differ there alone have one address and a distance.
        moved = number // units * units + (number % units ^ (row // lines % units))
        return row * self.pitch + moved * unit + inside % unit


@dataclass(frozen=True)
class Copy:
    """A copy of a slab.

    Attributes:
        nest: its loops, the one over elements last.
        conditions: under which there is something to copy.
        store: of one element.
        layout: of the buffer that it stores to.
    """

    nest: tuple[For, ...]
    conditions: tuple[Scalar, ...]
    store: Stmt
    layout: Layout

    @property
    def run(self) -> int:
        """Elements side by side."""
        return int(self.nest[-1].extent)

    def mentions(self, variable: Var) -> bool:
        """Whether what is copied, or where to, depends on a variable."""
        return any(mentions(each, [variable]) for each in (*self.conditions, self.store))

    def at(self, node: Node, place: int) -> Node:
        """A part of the store at one of these elements."""
        variable = self.nest[-1].loop_var
        return substituted(node, {variable: tirx.IntImm(str(variable.ty.dtype), place)})

    def looped(self, body: Stmt, *, over_elements: bool) -> Stmt:
        """A statement in the loops of the copy."""
        for condition in reversed(self.conditions):
            body = tirx.IfThenElse(condition, body, None)
        for loop in reversed(self.nest if over_elements else self.nest[:-1]):
            body = with_body(loop, body, kind=tirx.ForKind.UNROLLED, annotations=without(loop.annotations, COPY, LINES))
        return body

    def number(self, *, over_elements: bool) -> tuple[Scalar, int]:
        """Which of a thread's turns it is, and how many there are."""
        loops = self.nest if over_elements else self.nest[:-1]
        number: Scalar = tirx.IntImm("int32", 0)
        for loop in loops:
            number = number * int(loop.extent) + loop.loop_var
        return number, math.prod(int(loop.extent) for loop in loops)


def copy_of(statement: Stmt) -> Copy:
    """The copy that a statement is."""
    nest, conditions = [], []
    while not isinstance(statement, tirx.BufferStore):
        if isinstance(statement, tirx.For):
            nest.append(statement)
            statement = statement.body
        else:
            assert isinstance(statement, tirx.IfThenElse) and statement.else_case is None
            conditions.append(statement.condition)
            statement = statement.then_case
    marks = COPY.of(nest[-1])
    assert marks is not None
    pitch, lanes, own, together = marks
    layout = Layout(pitch, lanes, own, together, dtype_bits(str(statement.buffer.dtype)))
    return Copy(tuple(nest), tuple(conditions), statement, layout)


@dataclass(frozen=True)
class Move:
    """How a run is moved.

    Attributes:
        size: its bytes.
        source: its address, and how many of its bytes there are: all or none.
    """

    size: int
    source: tuple[Scalar, Scalar]

    def destination(self, copy: Copy) -> Scalar:
        """The address that it is moved to."""
        return tirx.address_of(tirx.BufferLoad(copy.store.buffer, [copy.at(copy.store.indices[0], 0)]))

    def asynchronous(self, copy: Copy, names: Mapping[str, str]) -> Stmt:
        """The copy of a run."""
        return called(names[f"{COPY_ASYNC}{self.size}"], self.destination(copy), *self.source)


def move_of(copy: Copy, names: Mapping[str, str], analyzer: Analyzer) -> Move | None:
    """How a copy moves runs as they are; None: it computes something, or runs are not side by side.

    Args:
        names: of the functions that move some bytes.
        analyzer: knows the variables.
    """
    conditions, value = taken_apart(copy.store.value)
    size = copy.run * copy.layout.bits // 8
    if not isinstance(value, TensorLoad) or str(value.source.dtype) != str(copy.store.buffer.dtype):
        return None
    if f"{COPY_ASYNC}{size}" not in names and f"{COPY_LOAD}{size}" not in names:
        return None
    variable = copy.nest[-1].loop_var
    if any(mentions(each, [variable]) for each in conditions):
        return None
    (index,) = value.indices
    first = copy.at(index, 0)
    if not are_equal(first + variable, index, analyzer) or not _is_multiple(first, copy.run, analyzer):
        return None
    there: Scalar = tirx.IntImm("int32", size)
    if conditions:
        there = tirx.if_then_else(tirx.all(*conditions), there, tirx.IntImm("int32", 0))
    return Move(size, (tirx.address_of(tirx.BufferLoad(value.source, [first])), there))


def _is_multiple(index: Scalar, of: int, analyzer: Analyzer) -> bool:
    """Whether an index is a multiple of something for all values of its variables."""
    known = analyzer.modular_set(analyzer.simplify(index))
    return int(known.coeff) % of == 0 and int(known.base) % of == 0


def taken_apart(value: Scalar) -> tuple[list[Scalar], Scalar]:
    """Conditions under which a value is another one, and is zero without; and that one."""
    conditions: list[Scalar] = []
    while name_of(value) == _CHOICE and _is_zero(value.args[2]):
        conditions.append(value.args[0])
        value = value.args[1]
    return conditions, value


def _is_zero(value: Scalar) -> bool:
    return isinstance(value, (tirx.IntImm, tirx.FloatImm)) and not value.value


def called(function: str, *arguments: Scalar) -> Stmt:
    """The call of a function of the target's."""
    return tirx.Evaluate(tirx.call_extern("int32", function, *arguments))
