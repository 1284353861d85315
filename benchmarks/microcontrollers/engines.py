"""Who makes C of a model: Tilewright, emx-onnx-cgen for floats, CMSIS-NN's kernels for integers."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import tilewright
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.microcontroller import Program, load_sources, program_of
from tilewright.targets import Target

from .case import FLOAT32, INT8, Case
from .cmsis_nn import cmsis_program

OURS, EMX, CMSIS_NN = "Tilewright", "emx-onnx-cgen", "CMSIS-NN"
# Ours alone: what others wrote has warnings.
_WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wdouble-promotion", "-pedantic")
_PACKAGES = ("compiler", "frontends", "ir_passes", "schedules", "targets")


@dataclass(frozen=True)
class Engine:
    """One of them.

    Attributes:
        name: in tables.
        takes: the dtype of the models that it is for; empty: all.
        version: what changes when its code does.
        program: what it makes of a model for a target, with files in a folder.
        flags: of the compiler, besides those of all.
    """

    name: str
    takes: str
    version: str
    program: Callable[[Case, Target, Path], Program]
    flags: tuple[str, ...] = ()


def engines(arena: int, emx: str | None, cmsis_nn: Path | None) -> Iterator[Engine]:
    """Tilewright and those others that are here.

    Args:
        arena: bytes that ours may take before it works patch by patch.
        emx: a Python with emx-onnx-cgen.
        cmsis_nn: the library's folder.
    """
    yield Engine(
        OURS,
        "",
        f"{_own_digest()} {arena}",
        lambda case, target, folder: _own_program(case, target, folder, arena),
        _WARNINGS,
    )
    if emx is not None:
        version = package_version(emx, EMX)
        yield Engine(EMX, FLOAT32, version, lambda case, target, folder: _emx_program(emx, case, target, folder))
    if cmsis_nn is not None:
        library = cmsis_nn.resolve()  # compilers run elsewhere
        yield Engine(
            CMSIS_NN,
            INT8,
            _digest_of(sorted(cmsis_nn.rglob("*.[ch]"))),
            lambda case, target, folder: cmsis_program(case.path, library, target, folder),
        )


def _own_program(case: Case, target: Target, folder: Path, arena: int) -> Program:
    options = CompileOptions(target=target, emit="c", name="model", jobs=1, arena=arena)
    build(str(case.path), folder / "model", options)
    return program_of(load_sources(folder / "model"), target.c_flags)


def _emx_program(python: str, case: Case, target: Target, folder: Path) -> Program:
    """Temporaries on the stack, weights in the source, as it has no heap here."""
    source = folder / "emx.c"
    on_chip = ["--large-temp-threshold", "0", "--large-weight-threshold", "0"]
    subprocess.run(
        [python, "-m", "emx_onnx_cgen", "compile", *on_chip, "--model-name", "emx", case.path, source],
        check=True,
        capture_output=True,
    )
    found = re.search(r"^void emx\(([^{]*)\)", source.read_text(), re.MULTILINE)
    assert found is not None
    (folder / "emx.h").write_text(f"void emx({found[1]});\n")
    tensors = ", ".join(f"(void *)tensor_{i}" for i in range(len(case.inputs) + len(case.outputs)))
    return Program(
        (source,), folder / "emx.h", f"emx({tensors})", case.input_specs, case.output_specs, target.c_flags, target.cpu
    )


@cache
def _own_digest() -> str:
    """Of all that compiles."""
    root = Path(tilewright.__file__).parent
    texts = (path for package in _PACKAGES for path in (root / package).rglob("*") if path.suffix in (".py", ".jinja"))
    return _digest_of([*sorted(root.glob("*.py")), *sorted(texts)])


def _digest_of(paths: list[Path]) -> str:
    digester = hashlib.sha256()
    for path in paths:
        digester.update(path.read_bytes())
    return digester.hexdigest()


def package_version(python: str, package: str) -> str:
    """Of a package of another environment."""
    code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    return subprocess.run([python, "-c", code, package], capture_output=True, text=True, check=True).stdout.strip()
