"""Compiling with a recipe: the numbers of the quantized model, and recipes that do not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from exact_integers import exact_session
from pruned_network import OTHER_READERS
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.build import build
from tilewright.compiler.calibration.as_compiled import as_compiled
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.identity import identity_of
from tilewright.compiler.recipes.quantized_onnx import quantized_model
from tilewright.compiler.recipes.recipe import (
    AT_RUN_TIME,
    OF_TENSORS,
    ActivationsEntry,
    DropEntry,
    FloatEntry,
    KeepEntry,
    ModelIdentity,
    PrecisionEntry,
    RankEntry,
    Recipe,
    SparsityEntry,
    TensorEntry,
    WeightsEntry,
)
from tilewright.compiler.verification.reference_engines import open_as_written
from tilewright.errors import RecipeError, RecipeWarning

RNG = np.random.default_rng(3)
ALWAYS = "place_pairs{always=True}"


def network() -> Any:
    """Convolutions with a residual, a pool, a concatenation, and a dense layer behind a mean."""
    sizes = {"w0": (24, 3, 3, 3), "b0": (24,), "w1": (24, 24, 3, 3), "b1": (24,), "w2": (40, 48, 1, 1), "w3": (40, 10)}
    weights = {
        name: (RNG.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype("f4")
        for name, shape in sizes.items()
    }
    return model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "first", pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], "r0", "relu0"),
            node("MaxPool", ["r0"], "p0", "pool", kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["p0", "w1", "b1"], "c1", "second", pads=[1, 1, 1, 1]),
            node("Add", ["c1", "p0"], "a1", "residual"),
            node("Relu", ["a1"], "r1", "relu1"),
            node("Concat", ["p0", "r1"], "j", "join", axis=1),
            node("Conv", ["j", "w2"], "c2", "third"),
            node("GlobalAveragePool", ["c2"], "g", "mean"),
            node("Flatten", ["g"], "f", "flat"),
            node("MatMul", ["f", "w3"], "y", "head"),
        ],
        {"x": ("float32", (2, 3, 16, 16))},
        {"y": ("float32", (2, 10))},
        weights,
    )


RECIPE = Recipe(
    ModelIdentity(),
    {
        "x": TensorEntry(8, 0.03, 5),
        "r0": TensorEntry(8, 0.02, -128),
        "p0": TensorEntry(8, 0.02, -128),
        "r1": TensorEntry(8, 0.02, -128),
        "j": TensorEntry(8, 0.02, -128),
        "g": TensorEntry(8, 0.004, 0),
    },
    {name: {"weights": WeightsEntry()} for name in ("first", "second", "third", "head")},
)


def compiled(recipe: Recipe | None, passes: tuple[str, ...] = (ALWAYS,)) -> tilewright.CompiledModel:
    return tilewright.compile(network_model(), recipe=recipe, passes=passes if recipe else (), threads=1)


_MADE: list[Any] = []


def network_model() -> Any:
    if not _MADE:
        _MADE.append(network())
    return _MADE[0]


def test_the_numbers_are_those_of_the_exported_model() -> None:
    x = RNG.uniform(-3, 3, (2, 3, 16, 16)).astype("f4")
    exported = quantized_model(frontends.open(network_model()), RECIPE)
    session = exact_session(exported.SerializeToString())
    reference = session.run(None, {"x": x})[0]
    quantized = compiled(RECIPE).run({"x": x})["y"]
    exact = compiled(None).run({"x": x})["y"]

    # A value half-way between two integers may go either way: a unit of the dense layer's operand, 0.004.
    np.testing.assert_allclose(quantized, reference, atol=0.01)
    assert np.abs(reference - exact).max() > 0.01


@pytest.mark.parametrize(("alpha", "beta"), [(-0.7, 1.0), (1.0, 0.3), (3.0, -2.0)])
def test_products_with_factors_are_quantized(alpha: float, beta: float) -> None:
    weights = {"w": RNG.standard_normal((16, 24)).astype("f4"), "b": RNG.standard_normal(24).astype("f4")}
    dense = node("Gemm", ["x", "w", "b"], "y", "dense", alpha=alpha, beta=beta)
    made = model([dense], {"x": ("float32", (4, 16))}, {"y": ("float32", (4, 24))}, weights)
    recipe = Recipe(tensors={"x": TensorEntry(8, 0.03, 5)}, layers={"dense": {"weights": WeightsEntry()}})
    x = RNG.uniform(-3, 3, (4, 16)).astype("f4")
    ours = tilewright.compile(made, recipe=recipe, passes=(ALWAYS,), threads=1).run({"x": x})["y"]
    written = open_as_written(quantized_model(frontends.open(made), recipe).SerializeToString()).run({"x": x})["y"]

    np.testing.assert_allclose(ours, written, atol=1e-3)
    exact = alpha * (x @ weights["w"]) + beta * weights["b"]
    assert 1e-2 < np.abs(written - exact).max() < 0.05 * np.abs(exact).max()


def test_layers_that_are_computed_once_are_what_the_first_is() -> None:
    nodes = [node("MatMul", ["x", "w"], output, output) for output in "ab"]
    made = model(
        [*nodes, node("Relu", ["b"], "r", "relu"), node("Add", ["a", "r"], "y", "sum")],
        {"x": ("float32", (4, 16))},
        {"y": ("float32", (4, 8))},
        {"w": RNG.standard_normal((16, 8)).astype("f4")},
    )
    layers = {name: {"weights": WeightsEntry()} for name in "ab"}
    recipe = Recipe(tensors={"x": TensorEntry(8, 0.03, 5)}, layers=layers)
    options = CompileOptions(threads=1)
    assert as_compiled(frontends.open(made), recipe, options, always=True).layers == layers


def test_a_tensor_that_only_layers_of_floats_read_has_no_pair() -> None:
    layers = {**RECIPE.layers, "third": {"weights": WeightsEntry(), "float": FloatEntry("a test")}}
    written = quantized_model(frontends.open(network_model()), replace(RECIPE, layers=layers))
    pairs = {each.input[0] for each in written.graph.node if each.op_type == "QuantizeLinear"}
    assert pairs == {"x", "r0", "p0", "g"}


@pytest.mark.parametrize("read", OTHER_READERS)
def test_what_others_read_is_exported_with_the_integers(read: Any) -> None:
    proto = onnx.ModelProto.FromString(network_model().SerializeToString())
    read(proto, "w0")
    exported = quantized_model(frontends.open(proto), RECIPE)
    values = exact_session(exported.SerializeToString()).run(None, {"x": np.ones((2, 3, 16, 16), "f4")})
    assert len(values) == len(proto.graph.output)


def test_layers_are_integers() -> None:
    kept: dict[str, str] = {}
    made = build(network_model(), None, CompileOptions(recipe=RECIPE, passes=(ALWAYS,), threads=1), stop_after="passes")
    kept.update(made.kept_float)

    assert set(kept) == {"first", "second", "third", "head"}
    assert not any(kept.values())


def test_an_empty_recipe_changes_no_byte(tmp_path: Path) -> None:
    files = []
    for name, recipe in (("a", None), ("b", Recipe())):
        (tmp_path / name).mkdir()
        build(network_model(), tmp_path / name / "net.so", CompileOptions(recipe=recipe, threads=1))
        files.append((tmp_path / name / "net.so").read_bytes())
    assert files[0] == files[1]


def test_a_layer_that_stays_float_and_other_weights() -> None:
    x = RNG.uniform(-3, 3, (2, 3, 16, 16)).astype("f4")
    floats = {name: {**entry, "float": FloatEntry("a test")} for name, entry in RECIPE.layers.items()}
    exact = compiled(None).run({"x": x})["y"]
    np.testing.assert_array_equal(compiled(replace(RECIPE, layers=floats), ()).run({"x": x})["y"], exact)

    zeros = np.zeros((40, 10), "f4")
    assert not compiled(Recipe(arrays={"w3": zeros}), ()).run({"x": x})["y"].any()


@pytest.mark.parametrize(
    ("recipe", "what"),
    [
        (Recipe(tensors={"r9": TensorEntry(8, 1.0, 0)}), "no tensor 'r9'"),
        (Recipe(layers={"firts": {}}), "no layer 'firts'"),
        (Recipe(arrays={"w9": np.zeros(3)}), "no weights 'w9'"),
        (Recipe(layers={"first": {"weights": WeightsEntry(), "activations": ActivationsEntry()}}), "no rows"),
        (Recipe(layers={"head": {"activations": ActivationsEntry()}}), "bits of weights"),
        (Recipe(layers={"head": {"activations": ActivationsEntry(OF_TENSORS)}}), "no product of two tensors"),
    ],
)
def test_what_the_model_has_not(recipe: Recipe, what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        compiled(recipe, ())


@pytest.mark.parametrize(
    ("section", "entry"),
    [
        ("weights", WeightsEntry()),
        ("activations", ActivationsEntry(OF_TENSORS)),
        ("activations", ActivationsEntry(AT_RUN_TIME)),
        ("sparsity", SparsityEntry("unstructured", 0.5)),
        ("rank", RankEntry(2)),
        ("precision", PrecisionEntry("bf16")),
    ],
)
@pytest.mark.parametrize("name", ["relu0", "residual", "pool"])
def test_nodes_that_are_no_layers(section: str, entry: Any, name: str) -> None:
    with pytest.raises(RecipeError, match=rf"'{section}' is for .*, which this node of the model is not") as raised:
        compiled(Recipe(layers={name: {section: entry}}), ())
    assert name in str(raised.value)


@pytest.mark.parametrize("entry", [KeepEntry((0, 1)), DropEntry(True), RankEntry(2), WeightsEntry()])
def test_nodes_that_share_a_name(entry: Any) -> None:
    proto = onnx.ModelProto.FromString(network_model().SerializeToString())
    proto.graph.node[3].name = "first"
    with pytest.raises(RecipeError, match="which this node of the model is not"):
        tilewright.compile(proto, recipe=Recipe(layers={"first": {"some": entry}}), threads=1)


def test_weights_that_are_no_numbers_have_no_zeros_to_choose() -> None:
    proto = onnx.ModelProto.FromString(network_model().SerializeToString())
    (head,) = (tensor for tensor in proto.graph.initializer if tensor.name == "w3")
    head.CopyFrom(onnx.numpy_helper.from_array(np.full((40, 10), np.nan, "f4"), "w3"))
    recipe = Recipe(layers={"head": {"sparsity": SparsityEntry("unstructured", 0.5)}})
    with pytest.raises(RecipeError, match="finite"):
        tilewright.compile(proto, recipe=recipe, threads=1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_new_weights_that_are_no_numbers(value: float) -> None:
    array = np.zeros((40, 10), "f4")
    array[3, 4] = value
    with pytest.raises(RecipeError, match="not finite"):
        compiled(Recipe(arrays={"w3": array}), ())


def test_another_model_with_the_same_names() -> None:
    other = replace(RECIPE, model=ModelIdentity("net", "0" * 64))
    with pytest.warns(RecipeWarning, match="another file"):
        build(network_model(), None, CompileOptions(recipe=other), stop_after="import")
    same = replace(RECIPE, model=identity_of(frontends.open(network_model())))
    build(network_model(), None, CompileOptions(recipe=same), stop_after="import")


def test_weights_alone() -> None:
    """A layer whose weights are blocks of 4 bits beside one that stays float, though its weights could be integers."""
    weights = {name: (RNG.standard_normal((256, 256)) / 16).astype("f4") for name in ("v", "w")}
    two = model(
        [node("MatMul", ["x", "v"], "h", "small"), node("MatMul", ["h", "w"], "y", "exact")],
        {"x": ("float32", (1, 256))},
        {"y": ("float32", (1, 256))},
        weights,
    )
    recipe = Recipe(
        layers={"small": {"weights": WeightsEntry(4, "block32")}, "exact": {"float": FloatEntry("asked for")}}
    )
    made = build(two, None, CompileOptions(recipe=recipe, threads=1), stop_after="plan")

    assert made.kept_float == {"small": ""}
    assert made.plan is not None
    assert made.plan.constants.nbytes == 256 * 256 * 4 + 256 * 256 // 2 + 256 * 8 * 4


@pytest.mark.parametrize(("cpu", "narrow"), [("sapphirerapids", 1), ("haswell", 0)])
def test_one_layer_multiplies_in_bfloat16_where_the_target_can(cpu: str, narrow: int) -> None:
    recipe = Recipe(layers={"second": {"precision": PrecisionEntry("bf16")}})
    options = CompileOptions(target="x86_64-linux-gnu", cpu=cpu, recipe=recipe, threads=1)

    made = build(network(), None, options, stop_after="passes")

    assert made.module is not None
    kernels = [str(name.name_hint) for name, each in made.module.functions.items() if "bfloat16" in each.script()]
    products = [name for name in kernels if "conv" in name or "matmul" in name]
    assert len(products) == narrow, kernels
