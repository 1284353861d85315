"""A float model becomes integers: the accuracy it keeps, and what stops on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tilewright
from exact_integers import exact_session
from quantized_digits import ALWAYS, DENSE, DIGITS, OPTIONS, SAMPLES, digits, library, quantized
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.calibration import tapped
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.cli.main import run
from tilewright.compiler.recipe_check.check import check_quantized
from tilewright.compiler.recipes.quantized_onnx import quantized_model
from tilewright.compiler.recipes.recipe import OF_TENSORS, ActivationsEntry, FloatEntry, Recipe
from tilewright.compiler.reports import quantization_check, quantization_page, quantization_report
from tilewright.errors import CalibrationError, UsageError


def classes(run: Any) -> np.ndarray:
    images, _ = digits()
    return np.array([run(image[None]).argmax() for image in images[80:]])


def test_digits_are_read_as_well_as_before() -> None:
    _, labels = digits()
    exact = tilewright.compile(DIGITS, threads=1)
    integers, floats = (classes(lambda x, each=each: each.run({"image": x})["logits"]) for each in (library(), exact))

    assert (integers == floats).mean() >= 0.985
    assert (integers == labels[80:]).mean() >= (floats == labels[80:]).mean() - 0.003
    found = quantized()
    assert found.metrics is not None and found.metrics.decibels > 25 and found.metrics.top1 == 1
    assert (found.calibrated, found.held) == (60, 20)
    assert sum(not layer.kept_float for layer in found.layers) >= 4


def test_onnx_runtime_computes_the_same_from_the_exported_model() -> None:
    images, _ = digits()
    exported = quantized_model(frontends.open(DIGITS), quantized().recipe)
    session = exact_session(exported.SerializeToString())
    theirs = classes(lambda x: session.run(None, {"image": x})[0])
    ours = classes(lambda x: library().run({"image": x})["logits"])
    assert (theirs == ours).mean() >= 0.99
    largest, difference = 0.0, 0.0
    for image in images[80:100]:
        a, b = library().run({"image": image[None]})["logits"], session.run(None, {"image": image[None]})[0]
        largest, difference = max(largest, float(np.abs(b).max())), max(difference, float(np.abs(a - b).max()))
    assert difference < 0.05 * largest


@cache
def dense_recipe() -> Recipe:
    return quantize(DENSE, SAMPLES, Request(OPTIONS, always=True, details=False)).recipe


def test_a_model_of_an_older_opset_is_converted_for_other_runtimes() -> None:
    opened = frontends.open(DENSE)
    older = onnx.ModelProto()
    older.CopyFrom(DENSE)
    older.opset_import[0].version = 12
    models = [quantized_model(each, dense_recipe()) for each in (opened, frontends.open(older))]
    outputs = [
        onnxruntime.InferenceSession(each.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": SAMPLES[0]}
        )[0]
        for each in models
    ]
    np.testing.assert_allclose(*outputs, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_samples_that_show_no_range(value: float) -> None:
    same = [np.full((4, 32), value, "float32")] * 4
    with pytest.raises(CalibrationError, match="all 4 samples are the same"):
        quantize(DENSE, same, Request(OPTIONS, details=False))
    assert quantize(DENSE, [*same, SAMPLES[0]], Request(OPTIONS, always=True, details=False)).recipe.layers


def test_a_tensor_of_one_value_has_no_range() -> None:
    rng = np.random.default_rng(4)
    weights = {name: rng.standard_normal((32, 16)).astype("f4") for name in ("w", "v")}
    nodes = [
        node("MatMul", ["x", "w"], "a", "first"),
        node("MatMul", ["z", "v"], "b", "second"),
        node("Add", ["a", "b"], "y", "sum"),
    ]
    made = model(nodes, dict.fromkeys(("x", "z"), ("float32", (4, 32))), {"y": ("float32", (4, 16))}, weights)
    zeros = np.zeros((4, 32), "f4")
    asked = Request(OPTIONS, always=True, details=False)
    recipe = quantize(made, [{"x": each, "z": zeros} for each in SAMPLES], asked).recipe
    assert "float" not in recipe.layers["first"] and "z" not in recipe.tensors
    entry = recipe.layers["second"]["float"]
    assert isinstance(entry, FloatEntry) and "'z' is 0 in all samples" in entry.why
    with pytest.raises(CalibrationError, match="all tensors that layers read have one value"):
        quantize(made, [{"x": zeros + seed, "z": zeros} for seed in (0, 0, 0, 0, 0, 1)], asked)


def test_the_report_shows_each_layer() -> None:
    found = quantized()
    data = quantization_report.to_json(found)
    json.dumps(data, allow_nan=False)
    layers = {each["name"]: each for each in data["layers"]}
    integers = [each for each in layers.values() if each["kept_float"] is None]
    assert all(each["alone_db"] > 20 and each["alone_at_end_db"] > 20 for each in integers)
    assert all(each["quantized_bytes"] < each["float_bytes"] for each in integers)
    # Without one layer's error less is left than with all of them, for the layer that does most.
    assert max(each["without_db"] for each in integers) > found.metrics.decibels  # type: ignore[union-attr]
    assert data["worst_first"][0] == min(integers, key=lambda each: each["alone_db"])["name"]
    text = "\n".join(part if isinstance(part, str) else part.plain() for part in quantization_report.tables(found))
    assert "top-1 agrees in 100.00%" in text and data["worst_first"][0] in text
    page = quantization_page.render(found)
    assert page.count("<svg") >= 3 and all(each["name"] in page for each in layers.values())


def test_a_layer_that_stays_float() -> None:
    found = quantize(DENSE, SAMPLES, Request(OPTIONS, always=True, keep_float=["second"], details=False))
    assert [(each.name, each.kept_float) for each in found.layers][1] == ("second", "asked for")
    assert sum(each.kept_float == "" for each in found.layers) == 2
    with pytest.raises(UsageError, match="no layer 'nothing'"):
        quantize(DENSE, SAMPLES, Request(OPTIONS, keep_float=["nothing"]))


def test_a_layer_that_would_lose_too_much_stays_float() -> None:
    found = quantize(DENSE, SAMPLES, Request(OPTIONS, always=True, least_decibels=45.0, details=False))
    kept = {each.name: each.kept_float for each in found.layers}
    assert any("less than 45" in why for why in kept.values()) and found.recipe.layers["first"].keys() >= {"weights"}


def interrupted(images: np.ndarray, after: int) -> Iterator[np.ndarray]:
    for number, image in enumerate(images):
        if number == after:
            raise KeyboardInterrupt
        yield image


def test_what_was_calibrated_before_an_interrupt_is_not_calibrated_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tilewright.compiler.calibration import collect

    monkeypatch.setattr(collect, "_FLUSH_SECONDS", 0.0)
    request = Request(OPTIONS, always=True, corrections=(), details=False, state=tmp_path / "state.npz")
    with pytest.raises(KeyboardInterrupt):
        quantize(DENSE, interrupted(SAMPLES, 9), request)
    assert request.state is not None and request.state.is_file()

    added = 0
    add = collect.TensorStatistics.add

    def counted(self: Any, values: Any) -> None:
        nonlocal added
        added += 1
        add(self, values)

    monkeypatch.setattr(collect.TensorStatistics, "add", counted)
    found = quantize(DENSE, SAMPLES, request)
    tensors = len({layer.root for layer in found.layers})
    assert added == (9 - 7) * tensors  # of twelve, three are held out; seven of the other nine were seen
    assert not request.state.exists()
    monkeypatch.undo()
    assert found.recipe == quantize(DENSE, SAMPLES, replace(request, state=None)).recipe


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (np.zeros((1, 4, 32), "f4"), "holds 1 samples"),
        (np.zeros((0, 4, 32), "f4"), "holds 0 samples"),
        (np.zeros((4, 4, 33), "f4"), "array"),
        (np.full((4, 4, 32), np.nan, "f4"), "NaN"),
    ],
)
def test_data_that_does_not_do(data: np.ndarray, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tapped, "build", None)  # it is told before anything is compiled
    with pytest.raises(CalibrationError, match=what):
        quantize(DENSE, data, Request(OPTIONS, state=tmp_path / "state.npz"))
    assert not list(tmp_path.iterdir())


def test_a_model_that_makes_nan_of_its_samples() -> None:
    made = model(
        [node("Log", ["x"], "l", "log"), node("MatMul", ["l", "w"], "y", "dense")],
        {"x": ("float32", (1, 16))},
        {"y": ("float32", (1, 16))},
        {"w": np.eye(16, dtype="f4")},
    )
    with pytest.raises(CalibrationError, match="tensor 'l'"):
        quantize(made, -1 - np.arange(64, dtype="f4").reshape(4, 16), Request(OPTIONS, always=True))


def test_a_model_without_layers() -> None:
    made = model([node("Relu", ["x"], "y", "relu")], {"x": ("float32", (1, 4))}, {"y": ("float32", (1, 4))})
    with pytest.raises(UsageError, match="no product or convolution"):
        quantize(made, np.ones((4, 4), "f4"), Request(OPTIONS, always=True))


def test_a_layer_that_stays_float_keeps_its_own_bias() -> None:
    recipe = dense_recipe()
    others = {name: array for name, array in recipe.arrays.items() if name != "c1"}
    assert "c1" in recipe.arrays and others.keys() <= {"w2"}  # of another layer, rounded by second order
    shifted = replace(recipe, arrays={**recipe.arrays, "c1": recipe.arrays["c1"] + 1})
    by_hand = replace(shifted, layers={**recipe.layers, "second": {**recipe.layers["second"], "float": FloatEntry()}})

    def outputs(each: Recipe) -> Any:
        return tilewright.compile(DENSE, recipe=each, passes=ALWAYS, threads=1).run({"x": SAMPLES[0]})["y"]

    np.testing.assert_array_equal(outputs(by_hand), outputs(replace(by_hand, arrays=others)))
    assert np.abs(outputs(shifted) - outputs(recipe)).max() > 0.1


def attending() -> onnx.ModelProto:
    """Attention of two heads between dense layers."""
    rng = np.random.default_rng(7)
    weights = {name: (rng.standard_normal((32, 32)) / 5).astype("f4") for name in ("wq", "wk", "wv", "wo")}
    shapes = {"split": np.array([1, 12, 2, 16]), "joined": np.array([1, 12, 32]), "root": np.float32(0.25)}

    def heads(name: str, order: list[int]) -> list[onnx.NodeProto]:
        return [
            node("MatMul", ["x", f"w{name}"], f"{name}0", f"{name}_dense"),
            node("Reshape", [f"{name}0", "split"], f"{name}1", f"{name}_heads"),
            node("Transpose", [f"{name}1"], f"{name}2", f"{name}_turned", perm=order),
        ]

    return model(
        [
            *(*heads("q", [0, 2, 1, 3]), *heads("k", [0, 2, 3, 1]), *heads("v", [0, 2, 1, 3])),
            node("MatMul", ["q2", "k2"], "s0", "scores"),
            node("Mul", ["s0", "root"], "s1", "scale"),
            node("Softmax", ["s1"], "p", "softmax", axis=-1),
            node("MatMul", ["p", "v2"], "a0", "values"),
            node("Transpose", ["a0"], "a1", "back", perm=[0, 2, 1, 3]),
            node("Reshape", ["a1", "joined"], "a2", "together"),
            node("MatMul", ["a2", "wo"], "y", "out"),
        ],
        {"x": ("float32", (1, 12, 32))},
        {"y": ("float32", (1, 12, 32))},
        {**weights, **shapes},
    )


def test_products_of_two_activations() -> None:
    made, samples = attending(), np.random.default_rng(8).standard_normal((16, 1, 12, 32)).astype("f4")
    findings = quantize(made, samples, Request(OPTIONS, always=True))
    recipe, layers = findings.recipe, {each.name: each for each in findings.layers}

    assert recipe.layers["scores"] == recipe.layers["values"] == {"activations": ActivationsEntry(OF_TENSORS)}
    # What is multiplied with others has no zero point, so that no sums of rows are needed.
    assert recipe.tensors["k0"].zero_point == recipe.tensors["v0"].zero_point == 0 != recipe.tensors["p"].zero_point
    # Within attention, where the unit of this machine is faster, queries and keys are integers; values are floats.
    assert layers["values"].kept_float and layers["q_dense"].kept_float == layers["out"].kept_float == ""
    error = layers["scores"].error
    assert layers["scores"].kept_float or (error is not None and 25 < error.alone.decibels < 60)

    compiled = tilewright.compile(made, recipe=recipe, passes=ALWAYS, threads=1)
    given = [{"x": x} for x in samples[:4]]
    check = check_quantized(compiled, frontends.open(made), recipe, given, options=OPTIONS, bisect=True)
    assert check.passed and check.metrics.decibels > 25, quantization_check.tables("x.so", check)
    assert not any(each.kernel_is_wrong for each in check.layers)
    assert pairs_of(quantized_model(frontends.open(made), recipe)) == {"x", "q0", "k0", "v0", "p", "a0"}


def pairs_of(written: onnx.ModelProto) -> set[str]:
    return {each.input[0] for each in written.graph.node if each.op_type == "QuantizeLinear"}


def test_what_is_exported_has_the_layers_that_a_library_has(tmp_path: Path) -> None:
    net, data, recipe, q = (str(tmp_path / name) for name in ("net.onnx", "data.npy", "r.json", "q.onnx"))
    onnx.save(attending(), net)
    np.save(data, np.random.default_rng(8).standard_normal((8, 1, 12, 32)).astype("f4"))
    more = ["--export-onnx", q, "--no-details", "--no-correct", "--threads", "1"]
    assert run(["quantize", net, "--calibration", data, "-o", recipe, *more]) == 0
    assert pairs_of(onnx.load(q)) == {"x", "q0", "k0", "a0"}  # values of attention stay floats


def test_a_product_of_two_activations_that_stays_float() -> None:
    made, samples = attending(), np.random.default_rng(8).standard_normal((8, 1, 12, 32)).astype("f4")
    request = Request(OPTIONS, always=True, details=False, corrections=(), keep_float=("scores", "values"))
    recipe = quantize(made, samples, request).recipe
    assert "k0" not in recipe.tensors and not recipe.products
