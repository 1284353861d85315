"""The command line: what each command prints; one screen and the right exit code for all that goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tilewright.compiler.cli import run

DIGITS = Path(__file__).parents[2] / "examples" / "models" / "digits_cnn.onnx"
MAX_LINES = 24
_MAIN = "from tilewright.compiler.cli import main; main()"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "digits.so"
    assert run(["compile", str(DIGITS), "-o", str(path), "--threads", "1"]) == 0
    return path


def fails(capsys: pytest.CaptureFixture[str], arguments: list[str | Path], code: int, *phrases: str) -> None:
    """Runs a command that must end with `code` and an error of one screen that says `phrases`."""
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert len(captured.err.splitlines()) <= MAX_LINES
    for phrase in phrases:
        assert phrase in captured.err, captured.err


def save(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], initializers: list[TensorProto]) -> Path:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


def with_external_data(folder: Path, location: str) -> Path:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=location)
    return save(folder / "model.onnx", [helper.make_node("Add", ["x", "w"], ["y"], "add")], [1, 4], [weights])


def test_compile_run_verify(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert library.with_suffix(".h").exists()
    capsys.readouterr()
    assert run(["run", str(library), "--random-inputs", "--json", "-o", str(tmp_path / "out.npz")]) == 0
    (output,) = json.loads(capsys.readouterr().out)["outputs"]
    assert (output["name"], output["shape"], output["dtype"]) == ("logits", [1, 10], "float32")
    assert np.load(tmp_path / "out.npz")["logits"].max() == pytest.approx(output["max"])
    assert run(["verify", str(library), str(DIGITS), "--runs", "2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] and len(report["runs"]) == 2


def test_verify_fails_and_bisects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def model(name: str, bias: float) -> Path:
        nodes = [helper.make_node("Relu", ["x"], ["a"], "relu"), helper.make_node("Add", ["a", "b"], ["y"], "add")]
        return save(tmp_path / name, nodes, [1, 8], [numpy_helper.from_array(np.full(8, bias, np.float32), "b")])

    library = tmp_path / "one.so"
    assert run(["compile", str(model("one.onnx", 1)), "-o", str(library)]) == 0
    capsys.readouterr()
    # Compiled from another model: the library differs, and every operator by itself agrees.
    assert run(["verify", str(library), str(model("two.onnx", 2)), "--bisect", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["passed"]
    assert report["first_divergence"] is None


def test_bisect_names_the_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tilewright.compiler.bisect import bisect
    from tilewright.schedules import vector_math

    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "first"),
        helper.make_node("Tanh", ["a"], ["b"], "broken"),
        helper.make_node("Neg", ["b"], ["y"], "last"),
    ]
    model = save(tmp_path / "model.onnx", nodes, [1, 64], [])
    monkeypatch.setitem(vector_math.EXPANSIONS, "tirx.tanh", lambda x: x * 0.5)
    found = bisect(model, inputs={}, shapes={}, compile_options={}, rtol=1e-4)
    assert found is not None
    assert (found.node, found.operator) == ("broken", "Tanh")


def test_bench_and_inspect(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["--repeat", "5", "--kernels", "--against", "onnxruntime", "--model", str(DIGITS), "--json"]
    assert run(["bench", str(library), *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["engine"] for each in report["latency"]] == ["tilewright", "onnxruntime"]
    assert report["ratios"]["onnxruntime"] > 0
    convolution = next(row for row in report["kernels"] if row["template"] == "contraction")
    assert convolution["sources"] and 0 < convolution["peak_share"] < 1.5
    assert run(["inspect", str(library), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workspace_bytes"] > 0
    assert run(["inspect", str(DIGITS), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operators"]["Conv"] == 5
    assert run(["targets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["host"]["cores"] >= 1


def test_damaged_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.so"
    text, cut = tmp_path / "text.onnx", tmp_path / "cut.onnx"
    text.write_text("no model at all")
    cut.write_bytes(DIGITS.read_bytes()[:60000])
    for path in (text, cut, tmp_path / "missing.onnx"):
        fails(capsys, ["compile", path, "-o", output], 4, str(path))
    assert not output.exists() and not output.with_suffix(".h").exists()


@pytest.mark.parametrize("location", ["missing.bin", "../outside.bin", "ABSOLUTE", "link.bin"])
def test_external_data(tmp_path: Path, capsys: pytest.CaptureFixture[str], location: str) -> None:
    outside = tmp_path / "outside.bin"
    outside.write_bytes(bytes(16))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "link.bin").symlink_to(outside)
    model = with_external_data(folder, str(outside) if location == "ABSOLUTE" else location)
    fails(capsys, ["compile", model, "-o", tmp_path / "out.so"], 4, "external data", "tensor 'w'")
    assert not (tmp_path / "out.so").exists()


def test_unsupported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["a"], "first"),
        helper.make_node("StringNormalizer", ["x"], ["b"], "second"),
        helper.make_node("Relu", ["x"], ["y"], "fine"),
    ]
    model, output = save(tmp_path / "model.onnx", nodes[:1] + nodes[2:], [2, 2], []), tmp_path / "out.so"
    model_proto = onnx.load(model)
    model_proto.graph.output.append(helper.make_tensor_value_info("a", TensorProto.INT64, ["r", "n"]))
    model.write_bytes(model_proto.SerializeToString())
    fails(capsys, ["compile", model, "-o", output], 3, "'first' (NonZero)")
    fails(capsys, ["compile", DIGITS, "-o", output, "--target", "pdp11-unix"], 3, "unknown target 'pdp11-unix'")
    fails(capsys, ["compile", DIGITS, "-o", output, "--mcpu", "pentium9"], 3, "unknown CPU")
    fails(capsys, ["compile", DIGITS, "-o", output, "--precision", "bf16"], 3, "bf16")
    fails(capsys, ["compile", DIGITS, "-o", output, "--emit", "c"], 3, "--emit a")
    fails(capsys, ["tune", DIGITS, "--records", tmp_path / "r.jsonl"], 3, "tuner")
    assert not output.exists()


def test_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save(tmp_path / "model.onnx", [helper.make_node("Relu", ["x"], ["y"], "relu")], ["N", 3, 8], [])
    output = tmp_path / "out.so"
    fails(capsys, ["compile", model, "-o", output], 2, "--shape x=1x3x8")
    fails(capsys, ["compile", model, "-o", output, "--shape", "x=1x4x8"], 2, "x")
    fails(capsys, ["compile", model, "-o", output, "--shape", "z=1x3x8"], 2, "z")
    fails(capsys, ["compile", model, "-o", output, "--shape", "x"], 2, "--shape")
    assert not output.exists()
    assert run(["compile", str(model), "-o", str(output), "--shape", "x=2x3x8"]) == 0


def test_outputs_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["compile", DIGITS, "-o", tmp_path / "none" / "out.so"], 2, "does not exist")
    fails(capsys, ["compile", DIGITS, "-o", tmp_path], 2, str(tmp_path))


def test_inputs_of_a_library(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "shape.npy", np.zeros((2, 2), np.float32))
    np.save(tmp_path / "dtype.npy", np.zeros((1, 1, 8, 8), np.int64))
    (tmp_path / "text.npy").write_text("no array")
    fails(capsys, ["run", library], 2, "image")
    fails(capsys, ["run", library, "--input", f"foo=@{tmp_path}/shape.npy"], 2, "'foo'", "image")
    fails(capsys, ["run", library, "--input", f"image=@{tmp_path}/shape.npy"], 2, "shape")
    fails(capsys, ["run", library, "--input", f"image=@{tmp_path}/dtype.npy"], 2, "float32")
    fails(capsys, ["run", library, "--input", f"image=@{tmp_path}/text.npy"], 4, "text.npy")
    fails(capsys, ["run", library, "--input", "image=@/nowhere.npy"], 4, "nowhere")


def test_libraries_that_cannot_be_loaded(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = library.read_bytes()
    future, cut = tmp_path / "future.so", tmp_path / "cut.so"
    future.write_bytes(content.replace(b'"format_version":1', b'"format_version":9'))
    cut.write_bytes(content[:5000])
    fails(capsys, ["run", future, "--random-inputs"], 3, "upgrade")
    fails(capsys, ["run", cut, "--random-inputs"], 4, "cut.so")
    fails(capsys, ["run", DIGITS, "--random-inputs"], 4, "ELF")


def test_disk_full_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files stands for a full disk: writing fails halfway.
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000)); import signal; "
    code += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); from tilewright.compiler.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "compile", str(DIGITS), "-o", str(tmp_path / "out.so")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode in (2, 5), result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0])
def test_interrupt_leaves_nothing(tmp_path: Path, seconds: float) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", _MAIN, "compile", str(DIGITS), "-o", str(tmp_path / "out.so")],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:  # it was done before
        assert (tmp_path / "out.so").exists()
        return
    # Before the program's first line the interpreter itself answers the signal.
    assert process.returncode in (130, -signal.SIGINT), errors
    assert not (tmp_path / "out.so").exists() and not (tmp_path / "out.h").exists()
    assert list(folder.iterdir()) == []


def test_run_and_inspect_without_tvm(library: Path) -> None:
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('tvm', 'tvm_ffi', 'onnx'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from tilewright.compiler.cli import run\n"
        f"library = {str(library)!r}\n"
        "commands = (['run', library, '--random-inputs'], ['inspect', library], ['targets'])\n"
        "sys.exit(any([run(command) for command in commands]))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert "logits" in result.stdout


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", "--help"]) == 0
    assert "tilewright compile resnet50.onnx" in capsys.readouterr().out
    assert run(["compile"]) == 2
    assert run(["no-such-command"]) == 2
