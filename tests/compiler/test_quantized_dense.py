"""`compile --quantize` without a recipe: dense layers of integers by every instruction set, and what stays float."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from command_line import fails
from small_models import model, node
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.cli.main import run
from tilewright.compiler.library.artifact import load
from tilewright.compiler.options import CompileOptions
from tilewright.ir_passes.dialect.quantized_arithmetic import dequantized, quantized, row_scale
from tilewright.ir_passes.quantization.quantize_weights import rounded
from tilewright.targets.host import read_host

RNG = np.random.default_rng(5)
WEIGHTS = (RNG.standard_normal((300, 80)) / 17).astype("f4")
BIAS = RNG.standard_normal(80).astype("f4")


def dense(rows: int) -> Any:
    return model(
        [node("MatMul", ["x", "w"], "m", "dense"), node("Add", ["m", "b"], "y", "bias")],
        {"x": ("float32", (rows, 300))},
        {"y": ("float32", (rows, 80))},
        {"w": WEIGHTS, "b": BIAS},
    )


@pytest.mark.parametrize("cpu", ["x86-64", "haswell", "icelake-server", "znver5"])
def test_scales_of_rows_are_numpys_bit_for_bit(cpu: str, tmp_path: Path) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=2)
    if not set(target.for_dtypes({"uint8", "int8"}).required_features) <= read_host().features:
        pytest.skip(f"this processor is no {cpu}")

    def always(passes: Any) -> Any:
        return [
            replace(each, gains=lambda call: True) if each.name == "quantize_dynamically" else each for each in passes
        ]

    build(dense(5), tmp_path / "net.so", CompileOptions(target=target, quantize="dynamic"), passes=always)
    x = (RNG.standard_normal((5, 300)) * RNG.uniform(1e-3, 1e3, (5, 1))).astype("f4")
    x[3] = 0
    integers, columns = rounded(WEIGHTS[None], 8)
    scale = row_scale(x)
    left = quantized(x, scale, np.asarray(128), "uint8", 1, 255).astype("int32") - 128
    expected = dequantized(left @ integers[0].astype("int32"), scale * columns[0], np.asarray(0), "float32") + BIAS
    np.testing.assert_array_equal(load(tmp_path / "net.so").run({"x": x})["y"], expected)


@pytest.mark.parametrize(("quantize", "most"), [("weights-int8", 0.01), ("weights-int4", 0.15), ("dynamic", 0.02)])
def test_one_row(quantize: str, most: float) -> None:
    x = RNG.standard_normal((1, 300)).astype("f4")
    exact = x.astype("f8") @ WEIGHTS + BIAS
    library, floats = tilewright.compile(dense(1), quantize=quantize), tilewright.compile(dense(1))
    error = np.abs(library.run({"x": x})["y"] - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < most
    assert library.signature.weights_bytes < floats.signature.weights_bytes * (0.25 if "4" in quantize else 0.3)


def test_where_rows_are_many_weights_stay_float() -> None:
    made = build(dense(2000), None, CompileOptions(quantize="weights-int4", threads=1), stop_after="plan")
    assert made.plan is not None and made.plan.constants.nbytes >= WEIGHTS.nbytes


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(dense(1).SerializeToString())
    command = ["compile", str(path), "-o", str(tmp_path / "net"), "--emit", "bench", "--threads", "1"]
    assert run([*command, "--quantize", "weights-int4"]) == 0
    library = str(tmp_path / "net.so")
    assert run(["compile", str(path), "-o", library, "--quantize", "weights-int4"]) == 0
    assert run(["verify", library, str(path)]) == 0
    assert run(["inspect", library]) == 0
    assert "precision fp32, weights-int4" in capsys.readouterr().out
    fails(capsys, [*command, "--quantize", "weights-int3"], 4, "no such recipe")
    with pytest.raises(tilewright.errors.UsageError, match="weights-int8, weights-int4, dynamic"):
        CompileOptions(quantize="int8")


def test_of_a_range_of_rows() -> None:
    open_rows = dense(1)
    for each in (*open_rows.graph.input, *open_rows.graph.output):
        each.type.tensor_type.shape.dim[0].dim_param = "N"
    library = tilewright.compile(open_rows, ranges={"N": (1, 4)}, quantize="weights-int8", threads=1)
    for rows in (1, 3):
        x = RNG.standard_normal((rows, 300)).astype("f4")
        exact = x.astype("f8") @ WEIGHTS + BIAS
        assert 1e-5 < np.abs(library.run({"x": x})["y"] - exact).max() / np.abs(exact).max() < 0.01
