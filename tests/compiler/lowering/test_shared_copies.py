"""Where elements lie in memory that a block shares: each at a place of its own, rows that are read together apart."""

from __future__ import annotations

import pytest
from tilewright.compiler.lowering.shared_copies import Layout
from tvm import tirx

BANKED_BYTES, UNIT_BYTES = 128, 16


def places(layout: Layout, rows: int) -> list[int]:
    """The place of each element, by rows of a tile in order."""
    found = [layout.place(tirx.IntImm("int32", index)) for index in range(rows * layout.pitch)]
    return [int(each) for each in found]


# 16 bytes once, twice, ... of a row: powers of two, odd numbers, and what is neither.
@pytest.mark.parametrize("units", [1, 2, 3, 4, 6, 8, 10, 16, 20])
@pytest.mark.parametrize(("lanes", "own", "together"), [(8, 2, 1), (4, 4, 2)])
def test_eight_rows_of_an_instruction_are_in_different_banks(units: int, lanes: int, own: int, together: int) -> None:
    bits, rows = 32, lanes * own
    elements = UNIT_BYTES * 8 // bits
    layout = Layout(units * elements, lanes, own, together, bits)

    found = places(layout, rows)

    assert sorted(found) == list(range(rows * layout.pitch))
    row_of_place = {place // layout.pitch: number // layout.pitch for number, place in enumerate(found)}
    for first in range(0, rows, 8):
        for unit in range(units):
            starts = [found[row_of_place[first + row] * layout.pitch + unit * elements] for row in range(8)]
            banks = {start * bits // 8 % BANKED_BYTES // UNIT_BYTES for start in starts}
            assert len(banks) == min(8, rows)
