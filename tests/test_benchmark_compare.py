"""The comparison's tables and checks, and its processes with ONNX Runtime in both seats."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tilewright.benchmarks import compare
from tilewright.benchmarks.compare import Measurement

MACHINE = {"cpu": "Some CPU", "cores": "2", "system": "Linux"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = x @ w, with inputs beside it."""
    weights = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "product.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    np.savez(path.with_suffix(".npz"), x=np.ones((2, 8), np.float32))
    return path


def test_engines_take_turns_in_their_own_processes(model: Path) -> None:
    processors = sorted(os.sched_getaffinity(0))[:1]
    (result,) = compare.measure(model, ["onnxruntime"], processors, rounds=3, seconds=0.01)
    assert result.problem == "" and result.version
    assert result.runs >= 9 and 0 < result.fastest_ms <= result.median_ms <= result.slowest_ms
    assert result.ratio == 1 and result.error == 0


def test_an_engine_that_cannot_load_the_model_is_a_row_with_the_reason(model: Path) -> None:
    model.write_bytes(b"not a model")
    processors = sorted(os.sched_getaffinity(0))[:1]
    (result,) = compare.measure(model, ["onnxruntime"], processors, rounds=1, seconds=0.01)
    assert result.runs == 0 and "onnxruntime cannot load the model" in result.problem


def test_what_was_measured_is_not_measured_again(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.json"
    arguments = [str(model), "--engines", "onnxruntime", "--rounds", "1", "--seconds", "0.01", "--out", str(out)]
    assert compare.main(arguments) == 0
    first = json.loads(out.read_text())["measurements"]
    assert compare.main(arguments) == 0
    assert json.loads(out.read_text())["measurements"] == first
    assert compare.main([*arguments, "--fresh"]) == 0
    assert json.loads(out.read_text())["measurements"] != first
    assert "| product | 1 |" in out.with_suffix(".md").read_text()
    assert "| product | 1 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("actual", "expected"),
    [([1.0, 2.0], 0.0), ([1.0, 1.0], 0.5), ([np.nan, 2.0], np.nan)],
)
def test_largest_error_is_relative_to_the_largest_reference(
    actual: list[float], expected: float, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", y=np.array(actual))
    np.savez(tmp_path / "b.npz", y=np.array([1.0, 2.0]))
    error = compare.largest_error(tmp_path / "a.npz", tmp_path / "b.npz")
    np.testing.assert_equal(error, expected)


def test_table_shows_times_ratio_and_what_went_wrong() -> None:
    own = Measurement("net", 1, "tilewright", "0.1", 2.0, 1.5, 2.5, 1.25, 3e-3, 9, problem="differs from onnxruntime")
    reference = Measurement("net", 1, "onnxruntime", "1", 1.6, 1.5, 1.75, 1.0, 0.0, 9)
    missing = Measurement("net", 1, "openvino", problem="not installed")
    table = compare.markdown(MACHINE, [own, reference, missing], "the command")
    assert "| net | 1 | 2.00 (1.00) **wrong** | 1.60 (0.25) | failed | 1.25 | 3.0e-03 |" in table
    assert "openvino: not installed" in table and "`the command`" in table


def test_more_threads_than_processors_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(["--threads", "100000"])
    assert ended.value.code == 2 and "--threads" in capsys.readouterr().err
