"""Corrections: each pays where a network has what it is for, and is left out where it would hurt."""

from __future__ import annotations

from collections.abc import Callable
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
from pruned_network import OTHER_READERS, network
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.calibration import balance, finished, rounding
from tilewright.compiler.calibration.dense import quantize_dense
from tilewright.compiler.calibration.findings import Findings
from tilewright.compiler.calibration.finished import Finished
from tilewright.compiler.calibration.layer_matrices import matrix_layers
from tilewright.compiler.calibration.network import network_of
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipe_check.check import check_quantized
from tilewright.compiler.recipes.dense import WAYS
from tilewright.compiler.recipes.files import read_recipe, write_recipe
from tilewright.compiler.recipes.fitting import fitting
from tilewright.compiler.recipes.quantized_onnx import quantized_model
from tilewright.compiler.recipes.recipe import BalanceEntry, Recipe, TensorEntry, WeightsEntry
from tilewright.compiler.reports import quantization_page, quantization_report
from tilewright.errors import RecipeError, UsageError
from tilewright.frontends.linear_layers import linear_layers
from tilewright.frontends.seams import seams_of
from tilewright.frontends.taps import exposed
from uneven_networks import block, floats, samples, separable

OPTIONS = CompileOptions(threads=1)
REQUEST = Request(OPTIONS, always=True, details=False)
ALWAYS = ("place_pairs{always=True}",)


class Exact:
    """All tensors of a model, by ONNX Runtime."""

    def __init__(self, opened: frontends.OpenedModel) -> None:
        names = [name for each in opened.proto.graph.node for name in each.output]
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self._names = names
        self._session = onnxruntime.InferenceSession(exposed(opened, names).proto.SerializeToString(), options)

    def all(self, sample: Any) -> dict[str, Any]:
        return {**sample, **dict(zip(self._names, self._session.run(self._names, sample), strict=True))}


def balance_of(made: onnx.ModelProto, granularity: str = "channel") -> balance.Balance:
    opened = frontends.open(made)
    network, given = network_of(opened), samples(made)
    return balance.balance_channels(
        network,
        matrix_layers(opened, OPTIONS, network.layers),
        tuple(seams_of(opened).values()),
        Exact(opened),  # type: ignore[arg-type]
        (given[8:], given[:8]),
        WeightsEntry(8, granularity),
        8,
        Finished(None, ""),
        lambda *_: None,
    )


def rounding_of(
    made: onnx.ModelProto,
    entry: WeightsEntry,
    reads: Callable[[str], TensorEntry | None] = lambda root: None,
    held: list[dict[str, Any]] | None = None,
    kept: Finished | None = None,
) -> rounding.Rounding:
    opened = frontends.open(made)
    network, given = network_of(opened), samples(made)
    subjects = [
        rounding.Subject(each, reads(each.node.root), entry)
        for each in matrix_layers(opened, OPTIONS, network.layers).values()
    ]
    exact: Any = Exact(opened)
    return rounding.round_weights(
        subjects, exact, given[8:], held or given[:8], kept or Finished(None, ""), lambda *_: None
    )


@pytest.mark.parametrize("read", OTHER_READERS)
def test_weights_that_others_read_are_not_rounded_for_one_layer(read: Any) -> None:
    proto = network()
    read(proto, "w1")
    opened = frontends.open(proto)
    assert set(matrix_layers(opened, OPTIONS, linear_layers(opened))) == {"stem", "hidden", "head"}


def test_a_depthwise_chain_is_balanced() -> None:
    found = balance_of(separable(1.5))
    assert list(found.entries) == ["c0", "c1"]
    assert all("smoothed" in entry.why or "equalized" in entry.why for entry in found.entries.values())
    assert found.kept == {"deep", "project"} and max(found.ratios.values()) < 0.3
    # One scale for all weights: those of the depthwise layer are as unlike as its channels.
    whole = balance_of(separable(1.5), "tensor")
    assert list(whole.entries) == ["c0", "c1"] and max(whole.ratios.values()) < 0.3


