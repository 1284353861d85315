"""Layers are fitted in stages of a model: the same weights as by runs of the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from pruned_network import array, network, residual_network, samples, told
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.compression import stages
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruning, Rankings
from tilewright.compiler.compression.trial import Trial
from tilewright.compiler.options import CompileOptions
from tilewright.frontends.taps import between, live_values

ONE = CompileOptions(threads=1)


def sized() -> onnx.ModelProto:
    """A tensor of sizes is alive between layers, and a sum behind three of them has the first one's result."""
    layers = [node("Conv", [f"r{at}", f"w{at + 1}"], f"c{at + 1}", f"layer{at + 1}") for at in range(4)]
    clips = [node("Relu", [f"c{at}"], f"r{at}", f"relu{at}") for at in range(4)]
    nodes = [node("Conv", ["x", "w0", "b0"], "c0", "layer0"), node("Shape", ["c0"], "size", "size")]
    for clip, layer in zip(clips, layers, strict=True):
        nodes += [clip, layer]
    nodes += [node("Add", ["c4", "c1"], "s", "sum"), node("Reshape", ["s", "size"], "again", "again")]
    nodes += [node("GlobalAveragePool", ["again"], "g", "pool"), node("Flatten", ["g"], "f", "flat")]
    nodes += [node("MatMul", ["f", "w5"], "y", "head")]
    weights = {"w0": array(16, 2, 1, 1), "b0": array(16), "w5": array(16, 4)}
    weights |= {f"w{at}": array(16, 16, 1, 1) * (1 + at / 8) for at in range(1, 5)}
    shapes = {"x": ("float32", (1, 2, 6, 6))}, {"y": ("float32", (1, 4))}
    return model(nodes, *shapes, {name: each.astype("f4") for name, each in weights.items()})


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("made", "count"), [(network, 3), (residual_network, 3), (sized, 1)])
def test_stages_fit_what_the_whole_does(made: Any, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, asked = frontends.open(made()), Pruning(channels=0.5, round_to=4)
    whole = prune(opened, samples(24), asked, ONE, told)
    seen = []

    def noted(trial: Trial, levels: Any, count: int) -> Any:
        for each in really(trial, levels, count):
            seen.append(each)
            yield each

    really = stages.stages_of
    monkeypatch.setattr(stages, "_LEAST_FLOPS", 0.0)
    monkeypatch.setattr(stages, "_LEVELS", 1)
    monkeypatch.setattr("tilewright.compiler.compression.refit.stages_of", noted)
    parted = prune(opened, samples(24), asked, ONE, told)

    assert len(seen) >= count and (len(seen) > 1) == (count > 1)
    assert parted.layers == whole.layers and parted.recipe.arrays.keys() == whole.recipe.arrays.keys()
    for name, own in whole.recipe.arrays.items():
        np.testing.assert_allclose(parted.recipe.arrays[name], own, rtol=1e-3, atol=1e-3 * float(np.abs(own).max()))


def test_a_part_reads_what_is_alive_before_it() -> None:
    opened = frontends.open(residual_network())
    nodes = opened.proto.graph.node
    place = next(at for at, each in enumerate(nodes) if each.name == "two")
    live = live_values(opened)

    assert live[0] == () and set(live[place]) == {"r1", "r2"}
    typed = onnx.shape_inference.infer_shapes(opened.proto).graph
    known = {value.name: value for value in (*typed.value_info, *typed.output)}
    part = between(opened, [known[name] for name in live[place]], [known["s2"]]).proto.graph
    assert [each.name for each in part.node] == ["two", "norm3", "sum2"]
    assert {value.name for value in part.input} == {"r1", "r2"} and {t.name for t in part.initializer} >= {"w3"}


def test_groups_are_ranked_once_for_several_cuts() -> None:
    opened = frontends.open(network())
    stages_told: list[str] = []

    def tell(stage: str, done: int, total: int) -> None:
        stages_told.append(stage)

    def half(rankings: Rankings | None) -> Mapping[str, Any]:
        return prune(opened, samples(24), Pruning(work=0.5, round_to=4), ONE, tell, rankings=rankings).layers

    known: Rankings = {}
    first = half(known)
    assert known and "second moments" in stages_told
    stages_told.clear()
    assert half(known) == first == half(None)
    again = stages_told[: stages_told.index("second moments")]
    assert "fit layers" in again, "the first of the two asks no samples how much channels are missed"
