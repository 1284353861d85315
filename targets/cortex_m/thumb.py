"""Products of 8-bit integers on Cortex-M0+: a step of a tile in one piece of assembly.

The processor multiplies into one of its operands, computes in eight registers alone, and may add to the others. So sums
are in the others, and all that a step needs in seven of the eight, which compilers do not find by themselves. Weights
come four in a word; a byte of it is extended to 32 bits in one instruction or two, which is no more than a copy of it
for another product would take.

    one row:   for four terms: LDRB each        two rows:  for column, term: LDRB both
                   for column: LDR word                        LDR word, for every fourth
                       for term: extend, MULS, ADD             extend, MULS, ADD, MULS, ADD

Compilers for other processors get the same from C.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tvm import tirx

from ...ir_types import Scalar
from ..instructions import Emitted, Operand
from .scalar_sums import SumsInVariables, columns_of, rows_of

_NAME = "tilewright_products"
_WORD = 4  # weights
# A byte of a word, extended.
_EXTENDED = (
    ("sxtb {to}, {word}",),
    ("lsls {to}, {word}, #16", "asrs {to}, {to}, #24"),
    ("lsls {to}, {word}, #8", "asrs {to}, {to}, #24"),
    ("asrs {to}, {word}, #24",),
)


@dataclass(frozen=True)
class StepsOfTiles(SumsInVariables):
    """Products of one row and up to four columns, or of two and two."""

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """A call with the places of rows, of the first column, and of the sums."""
        rows, columns, depth = rows_of(extents), columns_of(extents), extents["group"]
        places = [
            *(_place(lhs, **row) for row in rows),
            _place(rhs),
            *(_place(sums, **row, **column) for row in rows for column in columns),
        ]
        call = tirx.call_extern("int32", f"{_NAME}_{len(rows)}x{len(columns)}x{depth}", *places)
        return Emitted((tirx.Evaluate(call),), stays_in_loop=self.stays_in_loop)

    def text_of(self, function: str) -> str:
        """The text of one of its functions."""
        found = re.fullmatch(rf"{_NAME}_(\d+)x(\d+)x(\d+)", function)
        return "" if found is None else _text(function, *map(int, found.groups()))


def _place(operand: Operand, **at: int) -> Scalar:
    return tirx.address_of(tirx.BufferLoad(operand.buffer, [operand.at(**at)]))


def _text(name: str, rows: int, columns: int, depth: int) -> str:
    """The function, in assembly and in C."""
    sums = [f"sum{row}{column}" for row in range(rows) for column in range(columns)]
    starts = [*(f"const uint8_t *row{row}" for row in range(rows)), "const int8_t *weights"]
    lines = list(_one_row(columns, depth) if rows == 1 else _two_rows(columns, depth))
    scratch = dict.fromkeys(each for line in lines for each in re.findall(r"%\[((?:left|term|word)\d*)\]", line))
    changed, kept = (["row0"], ["kept"]) if rows == 1 else ([], [])
    outputs = [
        *(f'[{each}] "+h"(*{each})' for each in sums),
        *(f'[{each}] "+l"({each})' for each in changed),
        *(f'[{each}] "=&l"({each})' for each in scratch),
        *(f'[{each}] "=&h"({each})' for each in kept),
    ]
    inputs = [
        *(
            f'[{each}] "l"({each})'
            for each in (*(f"row{row}" for row in range(rows)), "weights")
            if each not in changed
        ),
        *(f'"m"(*(const char(*)[{depth}])row{row})' for row in range(rows)),
        f'"m"(*(const char(*)[{columns * depth}])weights)',
    ]
    return "\n".join(
        [
            f"static inline void {name}({', '.join([*starts, *(f'int32_t *{each}' for each in sums)])}) {{",
            # Where size counts, GCC gives out none of the upper registers.
            "#if defined(__ARM_ARCH_6M__) && defined(__GNUC__) && !defined(__OPTIMIZE_SIZE__)",
            f"  uint32_t {', '.join([*scratch, *kept])};",
            "  __asm__ volatile(",
            '      ".syntax unified\\n\\t"',
            *(f'      "{line}\\n\\t"' for line in lines),
            f"      : {', '.join(outputs)}",
            f"      : {', '.join(inputs)}",
            '      : "cc");',
            "#else",
            f"  for (int32_t i = 0; i < {depth}; ++i) {{",
            *(
                f"    *sum{row}{column} = (int32_t)((uint32_t)*sum{row}{column} + "
                f"(uint32_t)(row{row}[i] * weights[{column * depth} + i]));"
                for row in range(rows)
                for column in range(columns)
            ),
            "  }",
            "#endif",
            "}",
        ]
    )


def _one_row(columns: int, depth: int) -> Iterator[str]:
    """Terms of the row are held for all columns; meanwhile its address is where weights are extended."""
    for chunk in range(0, depth, _WORD):
        terms = range(chunk, min(chunk + _WORD, depth))
        yield from (f"ldrb %[left{term % _WORD}], [%[row0], #{term}]" for term in terms)
        yield "mov %[kept], %[row0]"
        for column in range(columns):
            for term in terms:
                yield from _weight("row0", column * depth + term, depth)
                yield f"muls %[row0], %[left{term % _WORD}]"
                yield f"add %[sum0{column}], %[row0]"
        yield "mov %[row0], %[kept]"


def _two_rows(columns: int, depth: int) -> Iterator[str]:
    """Each term of both rows is loaded again for each column, as its product takes its place."""
    for column in range(columns):
        for term in range(depth):
            yield from (f"ldrb %[left{row}], [%[row{row}], #{term}]" for row in range(2))
            yield from _weight("term", column * depth + term, depth)
            for row in range(2):
                yield f"muls %[left{row}], %[term]"
                yield f"add %[sum{row}{column}], %[left{row}]"


def _weight(to: str, place: int, depth: int) -> Iterator[str]:
    """A weight, extended: a byte of a word, loaded with the first of it, or itself where columns are no whole words."""
    if depth % _WORD:
        yield f"movs %[{to}], #{place}"
        yield f"ldrsb %[{to}], [%[weights], %[{to}]]"
        return
    if place % _WORD == 0:
        yield f"ldr %[word], [%[weights], #{place}]"
    for line in _EXTENDED[place % _WORD]:
        yield line.format(to=f"%[{to}]", word="%[word]")
