"""The kernels of a library for a GPU under ceilings that are measured there, on an emulated one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation, swish_on_gpu
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.artifact import CompiledModel
from tilewright.compiler.measurement import device_peak
from tilewright.compiler.measurement.bench import peak_of, profile
from tilewright.compiler.measurement.device_peak import unit_of_grids
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
    ("precision", "unit"),
    [
        ("tf32", "mma tf32"),
        *(
            pytest.param(p, f"mma {u}", marks=pytest.mark.slow)
            for p, u in (("fp16",) * 2, ("bf16",) * 2, ("fp32", "int8"))
        ),
    ],
)
def test_the_peak_is_that_of_what_multiplies(
    precision: str, unit: str, emulation: Emulation, swish_on_gpu: CompiledModel
) -> None:
    signature = replace(swish_on_gpu.signature, precision=precision)
    kernels = tuple(replace(kernel, template="tensor_cores") for kernel in signature.kernels)

    assert unit_of_grids(signature) is None  # of which no kernel uses a unit
    signature = replace(signature, kernels=kernels)
    found = unit_of_grids(signature)
    assert found is not None and found.name == unit
    peak = peak_of(signature)
    assert peak.flops_per_second > 0 and peak.device == "an emulated GPU" and peak.threads == 2


def test_targets_with_peaks_are_equal() -> None:
    assert parse(TRIPLE, cpu="sm_80") == parse(TRIPLE, cpu="sm_80")
