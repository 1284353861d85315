"""A new instruction level, a new unit and a new architecture are rows that a test adds: nothing else changes."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import tilewright
from kernel_runner import Runner, random, relative_error, run_convolution
from numpy_reference import convolution
from small_models import swish_network
from soft_units import UNITS, SoftDots, soft_dots
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.verification.verify import verify
from tilewright.targets.architecture import Level
from tilewright.targets.architectures import ARCHITECTURES
from tilewright.targets.arm.aarch64 import AARCH64
from tilewright.targets.host import read_host
from tilewright.targets.hwcap import bit
from tilewright.targets.instructions import Emitted, Operand


def test_an_instruction_level(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ARCHITECTURES["x86_64"]
    avx = Level("AVX", frozenset({"avx"}), 256, 16, has_fma=False, broadcasts_operands=False)
    monkeypatch.setitem(ARCHITECTURES, row.name, replace(row, levels=(*row.levels[:-1], avx, row.levels[-1])))

    target = targets.parse("x86_64-linux-gnu", cpu="sandybridge")

    assert (target.isa, target.lanes(), target.has_fma) == ("AVX", 8, False)
    if not set(target.required_features) <= read_host().features:
        pytest.skip("this processor has no AVX")
    model = swish_network()
    compiled = tilewright.compile(model, target="x86_64-linux-gnu", cpu="sandybridge", threads=1)
    assert verify(compiled, model).passed


class Counted(SoftDots):
    """The vector unit again, which counts the steps that kernels take with it."""

    steps = 0

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """As before."""
        Counted.steps += 1
        return super().multiply_add(sums, lhs, rhs, extents)


def test_a_unit() -> None:
    unit = UNITS["AVX512-BF16"]
    counted = Counted(**vars(soft_dots(unit)))
    unit = replace(unit, name="NEW-BF16", instructions=lambda: counted, costs=replace(unit.costs, rate=4.0))
    target = replace(targets.parse("host", cores=1), units=(unit,))
    data, weights = random(1, 6, 6, 32, seed=1), random(32, 3, 3, 32, seed=2)

    result = run_convolution(Runner(), data, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1, target, "bfloat16")

    assert Counted.steps > 0
    expected = convolution(data, weights, (1, 1), (1, 1, 1, 1), (1, 1), 1)
    assert 1e-4 < relative_error(result, expected) < 2e-2  # rounded to bfloat16, and only that


def test_an_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = AARCH64.name
    row = replace(
        AARCH64,
        name=name,
        spellings=("newarm",),
        features=replace(AARCH64.features, rows={"dotprod": bit("dotprod", "asimddp", 20, generated=True)}),
    )
    monkeypatch.setitem(ARCHITECTURES, name, row)

    target = targets.parse("newarm-linux-gnu", cpu="cortex-a76")

    assert (target.triple, target.isa) == ("aarch64-unknown-linux-gnu", "NEON")
    assert target.required_features == ("dotprod",)  # not crypto, not float16: they have no row
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("linking for another architecture needs zig")
    library = tmp_path / "net.so"
    build(swish_network(), library, CompileOptions("newarm-linux-gnu", cpu="cortex-a76", threads=2, jobs=1))
    elf = Elf(library.read_bytes())
    assert elf.machine == "aarch64" and elf.section(".lrodata.tilewright_weights") is None
