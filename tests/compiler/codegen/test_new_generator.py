"""A code generator is one class and one row: this one writes the plan as text, and the package knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_models import swish_network
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.codegen.generator import Generated, Program
from tilewright.compiler.codegen.generators import GENERATORS
from tilewright.compiler.library.plan import Call, Constants, leaves
from tilewright.compiler.options import CompileOptions
from tilewright.errors import UnsupportedError, UsageError


class TextGenerator:
    """Writes each step as a line."""

    kinds = ("txt",)
    jobs = ""
    folders = ()

    @staticmethod
    def usable(target: targets.Target) -> targets.Target:
        return target

    def __init__(self, target: targets.Target, kind: str) -> None:
        self.first_line = f"{kind} for {target.arch}"

    def write_weights(self, name: str, constants: Constants, folder: Path) -> None:
        (folder / "weights").write_bytes(b"".join(constants.contents))

    def generate(
        self, program: Program, folder: Path, output: Path, *, weights_done: Callable[[], None], **_: Any
    ) -> Generated:
        weights_done()
        plan, loops = program.plan, {each.symbol: str(each.function) for each in program.kernels.kernels}
        lines = [self.first_line, f"arena: {plan.workspace_bytes} bytes"]
        for step in leaves(plan.steps):
            if isinstance(step, Call):
                kernel = plan.kernels[step.kernel]
                buffers = " ".join(f"{plan.buffers[i].kind.value}+{plan.buffers[i].offset}" for i in step.arguments)
                lines.append(
                    f"{'+'.join(step.sources)}: {kernel.template} {buffers}, {loops[kernel.symbol].count('for')}"
                )
        library, header = folder / "plan.txt", folder / "weights.txt"
        library.write_text("\n".join(lines))
        header.write_text(f"/* a model compiled by Tilewright */ {(folder / 'weights').stat().st_size}")
        place = output.with_suffix(".h")
        return Generated({library: output, header: place}, place)


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> targets.Target:
    monkeypatch.setitem(GENERATORS, "text", TextGenerator)
    return replace(targets.host(), code_generator="text")


def test_it_is_chosen_by_the_target(target: targets.Target, tmp_path: Path) -> None:
    made = build(swish_network(), tmp_path / "net.txt", CompileOptions(target=target, emit="txt", threads=1))

    lines = (tmp_path / "net.txt").read_text().splitlines()
    assert made.plan is not None
    assert lines[:2] == [f"txt for {target.arch}", f"arena: {made.plan.workspace_bytes} bytes"]
    assert len(lines) == 2 + len(made.plan.steps) and any("tanh" in line and "contraction" in line for line in lines)
    assert (tmp_path / "net.h").read_text().endswith(f" {made.plan.constants.nbytes}")


def test_kinds_are_the_generators_own(target: targets.Target, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"--emit so is not possible"):
        build(swish_network(), tmp_path / "net.so", CompileOptions(target=target))
    with pytest.raises(UnsupportedError, match=r"--emit txt is not possible"):
        build(swish_network(), tmp_path / "net.so", CompileOptions(emit="txt"))
    with pytest.raises(UsageError, match="unknown kind of output 'exe'"):
        CompileOptions(emit="exe")
