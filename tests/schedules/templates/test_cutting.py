"""Tiles cut into tasks: every number of blocks, slices of k, and cores that are kept busy."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from tilewright.schedules.templates.cutting import blockings


@given(count=st.integers(1, 300))
def test_blocks_are_of_every_number_of_tiles_that_makes_a_difference(count: int) -> None:
    sizes = list(blockings(count))
    numbers = {math.ceil(count / size) for size in range(1, count + 1)}
    assert [math.ceil(count / size) for size in sizes] == sorted(numbers)
