"""The model that docs/architecture.md follows through the stages: its commands, and what they show, line by line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
import tilewright
from tilewright.compiler.cli.main import run

DOCUMENT = Path(tilewright.__file__).parent / "docs" / "architecture.md"
# Passes whose module the drawing spells out.
SPELLED = ("import", "fold_batch_norm", "channels_last", "fuse_epilogues")
# As TVM prints a binding, and a kernel's first two lines.
_BINDING = re.compile(r" = R\.(?:nn\.)?(\w+)\((?:cls\.(\w+))?")
_TENSOR = re.compile(r"R\.Tensor\(\(([\d, ]+)\)")
_KERNEL = re.compile(r"    def (\w+)\((.*)\):\n        T\.func_attr\((.*)\)\n")
_WEIGHTS = re.compile(r"arg1: T\.Buffer\(\((.*?)\), \"")


@pytest.fixture(scope="module")
def section() -> str:
    if not DOCUMENT.exists():
        pytest.skip("installed without its sources")
    return DOCUMENT.read_text().partition("## One model through the stages\n")[2].partition("\n## ")[0]


@pytest.fixture(scope="module")
def drawing(section: str) -> str:
    """Its words, however they are broken into lines."""
    return " ".join(section.rpartition("```\n")[2].replace("|", " ").split())


@pytest.fixture(scope="module")
def folder(section: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the script and the first of the commands beside it were run."""
    (script,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    compiling, _ = commands(section)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("one_model"))
        exec(script, {})
        assert run(compiling) == 0
        yield Path.cwd()


def commands(section: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in section.splitlines() if line.startswith("    tilewright ")]


def module_after(folder: Path, name: str) -> str:
    (path,) = folder.glob(f"ir/*_{name}.txt")
    return path.read_text()


def operators(module: str) -> str:
    """Operators and kernels that `main` calls, with the size of each result that is not that of the one before."""
    told, before = [], ""
    for line in module.splitlines():
        called, tensor = _BINDING.search(line), _TENSOR.search(line)
        if called and tensor:
            size = tensor[1].replace(", ", "x")
            told.append(f"{called[2] or called[1]} {size}" if size != before else called[2] or called[1])
            before = size
    return ", ".join(told)


@pytest.mark.parametrize("name", SPELLED)
def test_operators_are_those_of_the_drawing(name: str, folder: Path, drawing: str) -> None:
    told = operators(module_after(folder, name))
    assert told.count(",") >= 4
    assert f": {told} " in drawing


def test_choices_are_those_of_the_drawing(folder: Path, drawing: str) -> None:
    module = module_after(folder, "schedule")
    kernels = {name: (parameters, marks) for name, parameters, marks in _KERNEL.findall(module)}
    called = re.findall(r"call_tir\(cls\.(\w+)", module)
    assert len(called) == len(kernels) == 4

    def mark(of: str, name: str) -> str:
        (value,) = re.findall(rf'"tilewright\.{name}": "(.*?)"', kernels[of][1])
        return str(value)

    table = " ".join(f"{name} {mark(name, 'template')} {mark(name, 'choice')}" for name in called)
    assert table in drawing
    rows, vectors = (re.findall(rf"\b{name}=(\d+)", mark(called[1], "choice"))[0] for name in ("rows", "vectors"))
    assert f"tiles of {rows} rows by {vectors} vectors of 8 floats" in drawing
    packed = _WEIGHTS.findall(kernels[called[1]][0])[0]
    (weights,) = (each.dims for each in onnx.load("net.onnx").graph.initializer if each.name == "w")
    sizes = ("x".join(map(str, weights)), "x".join(re.findall(r"\((\d+)\)", packed)))
    assert "weights of {} are packed as {} ".format(*sizes) in drawing


def test_kernels_are_those_of_the_drawing(
    folder: Path, section: str, drawing: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, inspecting = commands(section)
    assert run(inspecting) == 0
    shown = capsys.readouterr().out.splitlines()
    rows = [" ".join(line.split()) for line in shown if re.match(r"k\d+_", line)]
    assert len(rows) == 4 and "a run: 4 steps," in "\n".join(shown)
    assert drawing.split("`inspect`: ")[1].startswith(" ".join(rows))
