"""Sizes that depend on dimensions: their values, the largest of them, and what C computes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tilewright.sizes import (
    Dimension,
    Size,
    SizeExpr,
    dimensions_of,
    in_c,
    largest,
    parse_size,
    quotient,
    rounded_up,
    smallest,
    value_of,
)

N, M = Dimension("n", 7), Dimension("m", 12)
BOUNDS = {each.name: each.bound for each in (N, M)}
VALUES = st.fixed_dictionaries({name: st.integers(0, bound) for name, bound in BOUNDS.items()})
LEAVES = st.sampled_from([0, 1, 3, 64, N.size, M.size])


def grown(sizes: st.SearchStrategy[Size]) -> st.SearchStrategy[Size]:
    return st.one_of(
        st.builds(lambda a, b: a + b, sizes, sizes),
        st.builds(lambda a, b: a * b, sizes, sizes),
        st.builds(lambda a: rounded_up(a, 64), sizes),
    )


SIZES = st.recursive(LEAVES, grown, max_leaves=6)


@given(a=SIZES, b=SIZES, values=VALUES)
def test_values_are_those_of_arithmetic(a: Size, b: Size, values: dict[str, int]) -> None:
    one, other = value_of(a, values), value_of(b, values)

    assert value_of(a + b, values) == one + other
    assert value_of(a * b, values) == one * other
    assert value_of(rounded_up(a, 64), values) == -(-one // 64) * 64
    assert a + b == b + a and a * b == b * a


@given(size=SIZES, values=VALUES)
def test_no_value_is_larger_than_the_one_at_the_bounds(size: Size, values: dict[str, int]) -> None:
    assert value_of(size, values) <= largest(size) == value_of(size, BOUNDS)


@given(size=SIZES, less=st.integers(-9, 0), values=VALUES)
def test_what_is_taken_away_makes_nothing_larger(size: Size, less: int, values: dict[str, int]) -> None:
    assert value_of(size + less * N.size, values) <= largest(size + less * N.size) <= largest(size)


def test_what_needs_no_dimension_is_a_number() -> None:
    assert N.size * 0 + 5 == 5 and N.size + -1 * N.size == 0 and rounded_up(65, 64) == 128
    assert rounded_up(N.size * 64, 32) == N.size * 64
    assert isinstance(rounded_up(N.size * 4, 64), SizeExpr)


def test_c_computes_the_same(tmp_path: Path) -> None:
    sizes = [N.size * M.size * 4 + 12, rounded_up(N.size * 4, 64) * M.size, 20 + -2 * N.size, rounded_up(N.size + 1, 8)]
    lines = [f'printf("%lld ", (long long)({in_c(size)}));' for size in sizes]
    program = (
        f"#include <stdint.h>\n#include <stdio.h>\nint main(void) {{ int64_t d_n = 5, d_m = 3; {' '.join(lines)} }}"
    )
    (tmp_path / "sizes.c").write_text(program)
    subprocess.run(["cc", "-Wall", "-Werror", "sizes.c", "-o", "sizes"], cwd=tmp_path, check=True)

    printed = subprocess.run([tmp_path / "sizes"], capture_output=True, text=True, check=True).stdout.split()

    assert [int(word) for word in printed] == [value_of(size, {"n": 5, "m": 3}) for size in sizes]
    assert str(sizes[0]) == "4 * m * n + 12"


@pytest.mark.parametrize(("add", "divisor"), [(0, 2), (5, 2), (-1, 2), (3, 7), (-6, 4), (2, 16)])
@pytest.mark.parametrize("times", [1, 3, 16, 32])
def test_quotients(times: int, add: int, divisor: int) -> None:
    h = Dimension("h", 9, 1)
    size = quotient(h.size * times + add, divisor)
    for value in range(1, 10):
        if times * value + add >= 0:
            assert value_of(size, {"h": value}) == (times * value + add) // divisor


def test_sizes_are_read_as_they_are_written() -> None:
    h, w = Dimension("h", 9, 1), Dimension("w", 4, 2)
    for size in (7, h.size, h.size * w.size * 3 + 5, quotient(h.size * 3 + 1, 2) * 4 + -1, quotient(w.size, 3)):
        assert parse_size(str(size), (h, w)) == size
    assert parse_size("32*h + w", (h, w)) == h.size * 32 + w.size
    assert smallest(h.size * 32 + w.size) == 34 and dimensions_of(h.size * w.size) == [h, w]


@pytest.mark.parametrize("text", ["k", "h +", "h ** 2", "h / w", "h / 0", "f(h)", "1.5", "True", "h" * 2000, "(" * 900])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|dimension"):
        parse_size(text, (Dimension("h", 9), Dimension("w", 4)))
