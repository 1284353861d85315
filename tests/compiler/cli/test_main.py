"""The command line: what each command prints; one screen and the right exit code for all that goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import DIGITS, MAX_LINES, fails
from onnx import TensorProto, helper, numpy_helper
from tilewright.compiler.cli.main import one_screen, run
from tilewright.errors import UnsupportedError


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "digits.so"
    assert run(["compile", str(DIGITS), "-o", str(path), "--threads", "1"]) == 0
    return path


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


def test_bench_and_inspect(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    arguments = ["--repeat", "5", "--kernels", "--against", "onnxruntime", "--model", str(DIGITS), "--json"]
    assert run(["bench", str(library), *arguments]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [each["engine"] for each in report["latency"]] == ["tilewright", "onnxruntime"]
    assert report["ratios"]["onnxruntime"] > 0
    convolution = next(row for row in report["kernels"] if row["template"] == "contraction")
    assert convolution["sources"] and 0 < convolution["peak_share"] < 1.5
    assert convolution["bound"] and convolution["level"] and convolution["intensity"] > 1
    assert report["totals"]["lost_microseconds"] < report["totals"]["microseconds"]
    assert report["machine"]["threads"] == 1
    assert run(["inspect", str(library), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["workspace_bytes"] > 0 and found["kernels"]
    assert all(kernel["bytes"] > 0 for kernel in found["kernels"])
    assert run(["inspect", str(DIGITS), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["operators"]["Conv"] == 5
    assert run(["targets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["host"]["cores"] >= 1


def test_bench_simulates_cores(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shared = tmp_path / "shared.so"
    assert run(["compile", str(DIGITS), "-o", str(shared), "--threads", "8"]) == 0
    capsys.readouterr()
    arguments = ["bench", str(shared), "--repeat", "3", "--threads", "1", "--simulate-threads", "8"]
    assert run(arguments) == 0
    text = capsys.readouterr().out
    assert "kernels on 8 simulated cores" in text and "hand-off to 8 threads" in text and "times faster" in text
    assert run([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["simulation"]
    assert report["threads"] == 8 and report["milliseconds"] > 0 and len(report["kernels"]) > 3
    assert all(1 <= kernel["tasks"] <= 8 for kernel in report["kernels"])
    fails(capsys, [*arguments[:-1], "257"], 2, "257 threads", "--simulate-threads", "1 to 256")
    fails(capsys, ["bench", library, "--simulate-threads", "2"], 2, "one thread", "--threads 1")


def test_bench_writes_a_page(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.html"
    page.write_text("yesterday's")
    assert run(["bench", str(library), "--repeat", "2", "--html", str(page), "--json"]) == 0
    captured = capsys.readouterr()
    assert str(page) in captured.err
    text = page.read_text()
    for kernel in json.loads(captured.out)["kernels"]:
        assert kernel["kernel"] in text and all(source in text for source in kernel["sources"])
    assert list(tmp_path.iterdir()) == [page]
    fails(capsys, ["bench", library, "--html", tmp_path / "none" / "page.html"], 2, "does not exist", "mkdir")
    fails(capsys, ["bench", library, "--html", tmp_path], 2, "no file")
    fails(capsys, ["bench", library, "--html", library], 2, "replace")
    fails(capsys, ["bench", library, "--repeat", "1", "--html", "/proc/page.html"], 2, "/proc/page.html")


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
    fails(capsys, ["compile", model, "-o", tmp_path / "out.so"], 4, "external data", "initializer 'w'")
    assert not (tmp_path / "out.so").exists()


def test_unsupported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("Folding", ["x"], ["a"], "first", domain="nobody"),
        helper.make_node("Relu", ["x"], ["y"], "fine"),
    ]
    model, output = save(tmp_path / "model.onnx", nodes, [2, 2], []), tmp_path / "out.so"
    model_proto = onnx.load(model)
    model_proto.opset_import.append(helper.make_opsetid("nobody", 1))
    model_proto.graph.output.append(helper.make_tensor_value_info("a", TensorProto.INT64, ["r", "n"]))
    model.write_bytes(model_proto.SerializeToString())
    fails(capsys, ["compile", model, "-o", output], 3, "'first' (nobody.Folding)")
    fails(capsys, ["compile", DIGITS, "-o", output, "--target", "pdp11-unix"], 3, "unknown target 'pdp11-unix'")
    fails(capsys, ["compile", DIGITS, "-o", output, "--mcpu", "pentium9"], 3, "unknown CPU")
    fails(capsys, ["compile", DIGITS, "-o", output, "--emit", "c", "--threads", "2"], 2, "run in one thread")
    fails(capsys, ["compile", DIGITS, "-o", output, "--records", tmp_path / "none"], 2, "no such file of records")
    fails(capsys, ["tune", DIGITS, "--records", "/dev/zero"], 2, "no such file of records")
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


def test_outputs_that_cannot_be_written(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["compile", DIGITS, "-o", tmp_path / "none" / "out.so"], 2, "does not exist")
    fails(capsys, ["compile", DIGITS, "-o", tmp_path], 2, str(tmp_path))
    fails(capsys, ["compile", DIGITS, "-o", "/proc/out.so"], 2, "/proc/out.so")
    fails(capsys, ["compile", DIGITS, "-o", "/dev/null"], 2, "device")
    for folder in (".", "/", ""):
        fails(capsys, ["compile", DIGITS, "-o", folder], 2, "the output is a folder")
    fails(capsys, ["compile", DIGITS, "-o", DIGITS], 2, "replace the model")
    fails(capsys, ["run", library, "--random-inputs", "-o", tmp_path / "none" / "out.npz"], 2, "out.npz")
    fails(capsys, ["run", library, "--random-inputs", "-o", "/proc/out.npz"], 2, "/proc/out.npz")
    assert Path("/dev/null").is_char_device()


def test_a_folder_that_may_not_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    fails(capsys, ["compile", DIGITS, "-o", tmp_path / "out.so"], 2, "cannot be written")


def test_absurd_numbers_of_threads(library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("0", "-1", "257", "1000000000", "9" * 30):
        fails(capsys, ["compile", DIGITS, "-o", tmp_path / "out.so", "--threads", number], 2, "give 1 to 256")
    threaded = tmp_path / "threaded.so"
    assert run(["compile", str(DIGITS), "-o", str(threaded)]) == 0
    for number in ("0", "1000000000", "4294967297"):
        fails(capsys, ["run", threaded, "--random-inputs", "--threads", number], 2, "give 1 to 256")
        fails(capsys, ["bench", threaded, "--threads", number], 2, "give 1 to 256")


def test_what_stands_in_the_places_of_outputs(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = tmp_path / "out.h"
    header.write_text("int mine;")
    fails(capsys, ["compile", DIGITS, "-o", tmp_path / "out.so"], 2, "did not write", "out.h")
    assert header.read_text() == "int mine;"
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "weights.bin").write_text("mine")
    fails(capsys, ["compile", DIGITS, "-o", tmp_path / "net.so", "--keep-temps", kept], 2, "weights.bin", "empty")
    assert (kept / "weights.bin").read_text() == "mine"
    link = tmp_path / "link.npz"
    link.symlink_to("outputs.npz")
    assert run(["run", str(library), "--random-inputs", "-o", str(link)]) == 0
    assert link.is_symlink() and "logits" in np.load(tmp_path / "outputs.npz")
    for place in ("/dev/stdout", "/dev/null", "/dev/fd/1"):
        fails(capsys, ["run", library, "--random-inputs", "-o", place], 2, place)
        fails(capsys, ["compile", DIGITS, "-o", place], 2, place)


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


def test_run_and_inspect_without_tvm(library: Path) -> None:
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.split('.')[0] in ('tvm', 'tvm_ffi', 'onnx'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "from tilewright.compiler.cli.main import run\n"
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


def test_inspect_shows_what_cannot_be_compiled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = save(tmp_path / "model.onnx", [helper.make_node("Relu", ["x"], ["y"], "relu")], ["N", 3, 8], [])
    assert run(["inspect", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flops"] is None and "--shape x=1x3x8" in found["problem"]
    assert found["inputs"] == [{"name": "x", "shape": ["N", 3, 8], "dtype": "float32"}]
    assert run(["inspect", str(model), "--shape", "x=2x3x8", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["flops_by_operator"] == {"Relu": 48} and found["problem"] is None
    fails(capsys, ["inspect", model, "--shape", "x=2x4x8"], 2, "x")
    fails(capsys, ["inspect", tmp_path / "none.so"], 4, "none.so")
    fails(capsys, ["inspect", tmp_path / "none.tflite"], 4, "none.tflite")


def test_an_unforeseen_error_asks_for_a_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise LookupError("first line\n" * 50 + "the last line")

    monkeypatch.setattr("tilewright.compiler.reports.target_report.describe", broken)
    fails(capsys, ["targets"], 5, "internal error: LookupError: the last line", "please report", "TILEWRIGHT_DEBUG=1")
    monkeypatch.setenv("TILEWRIGHT_DEBUG", "1")
    assert run(["targets"]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_long_errors_are_cut_to_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    error = UnsupportedError(
        "the model has 90 nodes that are not supported",
        where="model.onnx",
        details=[f"node '{'x' * 60}{number}' (NonZero)" for number in range(90)],
        hint="cut the model before them",
    )
    lines = one_screen(str(error)).splitlines()
    assert len(lines) <= MAX_LINES and lines[0].startswith("error: the model has 90") and "hint: cut" in lines[-1]
    assert any("more lines" in line for line in lines)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("tilewright 0.")
