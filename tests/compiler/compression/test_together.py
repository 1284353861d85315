"""Ways to prune that leave nothing for those behind them are refused at once, before any sample is looked at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from pruned_network import network, told
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruning
from tilewright.compiler.options import CompileOptions
from tilewright.errors import CutError


def never() -> Iterator[Any]:
    raise AssertionError("a sample was looked at")
    yield


def residual() -> onnx.ModelProto:
    """Two branches, within which all channels are that can go."""
    chance = np.random.default_rng(0)
    weights = {f"w{number}": chance.standard_normal((32, 32)).astype("f4") for number in range(4)}
    nodes = []
    for number, given in enumerate(("x", "sum0")):
        nodes += [
            node("MatMul", [given, f"w{2 * number}"], f"a{number}", f"up{number}"),
            node("Relu", [f"a{number}"], f"b{number}", f"relu{number}"),
            node("MatMul", [f"b{number}", f"w{2 * number + 1}"], f"c{number}", f"down{number}"),
            node("Add", [given, f"c{number}"], f"sum{number}", f"add{number}"),
        ]
    return model(nodes, {"x": ("float32", (4, 32))}, {"sum1": ("float32", (4, 32))}, weights)


@pytest.mark.parametrize(
    ("made", "asked", "phrases"),
    [
        (residual, {"branches": 2, "work": 0.5}, ("no channels", "--branches")),
        (residual, {"branches": 2, "weights": 0.5}, ("no layers", "--branches")),
        (residual, {"branches": 3}, ("3 residual branches", "has 2", "ask for fewer")),
        (network, {"channels": 0.9, "weights": 0.5}, ("no layers", "--channels")),
    ],
)
def test_what_leaves_nothing(made: Any, asked: dict[str, Any], phrases: tuple[str, ...]) -> None:
    with pytest.raises(CutError) as raised:
        prune(frontends.open(made()), never(), Pruning(**asked), CompileOptions(threads=1), told)

    assert all(phrase in str(raised.value) for phrase in phrases), str(raised.value)


def test_what_leaves_something() -> None:
    with pytest.raises(AssertionError, match="a sample"):
        prune(frontends.open(residual()), never(), Pruning(branches=1, work=0.5), CompileOptions(threads=1), told)
