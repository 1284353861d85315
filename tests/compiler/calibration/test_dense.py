"""`quantize --weights-only` and `--dynamic`: recipes of dense layers, with samples and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from command_line import fails
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.calibration.dense import quantize_dense
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.cli.main import run
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipe_check.check import check_quantized
from tilewright.compiler.recipes.dense import WAYS
from tilewright.errors import UsageError

RNG = np.random.default_rng(5)
OPTIONS = CompileOptions(threads=1)
SAMPLES = RNG.standard_normal((8, 1, 128)).astype("f4")


def network() -> onnx.ModelProto:
    """Three dense layers, the last a small one; of the second one input in each block of 32 outweighs all others."""
    weights = [(RNG.standard_normal(shape) / 11).astype("f4") for shape in ((128, 128), (128, 128), (128, 8))]
    weights[1][::32] *= 300
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Relu", ["a"], "b", "relu"),
            node("Gemm", ["b", "w1", "c1"], "c", "second", transB=1),
            node("Tanh", ["c"], "d", "tanh"),
            node("MatMul", ["d", "w2"], "y", "small"),
        ],
        {"x": ("float32", (1, 128))},
        {"y": ("float32", (1, 8))},
        {"w0": weights[0], "w1": np.ascontiguousarray(weights[1].T), "w2": weights[2], "c1": weights[0][0]},
    )


NETWORK = network()


@pytest.mark.parametrize(
    ("asked", "entry"),
    [
        ({"weights_only": "int4"}, {"weights": {"bits": 4, "granularity": "block32"}}),
        ({"dynamic": True}, {"weights": {"bits": 8}, "activations": "dynamic"}),
    ],
)
def test_without_samples_it_is_what_compile_does(asked: dict[str, Any], entry: dict[str, Any], tmp_path: Path) -> None:
    found = tilewright.quantize(NETWORK, output=tmp_path / "r.json", options=OPTIONS, **asked)
    assert json.loads((tmp_path / "r.json").read_text())["layers"] == {"first": entry, "second": entry}
    assert found.metrics is None and found.held == 0

    way = "dynamic" if "dynamic" in asked else f"weights-{asked['weights_only']}"
    by_recipe = tilewright.compile(NETWORK, recipe=tmp_path / "r.json", threads=1)
    by_way = tilewright.compile(NETWORK, quantize=way, threads=1)
    outputs = [each.run({"x": SAMPLES[0]})["y"] for each in (by_recipe, by_way)]
    np.testing.assert_array_equal(*outputs)
    samples = [{"x": x} for x in SAMPLES[:2]]
    check = check_quantized(by_recipe, frontends.open(NETWORK), found.recipe, samples, options=OPTIONS, bisect=True)
    assert check.is_as_written and not any(each.kernel_is_wrong for each in check.layers)
    assert len(check.layers) == sum(not each.kept_float for each in found.layers)


def test_with_samples_layers_that_lose_too_much_stay_float() -> None:
    found = tilewright.quantize(NETWORK, SAMPLES, weights_only="int4", options=OPTIONS)
    assert found.metrics is not None and (found.calibrated, found.held) == (6, 2)
    alone = {each.name: each.error.alone.decibels for each in found.layers if each.error is not None}
    assert 10 < alone["first"] < 30 < alone["second"] < 60

    strict = quantize_dense(NETWORK, WAYS["weights-int4"], SAMPLES, Request(OPTIONS, least_decibels=30))
    first, second = strict.layers
    assert "quantized it would have" in first.kept_float and first.error is None
    assert not second.kept_float and second.error is not None


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(NETWORK, tmp_path / "net.onnx")
    command = ["quantize", str(tmp_path / "net.onnx"), "-o", str(tmp_path / "r.json"), "--threads", "1"]
    exported = str(tmp_path / "q.onnx")
    assert run([*command, "--weights-only", "int8", "--keep-float", "first", "--export-onnx", exported]) == 0
    assert "without samples nothing is known of accuracy" in capsys.readouterr().out
    written = json.loads((tmp_path / "r.json").read_text())["layers"]
    assert written["first"]["float"] == "asked for" and "float" not in written["second"]
    assert [each.op_type for each in onnx.load(exported).graph.node].count("DequantizeLinear") == 1
    fails(capsys, command, 2, "--weights-only int8|int4 and --dynamic need none")
    fails(capsys, [*command, "--weights-only", "int3"], 2, "one of int8, int4")
    fails(capsys, [*command, "--weights-only", "int8", "--dynamic"], 2, "two ways")
    with pytest.raises(UsageError, match="samples of the model's inputs"):
        tilewright.quantize(NETWORK)
