"""How constants depend on sizes, from what imports for several sizes have in their place."""

from __future__ import annotations

import numpy as np
from tilewright.compiler.extents.sized_constants import Sizes, band, begins, moved
from tilewright.sizes import Dimension, in_c, value_of

P, S = Dimension("P", 9), Dimension("S", 6, 1)
VALUES = ({"P": 9, "S": 6}, {"P": 8, "S": 3}, {"P": 6, "S": 2}, {"P": 2, "S": 2})
SIZES = Sizes((P, S), VALUES)


def test_a_number_that_grows_with_sizes() -> None:
    size = SIZES.affine([3 * each["P"] - each["S"] + 4 for each in VALUES])
    assert size is not None and [value_of(size, each) for each in VALUES] == [25, 25, 20, 8]
    assert SIZES.affine([7] * 4) == 7
    assert SIZES.affine([each["P"] // 2 for each in VALUES]) is None
    assert SIZES.affine([each["P"] * each["S"] for each in VALUES]) is None


def test_too_few_sizes_tell_nothing() -> None:
    assert Sizes((P, S), VALUES[:2]).affine([9, 8]) is None


def test_a_table_and_a_size() -> None:
    found = moved([np.arange(each["S"]) * 2 + each["P"] for each in VALUES], SIZES)
    assert found is not None and in_c(found.size, "") == "P"
    assert found.table.tolist() == [0, 2, 4, 6, 8, 10]
    assert moved([np.arange(each["S"]) * each["P"] for each in VALUES], SIZES) is None
    assert moved([np.arange(each["S"]) + np.float32(each["P"]) for each in VALUES], SIZES) is None


def test_a_mask_is_cut_from_a_band() -> None:
    def mask(p: int, s: int, window: int = 4) -> np.ndarray:
        query, key = np.arange(s)[:, None] + p, np.arange(p + s)[None, :]
        return ((key <= query) & (key > query - window))[None, None]

    found = band([mask(each["P"], each["S"]) for each in VALUES], SIZES)
    assert found is not None
    for p, s in ((0, 1), (0, 6), (9, 1), (3, 4)):
        places = found.places[:, :, :s, : p + s] + value_of(found.size, {"P": p, "S": s})
        assert np.array_equal(found.numbers[places], mask(p, s))
    assert band([mask(each["P"], each["S"], each["S"]) for each in VALUES], SIZES) is None
    assert band([mask(each["P"], each["S"])[..., ::2] for each in VALUES], SIZES) is None


def test_beginnings() -> None:
    assert begins(np.arange(12).reshape(3, 4), np.array([[0, 1], [4, 5]]))
    assert not begins(np.arange(4), np.arange(5)) and not begins(np.arange(4), np.array([1, 2]))
