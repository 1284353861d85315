"""C sources and programs for a range of sizes, and with states: right at every one that is tried, told of others."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from c_sources import built
from tilewright.benchmarks.decoders import Decoder, decoder
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import read_file
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.device import DeviceRunner
from tilewright.compiler.runners.places import place_of

from ...support import ranged_models as ranged
from ...support.small_models import model, node

Array = np.ndarray[Any, Any]
PROTO = ranged.convolutions(height="H", width="W", head=False)
RANGES = {"N": (1, 2), "H": (3, 20), "W": (4, 17)}
SIZES = ((2, 20, 17), (1, 3, 4), (2, 9, 5))


def reference(x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(PROTO.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    return expected


def test_c_sources(tmp_path: Path) -> None:
    build(PROTO, tmp_path / "net", CompileOptions(emit="c", name="net", ranges=RANGES, jobs=1))
    run = ctypes.CDLL(str(built(tmp_path / "net", "net"))).net_run
    for sizes in SIZES:
        x = ranged.images(PROTO, sizes[1], **dict(zip("NHW", sizes, strict=True)))["x"]
        expected = reference(x)
        y = np.full(expected.size + 16, 7, np.float32)
        status = run(*(ctypes.c_void_p(each.ctypes.data) for each in (x, y)), (ctypes.c_int64 * 3)(*sizes))
        assert status == 0 and (y[expected.size :] == 7).all()
        assert np.abs(y[: expected.size].reshape(expected.shape) - expected).max() < 1e-5 * np.abs(expected).max()
    y[:] = 7
    assert run(*(ctypes.c_void_p(each.ctypes.data) for each in (x, y)), (ctypes.c_int64 * 3)(2, 21, 5)) == 5
    assert (y == 7).all()
    assert (
        "int net_run(const float *x, float *y, const int64_t dimensions[]);" in (tmp_path / "net/src/net.h").read_text()
    )


def test_a_program_checks_itself_and_runs_at_any_size(tmp_path: Path) -> None:
    program = tmp_path / "net"
    build(PROTO, program, CompileOptions(emit="bench", name="net", ranges=RANGES, threads=2, jobs=1))
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0 and "PASSED" in done.stdout
    runner, library = DeviceRunner(place_of("exec:env A=b")), read_file(program)
    for sizes in SIZES:
        x = ranged.images(PROTO, sizes[1], **dict(zip("NHW", sizes, strict=True)))["x"]
        found, expected = runner.run(library, {"x": x})["y"], reference(x)
        assert found.shape == expected.shape and np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


_OF = Decoder(layers=1, width=24, heads=4, groups=2, room=24)
_CACHES = {"past": (0, 8), "seq": (1, 4)}


def _answers(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))


def _close(ours: Array, theirs: Array) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max())


def test_c_sources_continue_caches(tmp_path: Path) -> None:
    """Three calls on the same memory, which is NaN at first."""
    made = build(decoder(_OF), tmp_path / "net", CompileOptions(emit="c", name="net", ranges=_CACHES, jobs=1))
    run = ctypes.CDLL(str(built(tmp_path / "net", "net"))).net_run
    text = np.random.default_rng(0).integers(0, _OF.vocabulary, (1, 8))
    assert made.signature is not None and len(made.signature.states) == 2
    memory = {spec.name: np.full(spec.shape, np.nan, np.float32) for spec in made.signature.inputs}
    before, past = _OF.past(0), 0
    for count in (4, 1, 3):
        tokens = np.ascontiguousarray(text[:, past : past + count])
        theirs = _answers(decoder(_OF), {"input_ids": tokens, **before})
        logits = np.full(theirs["logits"].size + 16, 7, np.float32)
        arrays = [tokens if spec.name == "input_ids" else memory[spec.name] for spec in made.signature.inputs]
        pointers = (ctypes.c_void_p(each.ctypes.data) for each in (*arrays, logits))
        assert run(*pointers, (ctypes.c_int64 * 2)(past, count)) == 0
        assert _close(logits[:-16].reshape(theirs["logits"].shape), theirs["logits"]) and (logits[-16:] == 7).all()
        past += count
        before = {name: theirs[name.replace("past_key_values", "present")] for name in before}
        assert all(_close(memory[name][:, :, :past], cache) for name, cache in before.items())
        assert all(np.isnan(memory[name][:, :, past:]).all() for name in before)
    header = (tmp_path / "net/src/net.h").read_text()
    assert "float *past_key_values_0_key," in header and "States are inputs that a call changes" in header


def _sum_of_cache() -> onnx.ModelProto:
    """What is new behind what was there, and the sum of all."""
    nodes = [
        node("Concat", ["past", "x"], "present", "joined", axis=1),
        node("ReduceSum", ["present", "axis"], "y", "sum", keepdims=0),
    ]
    inputs = {"past": ("float32", (2, "past", 5)), "x": ("float32", (2, "seq", 5))}
    outputs = {"present": ("float32", (2, "all", 5)), "y": ("float32", (2, 5))}
    return model(nodes, inputs, outputs, {"axis": np.array([1])})


def test_programs_and_devices_continue_caches(tmp_path: Path) -> None:
    proto, program, library = _sum_of_cache(), tmp_path / "program", tmp_path / "net.so"
    for emit, place in (("bench", program), ("so", library)):
        build(proto, place, CompileOptions(emit=emit, name="net", ranges=_CACHES, threads=1, jobs=1))
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0 and "PASSED" in done.stdout and "output present: max" in done.stdout
    runner = DeviceRunner(place_of("exec:env A=b"))
    generator = np.random.default_rng(0)
    for past, new in ((0, 4), (5, 1), (8, 4)):
        sizes = {"past": past, "x": new}
        inputs = {name: generator.standard_normal((2, n, 5)).astype(np.float32) for name, n in sizes.items()}
        theirs = _answers(proto, inputs)
        for place in (program, library):
            ours = runner.run(read_file(place), inputs)
            assert set(ours) == set(theirs) and all(_close(ours[name], theirs[name]) for name in theirs)


def test_c_sources_with_states_of_fixed_size(tmp_path: Path) -> None:
    nodes = [node("Add", ["x", "h"], "sum", "sum"), node("Tanh", ["sum"], "g", "next"), node("Neg", ["g"], "y", "out")]
    proto = model(nodes, dict.fromkeys("xh", ("float32", (2, 8))), dict.fromkeys("gy", ("float32", (2, 8))))
    build(proto, tmp_path / "net", CompileOptions(emit="c", name="net", states={"h": "g"}, jobs=1))
    assert "void net_run(const float *x, float *h, float *y);" in (tmp_path / "net/src/net.h").read_text()
    run = ctypes.CDLL(str(built(tmp_path / "net", "net"))).net_run
    run.restype = None
    x, y = np.random.default_rng(0).standard_normal((2, 2, 8)).astype(np.float32)
    held, expected = np.zeros_like(x), np.zeros_like(x)
    for _ in range(3):
        run(*(ctypes.c_void_p(each.ctypes.data) for each in (x, held, y)))
        expected = np.tanh(x + expected)
        assert _close(held, expected) and _close(y, -expected)
