"""The Python interface: what `import tilewright` gives, and that running needs no compiler."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tilewright
from small_models import model, node, swish_network
from tilewright.errors import ModelError, OutputError, UsageError

BLOCK_COMPILER = """
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.split('.')[0] in ('tvm', 'tvm_ffi', 'onnx', 'onnx_ir', 'onnxscript', 'torch', 'typer', 'rich'):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
"""


def test_public_names() -> None:
    for name in (
        "compile",
        "load",
        "verify",
        "tune",
        "optimize",
        "errors",
        "CompiledModel",
        "TensorSpec",
        "__version__",
    ):
        assert name in dir(tilewright) and getattr(tilewright, name) is not None
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert re.search(r'^version = "(.*)"', project, re.MULTILINE)[1] == tilewright.__version__
    with pytest.raises(AttributeError):
        _ = tilewright.nothing


def test_compile_save_load_run_and_the_compiler_stays_away(tmp_path: Path) -> None:
    stages: list[str] = []
    compiled = tilewright.compile(
        swish_network(), threads=1, name="swish", progress=lambda stage, done, total: stages.append(stage)
    )
    compiled.save(tmp_path / "copy.so")
    x = np.random.default_rng(0).standard_normal((4, 16), dtype=np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", compiled(x))

    assert stages[0] == "load TVM" and "legalize" in stages and stages[-1] == "write"
    assert (tmp_path / "copy.h").exists()
    code = BLOCK_COMPILER + (
        "import numpy as np, tilewright\n"
        f"folder = {str(tmp_path)!r}\n"
        "model = tilewright.load(folder + '/copy.so')\n"
        "assert np.array_equal(model(np.load(folder + '/x.npy')), np.load(folder + '/y.npy'))\n"
        "assert model.inputs == (tilewright.TensorSpec('x', (4, 16), 'float32'),)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_compiled_model_takes_its_file_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    compiled = tilewright.compile(swish_network(), threads=1)
    assert compiled.path.exists()

    del compiled
    gc.collect()

    assert list(tmp_path.iterdir()) == []


def test_shapes_and_bindings() -> None:
    proto = model(
        [node("Add", ["x", "b"], "y", "add")],
        {"x": ("float32", ("N", 4)), "b": ("float32", (4,))},
        {"y": ("float32", ("N", 4))},
    )
    bias = np.arange(4, dtype=np.float32)

    compiled = tilewright.compile(proto, shapes={"x": (3, 4)}, bindings={"b": bias}, threads=1)

    np.testing.assert_array_equal(compiled(np.ones((3, 4), np.float32)), np.ones((3, 4)) + bias)


def test_options_are_checked_before_tvm_is_loaded(tmp_path: Path) -> None:
    onnx_file = tmp_path / "m.onnx"
    onnx_file.write_bytes(swish_network().SerializeToString())
    for options, error in (
        ({"model": tmp_path / "none.onnx"}, ModelError),
        ({"threads": 0}, UsageError),
        ({"jobs": 0}, UsageError),
        ({"precision": "fp8"}, UsageError),
        ({"emit": "exe"}, UsageError),
        ({"name": "7up"}, UsageError),
        ({"output": onnx_file}, OutputError),
        ({"output": "/dev/null"}, OutputError),
        ({"save_ir": onnx_file / "folder"}, OutputError),
    ):
        with pytest.raises(error):
            tilewright.compile(**{"model": onnx_file, **options}, progress=lambda *_: pytest.fail("work began"))
    assert Path("/dev/null").is_char_device()


def test_save_ir_and_keep_temps(tmp_path: Path) -> None:
    for _ in range(2):  # the second time, files of the first are replaced
        tilewright.compile(swish_network(), threads=1, save_ir=tmp_path / "ir", keep_temps=tmp_path / "kept")

    names = sorted(path.name for path in (tmp_path / "ir").iterdir())
    assert names[0] == "00_import.txt" and any("legalize" in name for name in names)
    assert any(path.suffix == ".o" for path in (tmp_path / "kept").iterdir())
