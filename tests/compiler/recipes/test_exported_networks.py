"""Exported networks and libraries of one recipe agree: outputs of the model that layers read, branches around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import tilewright
from onnx import TensorProto, helper
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.recipes.quantized_onnx import quantized_model
from tilewright.compiler.recipes.recipe import ModelIdentity, Recipe, TensorEntry, WeightsEntry
from tilewright.compiler.verification.reference_engines import open_as_written

RNG = np.random.default_rng(0)
ALWAYS = "place_pairs{always=True}"


def several_outputs() -> Any:
    """Tensors that products read, and that the model gives: as they are, moved, and computed with."""
    weights = {name: RNG.standard_normal((16, 16)).astype("f4") for name in ("w0", "w1", "w2")}
    return model(
        [
            node("MatMul", ["x", "w0"], "c", "first"),
            node("Relu", ["c"], "r", "relu"),
            node("MatMul", ["r", "w1"], "y", "second"),
            node("Identity", ["x"], "same", "same"),
            node("Transpose", ["r"], "t", "turn"),
            node("Flatten", ["t"], "f", "flat"),
            node("MatMul", ["f", "w2"], "z", "third"),
            node("Neg", ["t"], "n", "negative"),
        ],
        {"x": ("float32", (16, 16))},
        dict.fromkeys(("y", "r", "same", "f", "z", "n"), ("float32", (16, 16))),
        weights,
    )


def test_a_library_and_the_exported_model_give_outputs_that_are_not_rounded() -> None:
    made = several_outputs()
    tensors = {"x": TensorEntry(8, 0.03, 5), "r": TensorEntry(8, 0.1, -128)}
    layers = {name: {"weights": WeightsEntry()} for name in ("first", "second", "third")}
    recipe = Recipe(ModelIdentity(), tensors, layers)
    x = RNG.uniform(-3, 3, (16, 16)).astype("f4")
    ours = tilewright.compile(made, recipe=recipe, passes=(ALWAYS,), threads=1).run({"x": x})
    written = open_as_written(quantized_model(frontends.open(made), recipe).SerializeToString()).run({"x": x})

    for name, array in written.items():
        np.testing.assert_allclose(ours[name], array, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(written["same"], x)
    np.testing.assert_array_equal(written["f"], written["r"].T)
    # What others compute with is rounded, moved or not.
    for scaled, is_rounded in ((written["r"] / 0.1, False), (written["n"] / 0.1, True)):
        assert (np.abs(scaled - np.rint(scaled)).max() < 1e-3) == is_rounded


def branching() -> Any:
    """A branch that reads a tensor which is quantized, and makes one: products around it, one inside."""
    weights = {name: (RNG.standard_normal((16, 16)) / 4).astype("f4") for name in ("w0", "w1", "w2")}
    inner = [node("MatMul", ["r", "w1"], "t", "inside")], [node("Neg", ["r"], "t", "negative")]
    result = helper.make_tensor_value_info("t", TensorProto.FLOAT, (16, 16))
    branches = [helper.make_graph(each, "branch", [], [result]) for each in inner]
    return model(
        [
            node("MatMul", ["x", "w0"], "c", "first"),
            node("Relu", ["c"], "r", "relu"),
            node("If", ["positive"], "i", "branch", then_branch=branches[0], else_branch=branches[1]),
            node("MatMul", ["i", "w2"], "y", "second"),
            node("MatMul", ["r", "w2"], "z", "third"),
        ],
        {"x": ("float32", (16, 16)), "positive": ("bool", ())},
        {"y": ("float32", (16, 16)), "z": ("float32", (16, 16))},
        weights,
    )


def test_what_is_around_branches_is_quantized() -> None:
    made = branching()
    tensors = {"x": TensorEntry(8, 0.03, 5), "r": TensorEntry(8, 0.03, -128), "i": TensorEntry(8, 0.03, 3)}
    layers = {name: {"weights": WeightsEntry()} for name in ("first", "second", "third")}
    recipe = Recipe(ModelIdentity(), tensors, layers)
    library = tilewright.compile(made, recipe=recipe, passes=(ALWAYS,), threads=1)
    exact = tilewright.compile(made, threads=1)
    written = open_as_written(quantized_model(frontends.open(made), recipe).SerializeToString())
    for positive in (True, False):
        given = {"x": RNG.uniform(-3, 3, (16, 16)).astype("f4"), "positive": np.array(positive)}
        ours, reference, floats = library.run(given), written.run(given), exact.run(given)
        for name in "yz":
            # A value half-way between two integers may go either way.
            assert np.abs(ours[name] - reference[name]).mean() < 1e-3 < np.abs(floats[name] - reference[name]).mean()