@pytest.mark.parametrize(("activation", "seams"), [("ReLU6", ["c0", "c1"]), ("swish", ["r0", "r1"])])
def test_channels_behind_other_activations_are_balanced(activation: str, seams: list[str]) -> None:
    """A ReLU6 ends elsewhere for each channel; a swish is multiplied, where integers read it."""
    made = separable(1.0, activation)
    found = balance_of(made)
    assert list(found.entries) == seams and max(found.ratios.values()) < 0.95
    opened, entry = frontends.open(made), {"weights": WeightsEntry()}
    recipe = Recipe(layers=dict.fromkeys(("deep", "project"), entry), balance=found.entries)
    kept = fitting(recipe, opened, {"deep": "integers are not faster for it", "project": ""}).balance
    assert list(kept) == (seams if activation == "ReLU6" else seams[1:])

    library = tilewright.compile(made, recipe=Recipe(balance=found.entries), threads=1)
    x = samples(made)[0]["x"]
    exact = Exact(opened).all({"x": x})["y"]
    np.testing.assert_allclose(library.run({"x": x})["y"], exact, atol=1e-5 * np.abs(exact).max())


def test_outlying_channels_are_smoothed() -> None:
    found = balance_of(block())
    factors = np.array(found.entries["n"].factors)
    others = np.delete(factors, [3, 17, 40])
    assert found.ratios["up"] < 0.3 and factors[[3, 17, 40]].min() > 5 * others.max()
    # A GELU takes no factors: they are multiplied with behind it.
    hidden = np.array(found.entries["t"].factors)
    assert found.ratios["down"] < 0.5 and hidden[[5, 50]].min() > 5 * np.delete(hidden, [5, 50]).mean()


def test_channels_that_are_alike_stay() -> None:
    found = balance_of(block(1.0))
    assert found.ratios["up"] > 0.9 and not found.entries


def scaled(root: str) -> TensorEntry:
    return TensorEntry(8, 0.05, 0)


@pytest.mark.parametrize(
    ("entry", "reads"),
    [
        (WeightsEntry(4), scaled),
        (WeightsEntry(4, "tensor"), scaled),
        (WeightsEntry(4, "block32"), lambda root: None),
        (WeightsEntry(8), lambda root: None),
    ],
)
def test_weights_are_rounded_with_care(entry: WeightsEntry, reads: Any) -> None:
    found = rounding_of(block(1.0), entry, reads)
    assert set(found.arrays) == {"w0", "w1"} and max(found.ratios.values()) < 0.9
    assert found.arrays["w0"].shape == (64, 48)


