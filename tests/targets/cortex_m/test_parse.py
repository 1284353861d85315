"""Triples without an operating system, and the processors that fit them."""

from __future__ import annotations

import pytest
from tilewright import targets
from tilewright.compiler.codegen.generators import generator_for
from tilewright.errors import UnsupportedError, UnsupportedTargetError
from tilewright.targets.cortex_m.processors import PROCESSORS


@pytest.mark.parametrize("row", PROCESSORS, ids=lambda row: row.name)
def test_every_processor(row: targets.Target) -> None:
    target = targets.parse(f"{row.architecture}-none-{row.environment}", cpu=row.name)

    lanes = 4 if row.name == "cortex-m55" else 1
    assert (target.cpu, target.lanes(), target.cores) == (row.name, lanes, 1) and target.saves_memory
    assert target.has_fma == row.has_floats and f"-mcpu={row.name}" in target.c_flags
    target.to_tvm()  # LLVM, whose lowering is used, knows the triple and the CPU


def test_what_stands_for_what() -> None:
    assert targets.parse("thumbv7em-none-eabihf").cpu == "cortex-m4"
    soft = targets.parse("thumbv7em-none-eabi", cpu="cortex-m7")
    assert not soft.has_fma and soft.c_flags == ("-mcpu=cortex-m7+nofp", "-mthumb", "-mfloat-abi=soft")


def test_what_is_refused() -> None:
    with pytest.raises(UnsupportedTargetError, match=r"unknown target 'thumbv9-none-eabi'") as caught:
        targets.parse("thumbv9-none-eabi")
    assert "thumbv7em-none-eabihf" in str(caught.value.hint)
    with pytest.raises(UnsupportedTargetError, match="no CPU for thumbv7em-none-eabihf") as caught:
        targets.parse("thumbv7em-none-eabihf", cpu="cortex-m55")
    assert caught.value.hint == "one of cortex-m4, cortex-m7; for cortex-m55 --target thumbv8.1m.main-none-eabihf"
    with pytest.raises(UnsupportedTargetError, match="features of microcontrollers"):
        targets.parse("thumbv7em-none-eabihf", features=("+dsp",))
    with pytest.raises(UnsupportedError, match="--emit so is not possible") as refused:
        generator_for(targets.parse("thumbv7em-none-eabihf"), "so")
    assert refused.value.hint == "--emit c"
