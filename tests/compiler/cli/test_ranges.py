"""Commands on a library for a range of sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import fails
from small_models import model, node
from tilewright.compiler.cli.main import run


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A product and a relu of up to 12 rows, in steps of 2."""
    folder = tmp_path_factory.mktemp("ranges")
    weights = {"w": np.random.default_rng(0).standard_normal((8, 5)).astype(np.float32)}
    nodes = [node("MatMul", ["x", "w"], "a", "product"), node("Relu", ["a"], "y", "relu")]
    proto = model(nodes, {"x": ("float32", ("rows", 8))}, {"y": ("float32", ("rows", 5))}, weights)
    onnx.save(proto, folder / "net.onnx")
    arguments = ["compile", folder / "net.onnx", "-o", folder / "net.so", "--threads", "1"]
    sizes = ["--shape", "x=2*Nx8", "--range", "N=1..6", "--best", "N=2"]
    assert run([str(each) for each in [*arguments, *sizes]]) == 0
    return folder / "net.so"


def test_the_header_says_sizes(library: Path) -> None:
    header = library.with_suffix(".h").read_text()
    assert "x: float[2 * N][8], 384 bytes" in header
    assert "0  N: 1 to 6" in header
    assert "void *workspace, const int64_t dimensions[]);" in header


def test_inspect(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(library), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dimensions"] == [{"name": "N", "least": 1, "largest": 6}]
    assert found["inputs"][0]["shape"] == [12, 8] and found["inputs"][0]["sizes"] == ["2 * N", "8"]


def test_inspect_tells_what_a_range_is_refused_for(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any compile, as it tells what is not supported at all."""
    sizes = ["--shape", "x=2*Nx8", "--range", "N=1..6", "--json"]
    assert run(["inspect", str(library.with_suffix(".onnx")), *sizes]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problem"] is None and found["flops_by_operator"] == {"MatMul": 2 * 12 * 8 * 5, "Relu": 12 * 5}
    weights = {"pads": np.array([0, 1, 0, 1])}
    pad = model(
        [node("Pad", ["x", "pads"], "y", "mirror", mode="reflect")],
        {"x": ("float32", (2, "W"))},
        {"y": ("float32", (2, "V"))},
        weights,
    )
    onnx.save(pad, tmp_path / "pad.onnx")
    arguments = ["inspect", str(tmp_path / "pad.onnx"), "--range", "W=4..9"]
    assert run([*arguments, "--json"]) == 0
    assert "'mirror'" in json.loads(capsys.readouterr().out)["problem"]
    fails(capsys, [*arguments, "--range", "H=1..2"], 2, "'H'")


@pytest.mark.parametrize(("asked", "rows"), [([], 12), (["--at", "N=2"], 4), (["--at", "N=5"], 10)])
def test_run(library: Path, capsys: pytest.CaptureFixture[str], asked: list[str], rows: int) -> None:
    assert run(["run", str(library), "--random-inputs", "--json", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["shape"] == [rows, 5]


def test_verify_and_bench(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(library.with_suffix(".onnx"))
    assert run(["verify", str(library), source, "--runs", "5"]) == 0
    assert (
        run(["bench", str(library), "--repeat", "2", "--at", "N=3", "--against", "onnxruntime", "--model", source]) == 0
    )


def test_on_a_device(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    device = ["--device", "exec:env A=b"]
    assert run(["run", str(library), "--random-inputs", "--json", "--at", "N=5", *device]) == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["shape"] == [10, 5]
    assert run(["verify", str(library), str(library.with_suffix(".onnx")), *device]) == 0


def test_what_is_wrong(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = library.with_suffix(".onnx"), library.parent / "other.so"
    compiling = ["compile", source, "-o", output]
    fails(capsys, ["run", library, "--random-inputs", "--at", "N=7"], 2, "N=7 is outside of the library's range 1..6")
    fails(capsys, ["run", library, "--random-inputs", "--at", "M=3"], 2, "no dimension 'M'")
    fails(capsys, [*compiling, "--shape", "x=Nx8"], 2, "a name in it needs")
    fails(capsys, [*compiling, "--shape", "x=Nx8", "--range", "N=1-6"], 2, "is no range")
    fails(capsys, [*compiling, "--shape", "x=Nx8", "--range", "N=1..6", "--best", "N"], 2, "says no values")