def test_moments_of_blocks_of_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there would be too many: what is rounded is about as good, by blocks that are whole blocks of weights."""
    whole = rounding_of(block(1.0), WeightsEntry(4, "block32")).ratios
    monkeypatch.setattr(rounding, "_MOST_COLUMNS", 40)
    monkeypatch.setattr(rounding, "_BLOCK", 32)
    found = rounding_of(block(1.0), WeightsEntry(4, "block32"))
    assert set(found.arrays) == {"w0", "w1"}
    assert all(whole[name] < ratio < 1 - 0.4 * (1 - whole[name]) for name, ratio in found.ratios.items())
    convolved = rounding_of(separable(0.0), WeightsEntry(4), lambda root: TensorEntry(8, 0.03, 0))
    assert convolved.arrays["w1"].shape == (24, 1, 3, 3)


def test_depthwise_weights_are_rounded_with_care() -> None:
    found = rounding_of(separable(0.0), WeightsEntry(4), lambda root: TensorEntry(8, 0.03, 0))
    assert found.ratios["deep"] < 0.95 and found.arrays["w1"].shape == (24, 1, 3, 3)


def test_weights_that_would_be_worse_stay() -> None:
    """Samples to judge by are of another kind than those that moments are of."""
    rng = np.random.default_rng(5)
    held = [{"x": rng.standard_normal((24, 48)).astype("f4")} for _ in range(8)]
    found = rounding_of(block(1.0), WeightsEntry(4, "block32"), held=held)
    assert found.ratios["up"] > 1 and "w0" not in found.arrays


def test_what_was_rounded_before_an_interrupt_is_not_rounded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finished, "_FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(rounding, "_MOST_BYTES", 1)  # a layer at a time
    own, called = rounding.Subject.rounded, list[str]()

    def stopped(self: Any, gram: Any) -> Any:
        called.append(self.name)
        if len(called) == 2:
            raise KeyboardInterrupt
        return own(self, gram)

    monkeypatch.setattr(rounding.Subject, "rounded", stopped)
    path, entry = tmp_path / "state.npz", WeightsEntry(4, "block32")
    with pytest.raises(KeyboardInterrupt):
        rounding_of(block(1.0), entry, kept=Finished(path, "one"))
    found = rounding_of(block(1.0), entry, kept=Finished(path, "one"))
    assert called == ["up", "down", "down"]
    expected = rounding_of(block(1.0), entry)
    assert found.ratios == expected.ratios
    np.testing.assert_array_equal(found.arrays["w0"], expected.arrays["w0"])
    assert "up" not in Finished(path, "another")


@cache
def plain_and_corrected() -> tuple[Findings, Findings]:
    made, given = block(), [each["x"] for each in samples(block())]
    plain = quantize(made, given, replace(REQUEST, corrections=()))
    return plain, quantize(made, given, replace(REQUEST, details=True))


def test_a_network_wins_by_them() -> None:
    plain, corrected = plain_and_corrected()
    assert plain.metrics is not None and corrected.metrics is not None
    assert corrected.metrics.decibels > plain.metrics.decibels + 6
    recipe = corrected.recipe
    assert list(recipe.balance) == ["n", "t"] and recipe.arrays and not plain.recipe.arrays
    whys = {name: sections["weights"].why for name, sections in recipe.layers.items()}
    assert all(why.startswith("channels: error 0.") for why in whys.values()) and "rounding: error 0." in str(whys)
    # What is measured layer by layer is of the corrected network.
    error = corrected.layers[0].error
    assert error is not None and error.alone.decibels > plain.metrics.decibels


def test_a_recipe_from_its_file_is_corrected_alike(tmp_path: Path) -> None:
    """Here, in the exported model, and where layers are looked at by themselves."""
    recipe = plain_and_corrected()[1].recipe
    write_recipe(recipe, tmp_path / "recipe.json")
    read = read_recipe(tmp_path / "recipe.json")
    assert read.balance == recipe.balance and read.layers == recipe.layers
    x = samples(block())[0]["x"]
    library = tilewright.compile(block(), recipe=read, passes=ALWAYS, threads=1)
    ours = library.run({"x": x})["y"]

    exact = Exact(frontends.open(block())).all({"x": x})["y"]
    exported = quantized_model(frontends.open(block()), read).SerializeToString()
    theirs = exact_session(exported).run(None, {"x": x})[0]
    for each in (ours, theirs):
        assert 0 < np.abs(each - exact).max() < 0.05 * np.abs(exact).max()
    check = check_quantized(library, frontends.open(block()), read, [{"x": x}], bisect=True, options=OPTIONS)
    assert check.is_as_written and check.layers
    assert not any(each.kernel_is_wrong for each in check.layers)
    assert all(each.against_float.decibels > 30 for each in check.layers)


def test_the_report_tells_what_was_corrected() -> None:
    found = plain_and_corrected()[1]
    text = "\n".join(quantization_report.headlines(found))
    assert "channels: corrected for 2 of 2 layers" in text and "rounding: corrected for" in text
    layers = quantization_report.to_json(found)["layers"]
    assert [each["corrections"][0]["kind"] for each in layers] == ["channels", "channels"]
    assert "<td>channels 0." in quantization_page.render(found)


def test_weights_alone_are_rounded_with_care() -> None:
    """In the library, too: it finds the integers again."""
    rng = np.random.default_rng(0)
    made = model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Tanh", ["a"], "t", "tanh"),
            node("MatMul", ["t", "w1"], "y", "second"),
        ],
        {"x": ("float32", (1, 256))},
        {"y": ("float32", (1, 256))},
        {"w0": floats(rng, 256, 256), "w1": floats(rng, 256, 256)},
    )
    mixing = rng.standard_normal((64, 256)) / 8
    noisy = rng.standard_normal((256, 1, 64)) @ mixing + 0.05 * rng.standard_normal((256, 1, 256))
    plain, rounded = (
        quantize_dense(made, WAYS["weights-int4"], list(noisy.astype("f4")), replace(REQUEST, corrections=kinds))
        for kinds in ((), ("rounding",))
    )
    assert plain.metrics is not None and rounded.metrics is not None
    assert rounded.metrics.decibels > plain.metrics.decibels + 3
    assert set(rounded.recipe.arrays) == {"w0", "w1"} and not any(each.kept_float for each in rounded.layers)


def test_a_balance_that_does_not_fit() -> None:
    for entry, what in (({"q": BalanceEntry((1.0,))}, "no such channels"), ({"n": BalanceEntry((1.0,))}, "1 factors")):
        with pytest.raises(RecipeError, match=what):
            tilewright.compile(block(), recipe=Recipe(balance=entry), threads=1)


def test_corrections_that_there_are_not() -> None:
    with pytest.raises(UsageError, match="'colours' is no correction"):
        replace(REQUEST, corrections=("colours",))
