"""Products of narrow operands that are added to vectors of sums, as functions in LLVM IR, whichever the architecture.

A function takes the sums, what was loaded of a row (integers of the size of a group), and a group of the second
operand a lane. Where a load brings several groups of a row, the place of one is part of its name: instructions take it
as a lane of a register. LLVM inlines the functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ..ir_types import Scalar, Stmt
from . import rounding
from .instructions import Emitted, Operand
from .vector_sums import zero_vectors

_LOAD, _LOAD_BITS = "tilewright_load", 64


@dataclass(frozen=True)
class LaneDots:
    """What a step becomes: sums stay where the buffer of sums is, in vector registers.

    Attributes:
        name: of its functions, each ``NAME_PLACE_of_COUNT``.
        body: lines of IR that make ``%r`` of ``%sums``, of ``%left``, a vector of as many groups as were loaded, and of
            ``%right``, for the group at a place of how many; and declarations of what they call.
        lanes: sums of a step.
        group: products that are added to each.
        bits: of an element of an operand.
        accumulator: the dtype of sums.
        in_order: whether loads and products stay in the order in which they are written: where registers are few LLVM
            would load early, and then to the stack. Eight bytes are loaded as one float, which may lie anywhere.
    """

    name: str
    body: Callable[[int, int], tuple[str, ...]]
    declarations: tuple[str, ...]
    lanes: int
    group: int
    bits: int
    accumulator: str
    in_order: bool = False
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all vectors of sums to zero."""
        return zero_vectors(sums, extents, self.lanes, self.accumulator)

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Multiplies each group of each row with the same one of all vectors of the second operand."""
        count = extents["group"]
        step: list[Stmt] = []

        def loaded(operand: Operand, groups: int, **at: int) -> Scalar:
            value = self._loaded(operand, groups, **at)
            variable = tirx.Var("operand", value.ty)
            step.append(tirx.Bind(variable, value))
            return variable

        rows = [loaded(lhs, count, register=register) for register in range(extents["register"])]
        for group in range(count):
            for vector in range(extents["vector"]):
                right = loaded(rhs, self.lanes, vector=vector, group=group)
                for register, left in enumerate(rows):
                    row = tirx.Ramp(sums.at(register=register, vector=vector), 1, self.lanes)
                    value = tirx.call_pure_extern(
                        f"{self.accumulator}x{self.lanes}",
                        f"{self.name}_{group}_of_{count}",
                        tirx.BufferLoad(sums.buffer, [row]),
                        left,
                        right,
                    )
                    step.append(tirx.BufferStore(sums.buffer, value, [row]))
        return Emitted(tuple(step))

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32 to bfloat16; integers are not rounded."""
        return rounding.function_name(lanes)

    def text_of(self, function: str) -> str:
        """The text of one of its functions, or of that one."""
        if function == _LOAD:
            return (
                f"define <8 x i8> @{_LOAD}(ptr %at) {{\n"
                "  %d = load volatile double, ptr %at, align 1\n"
                "  %r = bitcast double %d to <8 x i8>\n  ret <8 x i8> %r\n}\n"
            )
        found = re.fullmatch(rf"{self.name}_(\d+)_of_(\d+)", function)
        if found is None:
            return rounding.text_of(function)
        place, count = map(int, found.groups())
        sums = f"<{self.lanes} x {'float' if 'float' in self.accumulator else 'i32'}>"
        integer = f"i{self.group * self.bits}"
        left = integer if count == 1 else f"<{count} x {integer}>"
        lines = (
            *(f"declare {each}" for each in self.declarations),
            f"define {sums} @{function}({sums} %sums, {left} %{'one' if count == 1 else 'left'}, "
            f"<{self.lanes} x {integer}> %right) {{",
            *([f"  %left = insertelement <1 x {integer}> poison, {integer} %one, i64 0"] if count == 1 else []),
            *(f"  {line}" for line in self.body(place, count)),
            f"  ret {sums} %r",
            "}",
        )
        return "\n".join([*lines, ""])

    def _loaded(self, operand: Operand, count: int, **at: int) -> Scalar:
        """So many groups that lie side by side, as integers."""
        first, terms = operand.at(**at), count * self.group
        integer = f"int{self.group * self.bits}"
        if self.in_order and terms * self.bits == _LOAD_BITS:
            place = tirx.address_of(tirx.BufferLoad(operand.buffer, [first]))
            return tirx.call_pure_extern(f"{integer}x{count}", _LOAD, place)
        loaded = tirx.BufferLoad(operand.buffer, [tirx.Ramp(first, 1, terms) if terms > 1 else first])
        return tirx.reinterpret(integer if count == 1 else f"{integer}x{count}", loaded)
