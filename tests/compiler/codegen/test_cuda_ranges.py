"""Libraries for GPUs for a range of sizes: right at every one that is tried; blocks with nothing to do end at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import load
from tilewright.compiler.library.device_tensor import DeviceTensor
from tilewright.compiler.options import CompileOptions
from tilewright.errors import DeviceError, TensorError

from ...support import ranged_models as ranged

__all__ = ["emulated_driver", "emulation"]  # fixtures

PROTO = ranged.convolutions(height="H", width="W", head=False)
RANGES = {"N": (1, 2), "H": (3, 20), "W": (4, 17)}
SIZES = ((2, 20, 17), (1, 3, 4), (2, 9, 5), (1, 3, 4))


def reference(x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(PROTO.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    return expected


@pytest.mark.parametrize("precision", ["fp32", pytest.param("tf32", marks=pytest.mark.slow)])
def test_every_size(precision: str, emulation: Emulation, tmp_path: Path) -> None:
    options = CompileOptions(target=TRIPLE, cpu="sm_80", name="net", ranges=RANGES, precision=precision, jobs=1)
    build(PROTO, tmp_path / "net.so", options)
    library = load(tmp_path / "net.so")
    before = emulation.counts
    tolerance = 1e-5 if precision == "fp32" else 2e-3

    for sizes in SIZES:
        x = ranged.images(PROTO, sizes[1], **dict(zip("NHW", sizes, strict=True)))["x"]
        expected = reference(x)
        for given in (x, DeviceTensor.of(x)):
            found = library.run({"x": given})["y"]
            array = found.numpy() if isinstance(found, DeviceTensor) else found
            assert array.shape == expected.shape
            assert np.abs(array - expected).max() < tolerance * np.abs(expected).max()
    after = emulation.counts
    # Of each size once from the memory of the machine, where the fourth is known. New tensors on the GPU: new graphs.
    assert 3 <= after["captures"] - before["captures"] <= 7
    with pytest.raises(TensorError, match="H is 3 to 20"):
        library.run({"x": np.zeros((1, 3, 21, 4), np.float32)})
    assert library.profile({"x": x})


def test_blocks_end_at_once(tmp_path: Path) -> None:
    options = CompileOptions(target=TRIPLE, cpu="sm_80", name="net", ranges=RANGES, emit="cu", jobs=1)
    build(PROTO, tmp_path / "net", options)
    kernels = "".join(path.read_text() for path in sorted((tmp_path / "net").glob("*.cu")))
    header = (tmp_path / "net" / "library.h").read_text()

    assert kernels.count(")) return;") >= 3
    assert "void *workspace, const int64_t dimensions[], void *stream);" in header


@pytest.mark.slow
def test_best_sizes_have_kernels_of_their_own(emulation: Emulation, tmp_path: Path) -> None:
    proto = ranged.convolutions(head=False)
    options = CompileOptions(target=TRIPLE, name="net", ranges={"N": (1, 4)}, best={"N": (1,)}, jobs=1)
    build(proto, tmp_path / "net.so", options)
    library = load(tmp_path / "net.so")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])

    for rows in (1, 4, 3):
        inputs = ranged.images(proto, rows, N=rows)
        (expected,) = session.run(None, inputs)
        assert np.abs(library.run(inputs)["y"] - expected).max() < 1e-5 * np.abs(expected).max()
    with pytest.raises(DeviceError, match="N is not from 1 to 4"):
        library._entries.call(library.c_function, [1], [1], {"N": 5})


@pytest.mark.slow
def test_texts_of_every_length(emulation: Emulation, tmp_path: Path) -> None:
    proto = ranged.encoder()
    options = CompileOptions(target=TRIPLE, name="net", ranges={"B": (1, 3), "S": (1, 40)}, jobs=1)
    build(proto, tmp_path / "net.so", options)
    library = load(tmp_path / "net.so")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]

    for batch, tokens in ((3, 40), (1, 1), (2, 17)):
        inputs = ranged.encoder_inputs(batch, tokens, 0)
        found = library.run(inputs)
        for name, expected in zip(names, session.run(names, inputs), strict=True):
            assert np.abs(found[name] - expected).max() < 1e-4 * np.abs(expected).max()
