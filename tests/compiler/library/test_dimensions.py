"""What the dimensions of a call are, as its inputs say; and what is told of inputs that say what cannot be."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tilewright.compiler.library.dimensions import values_of
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.errors import TensorError
from tilewright.sizes import Dimension

_DIMENSIONS = (Dimension("N", 9, 1), Dimension("P", 20), Dimension("S", 6, 1))
_SPECS = (
    TensorSpec("ids", (9, 6), "int64", sizes=("N", "S")),
    TensorSpec("mask", (9, 26), "int64", sizes=("N", "P + S")),
    TensorSpec("image", (9, 3, 192), "float32", sizes=("N", "3", "32 * S")),
    TensorSpec("scale", (4,), "float32"),
)


def test_a_dimension_that_stands_in_a_sum_alone_is_what_is_left() -> None:
    shapes = {"mask": (2, 11), "ids": (2, 4)}
    assert values_of(_DIMENSIONS, _SPECS, shapes) == {"N": 2, "S": 4, "P": 7}
    assert values_of(_DIMENSIONS, _SPECS, {"mask": (1, 11)}, {"P": 6}) == {"N": 1, "P": 6, "S": 5}
    assert values_of(_DIMENSIONS, _SPECS, {"scale": (4,)}) == {}


@pytest.mark.parametrize(
    ("shapes", "says", "hint"),
    [
        (
            {"ids": (10, 2)},
            "axis 0 of input 'ids' is 10, and the library takes N: 1 to 9",
            "N is 1 to 9; for more, compile it with --range N=1..10",
        ),
        (
            {"image": (1, 3, 100)},
            "axis 2 of input 'image' is 100, and the library takes 32 * S: 96 or 128, but nothing between",
            "S is a whole number from 1 to 6: pad it, or cut it",
        ),
        (
            {"image": (1, 4, 32)},
            "axis 1 of input 'image' is 4, and the library takes 3 there, whatever its dimensions are",
            "it takes image: float32[Nx3x32 * S]; a size that varies has a name in --shape when it is compiled",
        ),
        (
            {"ids": (2, 4), "mask": (3, 4)},
            "axis 0 of input 'mask' is 3, and the library takes N, which is 2 with N=2",
            "axis 0 of input 'ids' is 2: give inputs whose sizes agree",
        ),
        (
            {"ids": (2, 4), "mask": (2, 3)},
            "axis 1 of input 'mask' is 3, and the library takes P + S: 4 to 24",
            "P is 0 to 20; for more, compile it with --range P=LEAST..LARGEST",
        ),
        ({"ids": (2,)}, "input 'ids' has shape 2", "it takes 2 axes: ids: int64[NxS]"),
        ({"scale": (5,)}, "axis 0 of input 'scale' is 5, and the library takes 4", "it takes scale: float32[4]"),
    ],
)
def test_what_is_wrong_names_the_axis_and_what_to_do(
    shapes: Mapping[str, tuple[int, ...]], says: str, hint: str
) -> None:
    with pytest.raises(TensorError) as caught:
        values_of(_DIMENSIONS, _SPECS, shapes)
    assert says in str(caught.value) and hint in (caught.value.hint or "")


def test_what_is_known_may_not_contradict_an_input() -> None:
    with pytest.raises(TensorError, match="axis 1 of input 'ids' is 4, and the library takes S, which is 2 with S=2"):
        values_of(_DIMENSIONS, _SPECS, {"ids": (1, 4)}, {"S": 2})
