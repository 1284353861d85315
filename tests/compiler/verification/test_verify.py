"""Verification against ONNX Runtime: it passes what is right, fails what is wrong, and draws inputs that fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from small_models import embedding, model, node, swish_network
from tilewright import frontends
from tilewright.compiler.inputs.input_ranges import integer_bounds
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.compiler.runners.local import LocalRunner
from tilewright.compiler.verification.verify import raise_if_failed
from tilewright.errors import ComparisonError, ToolError, UsageError


@pytest.fixture(scope="module")
def swish() -> tilewright.CompiledModel:
    return tilewright.compile(swish_network(), threads=1)


class Distorted(LocalRunner):
    """A place whose outputs are off by a factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self._factor = factor

    def run(self, library: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value * np.float32(self._factor) for name, value in super().run(library, inputs).items()}


def test_a_sound_library_passes(swish: tilewright.CompiledModel) -> None:
    result = tilewright.verify(swish, swish_network(), runs=2)

    assert result and not result.warnings
    assert [run.seed for run in result.runs] == [0, 1]
    assert 0 < result.worst()["y"].relative_error < 1e-5
    raise_if_failed(result, "here")


def test_a_wrong_one_fails(swish: tilewright.CompiledModel) -> None:
    result = tilewright.verify(swish, swish_network(), runner=Distorted(1.0002))

    assert not result
    with pytest.raises(ComparisonError, match="1 of 1 outputs"):
        raise_if_failed(result, "here")
    assert tilewright.verify(swish, swish_network(), runner=Distorted(1.0002), rtol=1e-3)


def test_another_model_is_refused(swish: tilewright.CompiledModel) -> None:
    with pytest.raises(UsageError, match="not compiled from this model"):
        tilewright.verify(swish, embedding(5))


def test_bound_inputs_are_asked_for() -> None:
    proto = model(
        [node("Mul", ["x", "scale"], "y", "mul")],
        {"x": ("float32", (4,)), "scale": ("float32", (4,))},
        {"y": ("float32", (4,))},
    )
    bound = {"scale": np.array([1, 2, 3, 4], np.float32)}
    library = tilewright.compile(proto, bindings=bound, threads=1)

    with pytest.raises(UsageError, match=r"--bind scale=@value\.npy"):
        tilewright.verify(library, proto)
    assert tilewright.verify(library, proto, bindings=bound)


def test_outputs_that_do_not_vary_are_warned_of() -> None:
    proto = model(
        [node("Clip", ["x", "low", "high"], "y", "clip")],
        {"x": ("float32", (4,))},
        {"y": ("float32", (4,))},
        {"low": np.float32(90), "high": np.float32(91)},
    )
    result = tilewright.verify(tilewright.compile(proto, threads=1), proto)

    assert result
    assert any("the same for all inputs" in warning for warning in result.warnings)


def test_without_onnxruntime_it_says_what_to_install(
    swish: tilewright.CompiledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)

    with pytest.raises(ToolError, match="pip install onnxruntime"):
        tilewright.verify(swish, swish_network())


def test_indices_stay_inside_the_tables_they_look_up() -> None:
    proto = embedding(7)
    bounds = integer_bounds(frontends.open(proto))

    assert bounds == {"ids": 7}
    assert tilewright.verify(tilewright.compile(proto, threads=1), proto)


def test_random_inputs() -> None:
    specs = [
        TensorSpec("x", (3, 400), "float32"),
        TensorSpec("input_ids", (2, 400), "int64"),
        TensorSpec("attention_mask", (2, 400), "int64"),
        TensorSpec("flag", (400,), "bool"),
        TensorSpec("small", (400,), "int8"),
    ]
    values = random_inputs(specs, 3, {"small": 5})

    assert {name: value.dtype.name for name, value in values.items()} == {spec.name: spec.dtype for spec in specs}
    assert abs(values["x"].mean()) < 0.1 and abs(values["x"].std() - 1) < 0.1
    assert values["input_ids"].min() == 0 and 90 < values["input_ids"].max() < 100
    assert set(np.unique(values["attention_mask"])) == {0, 1} and (values["attention_mask"][:, 0] == 1).all()
    assert set(np.unique(values["small"])) == set(range(5))
    assert len(np.unique(values["flag"])) == 2
    again = random_inputs(specs, 3, {"small": 5})
    assert all(np.array_equal(values[name], again[name]) for name in values)
    assert not np.array_equal(values["x"], random_inputs(specs, 4)["x"])


def test_a_model_with_weights_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "swish.onnx"
    onnx.save(swish_network(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)

    assert tilewright.verify(tilewright.compile(path, threads=1), path, runs=1)
