"""The kernels of a library for a GPU under ceilings that are measured there, on an emulated one."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation, swish_on_gpu
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.artifact import CompiledModel
from tilewright.compiler.measurement import device_peak
from tilewright.compiler.measurement.bench import peak_of, profile
from tilewright.compiler.measurement.device_peak import measured_device_peak, unit_of_grids
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.reports.roofline_tables import ceilings
from tilewright.targets import parse

__all__ = ["emulated_driver", "emulation", "swish_on_gpu"]  # fixtures


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_peak, "_ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(device_peak, "_LEVEL_SECONDS", 1e-3)


def test_kernels_under_the_ceilings(emulation: Emulation, swish_on_gpu: CompiledModel) -> None:
    roofline = profile(swish_on_gpu, random_inputs(swish_on_gpu.inputs, 0), repeat=2, threads=0)

    assert len(roofline.kernels) == len(swish_on_gpu.signature.steps)
    assert all(row.seconds > 0 and row.bound is not None for row in roofline.kernels)
    assert [level.name for level in roofline.peak.levels] == ["L2", "memory"]
    assert ceilings(roofline).endswith("(an emulated GPU, 2 multiprocessors)")


@pytest.mark.parametrize(
    ("precision", "unit"), [("fp16", "mma fp16"), ("bf16", "mma bf16"), ("tf32", "mma tf32"), ("fp32", None)]
)
def test_the_peak_is_that_of_what_multiplies(precision: str, unit: str | None, emulation: Emulation, tmp_path: Path) -> None:
    options = CompileOptions(target=TRIPLE, cpu="sm_80", emit="cu", precision=precision, name="net", jobs=1)
    made = build(swish_network(), tmp_path / "net", options)
    assert made.signature is not None
    found = unit_of_grids(made.signature)

    assert (found.name if found is not None else None) == unit
    peak = peak_of(made.signature)
    assert peak.flops_per_second > 0 and peak.device == "an emulated GPU" and peak.threads == 2


def test_integers_are_multiplied_in_float32_libraries(swish_on_gpu: CompiledModel, emulation: Emulation) -> None:
    unit = next(each for each in parse(TRIPLE, "sm_80").units if each.lhs == "int8")

    assert measured_device_peak(unit).flops_per_second > 0
    assert parse(TRIPLE, "sm_80") == parse(TRIPLE, "sm_80")  # units with peaks are equal
