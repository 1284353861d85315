"""A library of a recipe that changes the network and quantizes it: each is held to the reference that is its own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipe_check.check import check_quantized
from tilewright.compiler.recipe_check.twin import twin_of
from tilewright.compiler.recipes.recipe import DropEntry, KeepEntry, RankEntry, Recipe, SparsityEntry
from tilewright.compiler.reports import quantization_check
from tilewright.errors import UnsupportedError

OPTIONS = CompileOptions(threads=1)
ALWAYS = ("place_pairs{always=True}",)
SAMPLES = np.random.default_rng(6).standard_normal((12, 4, 32)).astype("f4")


def network() -> onnx.ModelProto:
    """Four products, one of them in a residual branch."""
    rng = np.random.default_rng(5)
    weights = {f"w{i}": (rng.standard_normal((32, 32)) / 6).astype("f4") for i in range(4)}
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Relu", ["a"], "b", "relu"),
            node("Gemm", ["b", "w1", "c1"], "c", "second"),
            node("Tanh", ["c"], "d", "tanh"),
            node("MatMul", ["d", "w2"], "e", "branch"),
            node("Add", ["e", "d"], "f", "sum"),
            node("MatMul", ["f", "w3"], "y", "last"),
        ],
        {"x": ("float32", (4, 32))},
        {"y": ("float32", (4, 32))},
        {**weights, "c1": rng.standard_normal(32).astype("f4")},
    )


NETWORK = network()


@cache
def quantized() -> Recipe:
    return quantize(NETWORK, SAMPLES, Request(OPTIONS, always=True, details=False, corrections=())).recipe


def changed(**layers: dict[str, Any]) -> Recipe:
    recipe = quantized()
    return replace(
        recipe,
        layers={**recipe.layers, **{name: {**recipe.layers.get(name, {}), **own} for name, own in layers.items()}},
    )


def keep(first: int, stop: int) -> dict[str, Any]:
    return {"keep_channels": KeepEntry(tuple(range(first, stop)))}


CHANGES = {
    "cut": {"first": keep(3, 20)},
    "dropped": {"branch": {"drop": DropEntry(True)}},
    "zeros": {"second": {"sparsity": SparsityEntry("unstructured", 0.6)}},
    "rank": {"last": {"rank": RankEntry(12)}},
    "cut, with zeros and a rank in what is left": {
        "first": {**keep(3, 20), "sparsity": SparsityEntry("unstructured", 0.2)},
        "second": {"sparsity": SparsityEntry("4x1", 0.3)},
        "last": {"rank": RankEntry(12)},
    },
}


@pytest.mark.sweep(3)
@pytest.mark.parametrize("change", CHANGES)
def test_what_a_recipe_changes_and_quantizes(change: str) -> None:
    recipe = changed(**CHANGES[change])
    opened, samples = frontends.open(NETWORK), [{"x": x} for x in SAMPLES[:4]]
    library = tilewright.compile(NETWORK, recipe=recipe, passes=ALWAYS, threads=1)
    bisect = change == "cut"
    check = check_quantized(library, opened, recipe, samples, options=OPTIONS, bisect=bisect)

    assert check.passed and check.metrics.decibels > 25, quantization_check.tables("x.so", check)
    # Far from the model as it came, which no longer is what the library is held to.
    assert check.changed is not None and check.changed.decibels < 15
    if bisect:
        assert {each.layer for each in check.layers} == {"first", "second", "branch", "last"}
        assert not any(each.kernel_is_wrong for each in check.layers)
        assert all(each.against_float.decibels > 25 for each in check.layers)


def test_a_library_that_was_cut_otherwise() -> None:
    kept, other = changed(first=keep(3, 20)), changed(first=keep(2, 19))
    library = tilewright.compile(NETWORK, recipe=other, passes=ALWAYS, threads=1)
    check = check_quantized(library, frontends.open(NETWORK), kept, [{"x": SAMPLES[0]}], options=OPTIONS)
    assert not check.is_as_written and not check.passed


def test_what_has_no_twin() -> None:
    proto = network()
    proto.graph.node[6].input[1] = "w0"
    with pytest.raises(UnsupportedError, match="changes for others, too"):
        twin_of(frontends.open(proto), changed(first={"sparsity": SparsityEntry("unstructured", 0.5)}), OPTIONS)


def test_the_twin_of_a_dropped_branch_whose_end_is_read_inside_of_a_node() -> None:
    made = onnx.helper.make_tensor_value_info("i", onnx.TensorProto.FLOAT, None)
    bodies = {"then_branch": node("Tanh", ["e"], "i", "taken"), "else_branch": node("Neg", ["e"], "i", "left")}
    graphs = {key: onnx.helper.make_graph([each], key, [], [made]) for key, each in bodies.items()}
    proto = network()
    nodes = [*proto.graph.node[:5], node("If", ["yes"], "i", "if", **graphs), node("Add", ["i", "d"], "f", "sum")]
    nodes.append(proto.graph.node[6])
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(True), "yes"))
    recipe = Recipe(layers={"branch": {"drop": DropEntry(True)}})

    twin = twin_of(frontends.open(proto), recipe, OPTIONS)

    libraries = tilewright.compile(proto, recipe=recipe, threads=1), tilewright.compile(twin.proto, threads=1)
    dropped, reference = (library.run({"x": SAMPLES[0]})["y"] for library in libraries)
    np.testing.assert_allclose(dropped, reference, atol=1e-5)
