"""Results of layers are followed through what is linear, up to what clips them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pruned_network import OTHER_READERS, network
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.compression.what_follows import Followed, Walker
from tilewright.frontends.linear_layers import linear_layers

ONES = np.ones(4, np.float32)
CONSTANTS = {
    "w": np.ones((4, 4, 1, 1), np.float32),
    "scale": 3 * ONES,
    "shift": ONES,
    "mean": ONES,
    "variance": (4 - 1e-5) * ONES,
    "c": np.ones((4, 1, 1), np.float32),
    "low": np.array(0, np.float32),
    "high": np.array(6, np.float32),
}


def followed(*behind: Any, output: str) -> Followed:
    """Where the results of a convolution are compared that these nodes stand behind."""
    proto = model(
        [node("Abs", ["x"], "before", "before"), node("Conv", ["x", "w"], "t", "layer"), *behind],
        {"x": ("float32", (1, 4, 2, 2))},
        {output: ("float32", (1, 4, 2, 2))},
        {name: CONSTANTS[name] for name in CONSTANTS if any(name in [*each.input, "w"] for each in behind)},
    )
    opened = frontends.open(proto)
    (layer,) = linear_layers(opened)
    return Walker(opened).follow(layer)


def test_norms_constants_and_one_sum_are_passed_on_the_way_to_a_relu() -> None:
    found = followed(
        node("BatchNormalization", ["t", "scale", "shift", "mean", "variance"], "n", "norm"),
        node("Add", ["n", "c"], "a", "constant"),
        node("Add", ["before", "a"], "s", "sum"),
        node("Relu", ["s"], "y", "relu"),
        output="y",
    )

    assert (found.tensor, found.low, found.high) == ("s", 0.0, np.inf)
    np.testing.assert_allclose(found.factor, 1.5 * ONES)


def test_a_sum_whose_other_operand_comes_later_is_not_passed() -> None:
    found = followed(node("Abs", ["x"], "later", "later"), node("Add", ["t", "later"], "y", "sum"), output="y")

    assert found == Followed("t")


@pytest.mark.parametrize(
    ("last", "low", "high"),
    [
        (node("Clip", ["t", "low", "high"], "y", "clip"), 0.0, 6.0),
        (node("Clip", ["t", "", "high"], "y", "clip"), -np.inf, 6.0),
        (node("Tanh", ["t"], "y", "tanh"), -np.inf, np.inf),
    ],
)
def test_what_clips_says_which_values_are_alike(last: Any, low: float, high: float) -> None:
    assert followed(last, output="y") == Followed("t", 1.0, low, high)


def test_transposes_are_undone() -> None:
    found = followed(
        node("Transpose", ["t"], "u", "turn", perm=[0, 2, 3, 1]),
        node("Transpose", ["u"], "v", "turn_again", perm=[1, 0, 2, 3]),
        node("Relu", ["v"], "r", "relu"),
        node("Transpose", ["r"], "y", "back", perm=[1, 3, 0, 2]),
        output="y",
    )

    assert (found.tensor, found.low) == ("v", 0.0)
    result = np.arange(24).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(found.of({"v": result.transpose(0, 2, 3, 1).transpose(1, 0, 2, 3)}), result)


@pytest.mark.parametrize("read", OTHER_READERS[:3])
def test_results_that_others_read_are_compared_as_they_are(read: Any) -> None:
    proto = network()
    read(proto, "c0")
    opened = frontends.open(proto)
    found = {layer.name: Walker(opened).follow(layer) for layer in linear_layers(opened)}
    assert (found["stem"].low, found["middle"].low) == (-np.inf, 0.0)


def test_outputs_of_the_model_are_compared_as_they_are() -> None:
    assert followed(node("Relu", ["t"], "z", "relu"), output="t") == Followed("t")


def test_beyond_a_bound_everything_is_as_good() -> None:
    clip = Followed("t", 1.0, 0.0, 6.0)
    before, now = np.array([-1.0, -1.0, 2.0, 7.0, 7.0]), np.array([-5.0, 3.0, -1.0, 9.0, 5.0])

    np.testing.assert_array_equal(clip.wanted(before, now), [-5.0, 0.0, 2.0, 9.0, 6.0])
