"""The loader: what it takes and gives, what it refuses and in which words, and that it needs no compiler."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emitted_models import MLP_INPUTS, emitted, mlp, mlp_reference
from tilewright import targets
from tilewright.compiler.library.artifact import CompiledModel, load, read_signature
from tilewright.compiler.library.integrity import seal
from tilewright.compiler.library.signature import SECTION
from tilewright.compiler.process import install
from tilewright.errors import (
    LibraryError,
    OutputError,
    TensorError,
    ToolError,
    UnsupportedTargetError,
    UnsupportedVersionError,
)
from tvm import relax

X = np.random.default_rng(5).standard_normal((5, 24), dtype=np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return emitted(tmp_path_factory.mktemp("mlp"), MLP_INPUTS, mlp).path


@pytest.fixture(scope="module")
def model(path: Path) -> CompiledModel:
    return load(path)


def test_what_it_says_about_itself(model: CompiledModel) -> None:
    assert [str(spec) for spec in model.inputs] == ["x: float32[5x24]"]
    assert [str(spec) for spec in model.outputs] == ["y0: float32[5x7]"]
    assert model.target == "x86_64-unknown-linux-gnu" and model.workspace_bytes >= 5 * 40 * 4
    assert [step.sources for step in model.signature.steps] != []
    assert model.signature.weights_bytes >= (24 * 40 + 40 * 7) * 4


def test_ways_to_call(model: CompiledModel) -> None:
    expected = model(X)

    assert isinstance(expected, np.ndarray)
    np.testing.assert_array_equal(model.run({"x": X})["y0"], expected)
    # Neither strides, nor order, nor an address off by one element change what a tensor is.
    np.testing.assert_array_equal(model(np.asfortranarray(X)), expected)
    np.testing.assert_array_equal(model(np.repeat(X, 2, axis=1)[:, ::2]), expected)
    shifted = np.empty(X.size + 1, np.float32)[1:].reshape(X.shape)
    shifted[:] = X
    np.testing.assert_array_equal(model(shifted), expected)


def test_results_are_new_arrays(model: CompiledModel) -> None:
    first = model(X)
    before = np.array(first)
    model(-X)

    np.testing.assert_array_equal(first, before)


def test_anything_with_dlpack_goes_in(model: CompiledModel) -> None:
    class Tensor:
        def __dlpack__(self, **options: Any) -> Any:
            return X.__dlpack__(**options)

        def __dlpack_device__(self) -> Any:
            return X.__dlpack_device__()

    class OnSomeGpu(Tensor):
        def __dlpack__(self, **options: Any) -> Any:
            raise BufferError("not on the CPU")

    np.testing.assert_array_equal(model(Tensor()), model(X))
    with pytest.raises(TensorError, match="not on the CPU"):
        model(OnSomeGpu())


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, r"input 'x' is missing.*takes: x: float32\[5x24\]"),
        ({"x": X, "z": X}, r"no input 'z'.*takes: x"),
        ({"x": X[:4]}, "shape 4x24, and the model takes 5x24"),
        ({"x": X.reshape(24, 5)}, "shape 24x5"),
        ({"x": X[0, 0]}, "shape a scalar"),
        ({"x": X.astype(np.float64)}, r"dtype float64, and the model takes float32.*astype\('float32'\)"),
        ({"x": "text"}, "dtype <U4"),
    ],
    ids=["missing", "unknown", "rows", "transposed", "scalar", "dtype", "text"],
)
def test_wrong_tensors(model: CompiledModel, inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(TensorError) as caught:
        model.run(inputs)
    assert_matches(message, str(caught.value))


def assert_matches(pattern: str, text: str) -> None:
    assert re.search(pattern, text, re.DOTALL), text


def test_a_wrong_number_of_inputs(model: CompiledModel) -> None:
    with pytest.raises(TensorError, match="takes 1 inputs, and 2 were given"):
        model(X, X)


def test_files_that_are_no_library(tmp_path: Path, path: Path) -> None:
    data = path.read_bytes()
    files = {
        "text.so": (b"hello " * 100, "not an ELF"),
        "empty.so": (b"", "empty"),
        "cut.so": (data[: len(data) // 2], "damaged|truncated"),
        "libc.so": (Path("/proc/self/exe").read_bytes(), "not written by Tilewright"),
        "signature.so": (data.replace(b'"inputs":', b'"inputs"_'), "signature is damaged"),
        "changed.so": (data.replace(b'"y0"', b'"y1"'), "checksum does not match"),
        "longer.so": (data + b"\0", "checksum does not match"),
    }
    for name, (contents, message) in files.items():
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(LibraryError, match=message):
            load(tmp_path / name)
    with pytest.raises(LibraryError, match="does not exist"):
        load(tmp_path / "missing.so")
    with pytest.raises(LibraryError):
        load(tmp_path)


def test_a_library_from_the_future(tmp_path: Path, path: Path) -> None:
    future = tmp_path / "future.so"
    future.write_bytes(path.read_bytes().replace(b'{"format_version":1,', b'{"format_version":7,'))

    with pytest.raises(UnsupportedVersionError, match="format 7"):
        load(future)


def test_a_library_for_another_machine(tmp_path: Path, path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[18] = 183  # e_machine: aarch64
    (tmp_path / "arm.so").write_bytes(data)
    seal(tmp_path / "arm.so", SECTION)

    with pytest.raises(UnsupportedTargetError, match="this machine is x86_64"):
        load(tmp_path / "arm.so")
    assert read_signature(tmp_path / "arm.so").name == "net"


def test_a_processor_without_the_instructions(tmp_path: Path) -> None:
    # Of all processors, only Knights Mill has this one.
    target = dataclasses.replace(targets.parse("host", cores=2), required_features=("avx5124vnniw",))
    model = load(emitted(tmp_path, MLP_INPUTS, mlp, target=target).path)

    with pytest.raises(UnsupportedTargetError, match="it needs avx5124vnniw"):
        model(X)


def test_a_stripped_library_runs_but_has_no_profile(tmp_path: Path, path: Path, model: CompiledModel) -> None:
    shutil.copy(path, tmp_path / "stripped.so")
    subprocess.run(["strip", tmp_path / "stripped.so"], check=True)
    stripped = load(tmp_path / "stripped.so")

    np.testing.assert_array_equal(stripped(X), model(X))
    with pytest.raises(ToolError, match="no symbol table"):
        stripped.profile({"x": X})


def test_saving(tmp_path: Path, model: CompiledModel, monkeypatch: pytest.MonkeyPatch) -> None:
    model.save(tmp_path / "copy.so")

    np.testing.assert_array_equal(load(tmp_path / "copy.so")(X), model(X))
    assert (tmp_path / "copy.h").read_text() == model.path.with_suffix(".h").read_text()
    model.save(model.path)  # onto itself: nothing to do
    with pytest.raises(OutputError, match="No such file"):
        model.save(tmp_path / "missing" / "copy.so")

    def full(source: Path, descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(install, "copy", full)
    with pytest.raises(OutputError, match="No space left"):
        model.save(tmp_path / "full.so")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.h", "copy.so"]


def test_two_libraries_in_one_process(tmp_path: Path, model: CompiledModel) -> None:
    def doubled(emit: Any, x: Any) -> list[Any]:
        return [emit(relax.op.add(value := mlp(emit, x)[0], value))]

    # The same name, the same symbols, and threads at the same time.
    other = load(emitted(tmp_path, MLP_INPUTS, doubled).path)
    model.set_num_threads(3)
    other.set_num_threads(3)
    expected = model(X)
    wrong: list[str] = []

    def call(which: CompiledModel, factor: float) -> None:
        wrong.extend(str(which) for _ in range(200) if not np.array_equal(which(X), factor * expected))

    callers = [threading.Thread(target=call, args=arguments) for arguments in [(model, 1.0), (other, 2.0)] * 2]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert wrong == []
    model.set_num_threads(0)
    other.set_num_threads(1)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tvm", "tvm_ffi", "torch", "onnx", "jinja2"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
import numpy, tilewright
model = tilewright.load(sys.argv[1])
print(model(numpy.ones((5, 24), numpy.float32)).tobytes().hex())
assert not any(name.split(".")[0] in ("tvm", "tvm_ffi", "onnx") for name in sys.modules)
"""


def test_it_runs_where_tvm_cannot_be_imported(path: Path, model: CompiledModel) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED, str(path)], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == model(np.ones((5, 24), np.float32)).tobytes().hex()  # type: ignore[union-attr]


def test_it_computes_the_right_thing(model: CompiledModel) -> None:
    np.testing.assert_allclose(model(X), mlp_reference(X), atol=1e-5)
