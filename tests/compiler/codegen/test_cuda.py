"""Libraries for NVIDIA's GPUs compute what ONNX Runtime computes, on an emulated GPU; real nvcc takes their kernels."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation, swish_on_gpu
from onnx import helper, numpy_helper
from rounded_weights import error_of_rounded_weights
from small_models import model, node, swish_network
from tilewright.compiler.build import build
from tilewright.compiler.cli.opened_libraries import open_there
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.artifact import CompiledModel, load
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.precision import RTOL_OF_PRECISION
from tilewright.compiler.verification.verify import verify
from tilewright.errors import PrecisionWarning, ToolError, UnsupportedError, UsageError
from tilewright.targets.cuda.nvcc import find_nvcc

__all__ = ["emulated_driver", "emulation", "swish_on_gpu"]  # fixtures

ROOT = Path(__file__).resolve().parents[3]
MODELS = ROOT / "tests" / "models"
DIGITS = ROOT / "examples" / "models" / "digits_cnn.onnx"
FAST = ("digits", "gpt2")
REST = [path.stem for path in sorted(MODELS.glob("*.onnx")) if path.stem not in FAST]


def compiled(proto: Any, folder: Path, **options: Any) -> CompiledModel:
    build(proto, folder / "net.so", CompileOptions(target=TRIPLE, cpu="sm_80", name="net", jobs=1, **options))
    return load(folder / "net.so")


@pytest.fixture
def library(swish_on_gpu: CompiledModel) -> CompiledModel:
    return swish_on_gpu


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)])
def test_models(name: str, emulation: Emulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = DIGITS if name == "digits" else MODELS / f"{name}.onnx"
    library = compiled(path, tmp_path)
    inputs = random_inputs(library.inputs, 3)

    result = verify(library, path, runs=1)
    first = library.run(inputs)
    monkeypatch.setenv("TILEWRIGHT_EMULATOR_ORDER", "reverse")
    backwards = library.run(inputs)

    assert result.passed, [each.relative_error for each in result.worst().values()]
    for output, array in first.items():  # no thread depends on another but by a barrier
        np.testing.assert_array_equal(array, backwards[output])


def test_nothing_is_allocated_or_captured_by_a_second_run(emulated_driver: Emulation, library: CompiledModel) -> None:
    inputs = random_inputs(library.inputs, 0)
    first = library.run(inputs)["y"]
    before = emulated_driver.counts
    again = library.run(inputs)["y"]
    after = emulated_driver.counts

    np.testing.assert_array_equal(first, again)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"launches", "replays", "copies", "waits"}
    assert after["replays"] - before["replays"] == 1
    assert after["copies"] - before["copies"] == 2


def test_tensors_on_the_device_are_used_where_they_are(emulated_driver: Emulation, library: CompiledModel) -> None:
    inputs = random_inputs(library.inputs, 0)
    expected = library.run(inputs)["y"]
    x, y = (emulated_driver.allocated(expected.nbytes) for _ in range(2))
    ctypes.memmove(x, inputs["x"].ctypes.data, inputs["x"].nbytes)
    pointers = (ctypes.c_void_p * 1)(x), (ctypes.c_void_p * 1)(y)

    def run() -> dict[str, int]:
        before = emulated_driver.counts
        assert library.c_async_function(*pointers, None, None) == 0
        after = emulated_driver.counts
        return {name: after[name] - before[name] for name in after if after[name] != before[name]}

    assert run()["captures"] == 1
    again = run()
    assert set(again) == {"launches", "replays"} and again["replays"] == 1
    actual = np.empty_like(expected)
    ctypes.memmove(actual.ctypes.data, y, actual.nbytes)
    np.testing.assert_array_equal(actual, expected)


def test_grids_begin_early_where_they_can(
    emulation: Emulation, library: CompiledModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs, before = random_inputs(library.inputs, 0), emulation.counts
    expected = library.run(inputs)["y"]
    assert emulation.counts["early"] == before["early"]
    monkeypatch.setenv("TILEWRIGHT_EMULATOR_GENERATION", "9")
    build(swish_network(), tmp_path / "early.so", CompileOptions(target=TRIPLE, cpu="sm_90", name="early", jobs=1))

    actual = load(tmp_path / "early.so").run(inputs)["y"]

    after = emulation.counts
    launched = len(library.signature.kernels)
    assert after["early"] - before["early"] >= launched > 0
    np.testing.assert_array_equal(actual, expected)


def test_every_kernel_waits_for_those_before_it(tmp_path: Path) -> None:
    build(swish_network(), tmp_path / "net", CompileOptions(target=TRIPLE, cpu="sm_90a", emit="cu", jobs=1))
    kernels = "".join(path.read_text() for path in (tmp_path / "net").glob("*.cu"))

    assert kernels.count("__global__") == kernels.count(") {\n  await_grids();") > 0


def test_a_workspace_is_the_callers_if_it_is_on_the_device(emulated_driver: Emulation, library: CompiledModel) -> None:
    inputs = random_inputs(library.inputs, 0)
    expected, actual = library.run(inputs)["y"], np.zeros((4, 16), np.float32)
    run = library.c_function
    pointers = (ctypes.c_void_p * 1)(inputs["x"].ctypes.data), (ctypes.c_void_p * 1)(actual.ctypes.data)
    workspace = emulated_driver.allocated(max(library.workspace_bytes, 1))

    assert run(*pointers, ctypes.c_void_p(workspace)) == 0
    np.testing.assert_array_equal(actual, expected)
    host = np.zeros(library.workspace_bytes + 256, np.uint8)
    aligned = -(-host.ctypes.data // 256) * 256
    assert run(*pointers, ctypes.c_void_p(aligned)) == 2


def test_threads_run_at_the_same_time(library: CompiledModel) -> None:
    inputs = [random_inputs(library.inputs, seed) for seed in range(8)]
    expected = [library.run(each)["y"] for each in inputs]
    actual: list[Any] = [None] * len(inputs)

    def work(index: int) -> None:
        for _ in range(20):
            actual[index] = library.run(inputs[index])["y"]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(inputs))]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_branches_and_loops_are_decided_by_the_machine(emulation: Emulation, tmp_path: Path) -> None:
    proto = countdown()
    library = compiled(proto, tmp_path)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    for start in (0.0, 2.5, 7.0):
        inputs = {"x": np.full((3,), start, np.float32)}
        for name, expected in zip(("y", "every"), session.run(["y", "every"], inputs), strict=True):
            np.testing.assert_allclose(library.run(inputs)[name], expected, rtol=1e-6)


def countdown() -> Any:
    """A loop of six turns that halves what is large and adds one to what is not, and what each turn leaves."""
    info = helper.make_tensor_value_info
    one, half, limit = (
        numpy_helper.from_array(np.array(v, np.float32), n) for n, v in (("one", 1), ("h", 0.5), ("l", 4))
    )
    then = helper.make_graph([helper.make_node("Mul", ["s", "h"], ["t"])], "then", [], [info("t", 1, [3])])
    other = helper.make_graph([helper.make_node("Add", ["s", "one"], ["o"])], "other", [], [info("o", 1, [3])])
    body = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["s"], ["total"], keepdims=0),
            helper.make_node("Greater", ["total", "l"], ["large"]),
            helper.make_node("If", ["large"], ["next"], then_branch=then, else_branch=other),
            helper.make_node("Identity", ["go"], ["goes_on"]),
            helper.make_node("Identity", ["next"], ["kept"]),
        ],
        "body",
        [info("turn", 7, []), info("go", 9, []), info("s", 1, [3])],
        [info("goes_on", 9, []), info("next", 1, [3]), info("kept", 1, [3])],
    )
    turns, go = numpy_helper.from_array(np.array(40), "turns"), numpy_helper.from_array(np.array(True), "first")
    graph = helper.make_graph(
        [helper.make_node("Loop", ["turns", "first", "x"], ["y", "every"], body=body)],
        "graph",
        [info("x", 1, [3])],
        [info("y", 1, [3]), info("every", 1, [40, 3])],
        [one, half, limit, turns, go],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_profiling_tells_the_time_of_every_step(emulated_driver: Emulation, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVCC", str(emulated_driver.nvcc))
        library = compiled(swish_network(), tmp_path, precision="tf32")
    inputs = random_inputs(library.inputs, 0)
    before = emulated_driver.counts

    first, again = library.profile(inputs), library.profile(inputs)

    assert len(first) == len(again) == len(library.signature.steps) and all(first) and all(again)
    after = emulated_driver.counts
    # One by one first; then in a graph, which is captured once.
    assert (after["captures"] - before["captures"], after["replays"] - before["replays"]) == (1, 1)
    assert after["launches"] - before["launches"] == 2 * len(library.signature.steps)


def test_a_machine_without_a_driver_is_told_so(library: CompiledModel, tmp_path: Path) -> None:
    inputs = random_inputs(library.inputs, 0)
    np.savez(tmp_path / "inputs.npz", **inputs)
    code = (
        "import numpy, tilewright\n"
        f"library = tilewright.load({str(library.path)!r})\n"
        "try:\n"
        f"    library.run(dict(numpy.load({str(tmp_path / 'inputs.npz')!r})))\n"
        "except tilewright.errors.DeviceError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "there is no NVIDIA driver on this machine" in done.stdout


def test_what_a_library_needs(library: CompiledModel) -> None:
    listed = subprocess.run(["ldd", str(library.path)], capture_output=True, text=True, check=True).stdout
    needed = {line.split()[0].partition(".so")[0] for line in listed.splitlines()}

    assert needed <= {"linux-vdso", "libc", "libm", "libpthread", "libdl", "/lib64/ld-linux-x86-64"}
    assert library.signature.device == "cuda" and library.signature.cpu == "sm_80"


def test_sources_need_no_nvcc_and_are_built_by_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NVCC", str(tmp_path / "none"))
    options = CompileOptions(target=TRIPLE, cpu="sm_80,sm_90a", name="net", emit="cu", jobs=1)

    build(swish_network(), tmp_path / "net", options)
    made = build(swish_network(), tmp_path / "net", options)  # in the place of the first

    assert made.header == tmp_path / "net" / "library.h" and made.header.is_file()
    makefile = (tmp_path / "net" / "Makefile").read_text()
    assert "code=sm_80" in makefile and "code=sm_90a" in makefile
    with pytest.raises(ToolError, match="nvcc"):
        build(swish_network(), tmp_path / "net.so", CompileOptions(target=TRIPLE, jobs=1))


def test_the_makefile_builds_the_library(emulation: Emulation, library: CompiledModel, tmp_path: Path) -> None:
    options = CompileOptions(target=TRIPLE, name="net", emit="cu", jobs=1)
    build(swish_network(), tmp_path / "net", options)
    subprocess.run(["make", "-s", f"NVCC={emulation.nvcc}"], cwd=tmp_path / "net", check=True)
    inputs = random_inputs(library.inputs, 0)
    expected, actual = library.run(inputs)["y"], np.zeros((4, 16), np.float32)
    run = ctypes.CDLL(str(tmp_path / "net" / "net.so")).net_run

    status = run((ctypes.c_void_p * 1)(inputs["x"].ctypes.data), (ctypes.c_void_p * 1)(actual.ctypes.data), None)

    assert status == 0
    np.testing.assert_array_equal(actual, expected)


def test_nvcc_takes_the_kernels(tmp_path: Path) -> None:
    try:
        find_nvcc()
    except ToolError as missing:
        pytest.skip(missing.what)
    nodes = [
        node("MatMul", ["x", "w"], "a", "product"),
        node("Softmax", ["a"], "s", "softmax", axis=-1),
        node("Erf", ["s"], "y", "erf"),
    ]
    weights = {"w": np.ones((48, 80), np.float32)}
    proto = model(nodes, {"x": ("float32", (33, 48))}, {"y": ("float32", (33, 80))}, weights)
    options = CompileOptions(target=TRIPLE, cpu="sm_80,sm_90a", name="net", jobs=1)

    made = build(proto, tmp_path / "net.so", options)

    assert made.path is not None and made.path.read_bytes().count(b"sm_90a")


# Of each precision one or two, of whatever has convolutions or attention.
_PRECISE = [("resnet_basic", "tf32"), ("vit", "fp16")]
_OTHERS = [
    pytest.param(name, precision, marks=pytest.mark.slow)
    for name in (path.stem for path in sorted(MODELS.glob("*.onnx")))
    for precision in ("tf32", "fp16", "bf16")
    if (name, precision) not in _PRECISE
]


@pytest.mark.parametrize(("name", "precision"), [*_PRECISE, *_OTHERS])
def test_precisions(name: str, precision: str, emulation: Emulation, tmp_path: Path) -> None:
    path = MODELS / f"{name}.onnx"
    library = compiled(path, tmp_path, precision=precision)

    # Some networks make more of roundings than others: those of their weights alone tell.
    effect = error_of_rounded_weights(path, precision, random_inputs(library.inputs, 0))
    result = verify(library, path, runs=1, rtol=max(RTOL_OF_PRECISION[precision], effect))

    assert library.signature.precision == precision
    assert any(kernel.template == "tensor_cores" for kernel in library.signature.kernels)
    assert result.passed, [each.relative_error for each in result.worst().values()]


def test_a_precision_that_a_gpu_lacks_is_float32(tmp_path: Path) -> None:
    with pytest.warns(PrecisionWarning, match="sm_75 multiplies no bfloat16"):
        build(swish_network(), tmp_path / "net", CompileOptions(target=TRIPLE, emit="cu", precision="bf16"))
    with pytest.warns(PrecisionWarning, match="no unit that rounds float32"):
        build(swish_network(), tmp_path / "tf", CompileOptions(target=TRIPLE, emit="cu", precision="tf32"))


def test_what_gpus_have_no_use_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="--emit c is not possible"):
        build(swish_network(), tmp_path / "net", CompileOptions(target=TRIPLE, emit="c"))
    with pytest.raises(UsageError, match="share no threads"):
        build(swish_network(), tmp_path / "net", CompileOptions(target=TRIPLE, emit="cu", threads=4))
    with pytest.raises(UsageError, match="have no states"):
        build(swish_network(), tmp_path / "net.so", CompileOptions(target=TRIPLE, states={"x": "y"}))


def test_what_is_not_there_for_gpus_is_refused(library: CompiledModel) -> None:
    with pytest.raises(UnsupportedError, match="run by this process"):
        open_there(library.path, None, "qemu")


def test_null_is_no_array_of_tensors(library: CompiledModel) -> None:
    error = ctypes.CDLL(str(library.path)).net_error
    error.restype = ctypes.c_char_p

    assert ctypes.CDLL(str(library.path)).net_run(None, None, None) == 4
    assert b"null" in error()
