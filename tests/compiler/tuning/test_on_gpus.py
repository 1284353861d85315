"""Tuning for a GPU: candidates are measured by a process of their own, on an emulated one."""

from __future__ import annotations

from pathlib import Path

import pytest
import tilewright
from cuda_emulation import TRIPLE, Emulation, emulated_driver, emulation, inherited
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.tuning.run import placed, spaces
from tilewright.errors import UnsupportedTargetError, UsageError
from tilewright.schedules.tuner.records import OK, read
from tilewright.targets.cuda.parse import NATIVE

__all__ = ["emulated_driver", "emulation", "inherited"]  # fixtures


@pytest.mark.usefixtures("inherited")
def test_choices_are_measured_and_used(emulation: Emulation, tmp_path: Path) -> None:
    records = tmp_path / "records.jsonl"

    found = tilewright.tune(
        swish_network(), records=records, trials=2, devices=("cuda",), options=CompileOptions(jobs=1)
    )

    known, problems = read(records)
    assert found.measured == 2 and not problems and not found.failed
    assert {each.state for each in known} == {OK} and all(each.ratio > 0 for each in known)
    assert all("sm_80" in each.target for each in known)  # the emulated GPU's
    options = {"target": TRIPLE, "cpu": NATIVE, "records": records, "jobs": 1}
    made = build(swish_network(), tmp_path / "net", CompileOptions(emit="cu", **options))
    assert made.signature is not None and made.signature.cpu == "sm_80"


def test_a_gpu_is_a_device_by_itself(emulated_driver: Emulation) -> None:
    options = CompileOptions(target=TRIPLE, cpu="sm_90a")

    assert placed(options, ("cuda",)) == (options, ())
    assert placed(CompileOptions(), ("cuda",)) == (CompileOptions(target=TRIPLE, cpu=NATIVE), ())
    assert placed(CompileOptions(), ("qemu",)) == (CompileOptions(), ("qemu",))
    with pytest.raises(UsageError, match="no other device"):
        placed(options, ("cuda", "qemu"))


def test_choices_are_counted_without_a_gpu() -> None:
    tasks = spaces(swish_network(), CompileOptions(target=TRIPLE, cpu="sm_80", precision="tf32", jobs=1))

    assert tasks and all(task.candidates for task in tasks)


def test_a_machine_without_a_gpu_has_no_native_one(emulated_driver: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    from tilewright.targets.cuda import driver, parse

    monkeypatch.setenv("TILEWRIGHT_EMULATOR_NO_DEVICE", "1")
    monkeypatch.setattr(parse, "driver", driver.Driver)
    with pytest.raises(UnsupportedTargetError, match="no GPU here"):
        tilewright.compile(swish_network(), target=TRIPLE, cpu=NATIVE)
