"""C sources and programs for a range of sizes: right at every one that is tried, and told of those outside."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
from c_sources import built
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import read_file
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.device import DeviceRunner
from tilewright.compiler.runners.places import place_of

from ...support import ranged_models as ranged

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
