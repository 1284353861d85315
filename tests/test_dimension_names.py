"""What models call their dimensions: words with points in them, sums and products, and what is left of those."""

from __future__ import annotations

import pytest
from tilewright.dimension_names import DimensionNames, is_word
from tilewright.sizes import Dimension, Size

_PAST, _SEQ = Dimension("P", 20).size, Dimension("S", 7, 1).size


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("past.len + seq", _PAST + _SEQ),
        ("past.len+1", _PAST + 1),
        ("2*seq", 2 * _SEQ),
        ("(past.len + seq) * 2", 2 * _PAST + 2 * _SEQ),
        ("batch-size * 2", 8),
        ("other", None),
        ("past.len + other", None),
        ("past.length", None),
        ("floor(seq/2)", None),
        ("(" * 500, None),
    ],
)
def test_names_are_sums_and_products_of_names(name: str, size: Size | None) -> None:
    assert DimensionNames({"past.len": _PAST, "seq": _SEQ, "batch-size": 4}).size(name) == size


@pytest.mark.parametrize("order", [1, -1])
def test_what_is_left_of_sums_in_any_order(order: int) -> None:
    known: list[tuple[str, Size]] = [("a + b + 1", _PAST), ("2 * b", 6), ("c + a", _PAST + 4), ("d + e", 9)]
    names = DimensionNames(dict(known[::order]))
    names.solve()
    assert [names.size(each) for each in "abcde"] == [_PAST + -4, 3, None, None, None]
    assert names.unknown(["b", "c", "d + e"]) == ["c"]


def test_words() -> None:
    assert is_word("past.len") and is_word("onnx::Reshape_12") and not is_word("past + 1") and not is_word("2*s0")
