"""A library's code is the file's, whatever was loaded before from the same place."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from emitted_models import MLP_INPUTS, emitted, mlp
from small_models import model, node
from tilewright.compiler.built import Build
from tilewright.compiler.library import native_library
from tilewright.compiler.library.artifact import CompiledModel, load
from tilewright.errors import LibraryError
from tvm import relax

X = np.random.default_rng(5).standard_normal((5, 24), dtype=np.float32)


def scaled(folder: Path, factor: float) -> Build:
    """A library that multiplies by `factor`."""

    def body(emit: Callable[..., Any], x: Any) -> list[Any]:
        return [emit(relax.op.multiply(x, relax.const(np.full((5, 24), factor, np.float32))))]

    folder.mkdir(exist_ok=True)
    return emitted(folder, MLP_INPUTS, body)


@pytest.fixture(params=[native_library.COPIED_BYTES, 0], ids=["copied", "mapped"])
def size_limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(native_library, "COPIED_BYTES", request.param)
    limit: int = request.param
    return limit


@pytest.mark.usefixtures("size_limit")
def test_the_same_place_again(tmp_path: Path) -> None:
    models = [load(scaled(tmp_path, factor).path) for factor in (2, 3, 4)]
    models.append(load(models[-1].path))

    for each, factor in zip(models, (2, 3, 4, 4), strict=True):
        np.testing.assert_array_equal(each(X), X * np.float32(factor))


@pytest.mark.usefixtures("size_limit")
def test_a_file_that_was_exchanged(tmp_path: Path) -> None:
    place = tmp_path / "net.so"
    files = [scaled(tmp_path / str(factor), factor).path for factor in (2, 3)]
    place.symlink_to(files[0])
    first = load(place)
    place.unlink()
    place.symlink_to(files[1])
    second = load(place)
    files[0].unlink()

    np.testing.assert_array_equal(second(X), X * np.float32(3))
    np.testing.assert_array_equal(first(X), X * np.float32(2))


def test_saving_what_is_no_longer_there(tmp_path: Path) -> None:
    first = load(scaled(tmp_path, 2).path)
    second = load(scaled(tmp_path, 3).path)
    second.save(tmp_path / "copy.so")
    np.testing.assert_array_equal(load(tmp_path / "copy.so")(X), X * np.float32(3))
    with pytest.raises(LibraryError, match="another library"):
        first.save(tmp_path / "copy.so")
    np.testing.assert_array_equal(load(tmp_path / "copy.so")(X), X * np.float32(3))


def test_a_file_that_was_overwritten_in_place(tmp_path: Path) -> None:
    # In a process of its own: it must end well, too, though the library's destructor runs then.
    files = [scaled(tmp_path / str(factor), factor).path for factor in (2, 3)]
    code = (
        "import shutil, sys, numpy as np; from tilewright.compiler.library.artifact import load\n"
        "x = np.ones((5, 24), np.float32)\n"
        "shutil.copyfile(sys.argv[1], sys.argv[3]); first = load(sys.argv[3])\n"
        "print(first(x).max())\n"
        "shutil.copyfile(sys.argv[2], sys.argv[3]); second = load(sys.argv[3])\n"
        "print(second(x).max(), first(x).max())\n"
        "open(sys.argv[3], 'w').close()\n"
        "print(second(x).max(), first(x).max())\n"
    )
    arguments = [*map(str, files), str(tmp_path / "net.so")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout.split()) == (0, ["2.0", "3.0", "2.0", "3.0", "2.0"]), done.stderr


def test_a_large_file_that_was_overwritten_while_it_was_loaded(tmp_path: Path) -> None:
    files = [scaled(tmp_path / str(factor), factor).path for factor in (2, 3)]
    # Loaded once by us, once by somebody who asked the C library for it; nothing can mend those.
    code = (
        "import ctypes, os, shutil, sys, numpy as np\n"
        "from tilewright.compiler.library import native_library; native_library.COPIED_BYTES = 0\n"
        "from tilewright.compiler.library.artifact import load\n"
        "shutil.copyfile(sys.argv[1], sys.argv[3])\n"
        "kept = [load(sys.argv[3]) if sys.argv[4] == 'ours' else ctypes.CDLL(sys.argv[3])]\n"
        "shutil.copyfile(sys.argv[2], sys.argv[3])\n"
        "print(load(sys.argv[3])(np.ones((5, 24), np.float32)).max(), flush=True)\n"
        "os._exit(0)\n"
    )
    for owner in ("ours", "others"):
        arguments = [*map(str, files), str(tmp_path / f"{owner}.so"), owner]
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "3.0\n"), done.stderr


def test_other_shapes_in_the_same_place(tmp_path: Path) -> None:
    for size in (4, 9, 3, 100_000):
        proto = model([node("Exp", ["x"], "y", "exp")], {"x": ("float32", (size,))}, {"y": ("float32", (size,))})
        compiled = tilewright.compile(proto, output=tmp_path / "net.so", threads=1)
        np.testing.assert_allclose(compiled(np.ones(size, np.float32)), np.full(size, np.e, np.float32), rtol=1e-6)


def loaded_code() -> int:
    """Executable mappings of this process."""
    return sum("x" in line.split()[1] for line in Path("/proc/self/maps").read_text().splitlines())


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.usefixtures("size_limit")
def test_code_is_shared_and_goes_with_the_last_model(tmp_path: Path) -> None:
    path = emitted(tmp_path, MLP_INPUTS, mlp).path
    expected = load(path)(X)
    gc.collect()
    before, descriptors = loaded_code(), open_files()
    models: list[CompiledModel] = [load(path) for _ in range(100)]
    assert loaded_code() == before + 1 and open_files() == descriptors
    first = models[0]
    models.clear()
    np.testing.assert_array_equal(first(X), expected)
    del first
    gc.collect()
    assert loaded_code() == before


def test_names_never_repeat(tmp_path: Path) -> None:
    path = emitted(tmp_path, MLP_INPUTS, mlp).path
    names = {load(path)._entries._library.functions._name for _ in range(40)}
    assert len(names) == 40 and all(len(name) < 100 for name in names)


def test_where_there_is_no_memory_for_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise MemoryError("Unable to allocate 7 EiB")

    loaded = load(emitted(tmp_path, MLP_INPUTS, mlp).path)
    monkeypatch.setattr("tilewright.compiler.library.artifact.np.empty", refuse)
    with pytest.raises(tilewright.errors.TilewrightError, match="not enough memory"):
        loaded(X)
