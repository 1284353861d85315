"""Tuning on devices: what one is lost with goes to another; crashes and hangs there are known by their kernels."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import tilewright
from farms import built_server, lent, need_qemu, running_tracker
from overwritten import FOR_EVER, UNDEFINED, overwrite, x86
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import read_file
from tilewright.compiler.library.signature import Signature
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.device import Ended
from tilewright.compiler.runners.places import Behind
from tilewright.compiler.tuning import devices, run
from tilewright.compiler.tuning.devices import Devices
from tilewright.compiler.tuning.measure import Job
from tilewright.compiler.tuning.timings import Trial
from tilewright.errors import DeviceLostError, UnsupportedTargetError, UsageError
from tilewright.schedules.tuner.records import OK, read

DIGITS = Path(tilewright.__file__).parent / "examples" / "models" / "digits_cnn.onnx"
AARCH64 = CompileOptions(target="aarch64-linux-gnu", cpu="cortex-a72", threads=1, jobs=1)


@dataclass(frozen=True)
class Mortal:
    """This machine as a device that answers so many times."""

    answers: int
    counted: list[int] = field(default_factory=list, hash=False, compare=False)
    number: int = 0

    def execute(self, signature: Signature, folder: Path, command: list[str], seconds: float = 60) -> Ended:
        self.counted.append(1)
        if len(self.counted) > self.answers:
            raise DeviceLostError("it is gone", where=str(self))
        return Behind(()).execute(signature, folder, command, seconds)

    def __str__(self) -> str:
        return f"mortal {self.number}"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    made = build(swish_network(), tmp_path / "net.so", CompileOptions(threads=1, jobs=1, name="net"))
    assert made.signature is not None
    inputs = {s.name: np.random.default_rng(0).standard_normal(s.shape).astype(s.dtype) for s in made.signature.inputs}
    np.savez(tmp_path / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy takes names
    name = made.signature.outputs[0].name
    trials = [Trial([(0, 1)], [(0, 1)], [(name, name)]), Trial([(0, 3)], [(0, 1)])]
    return Job(tmp_path / "net.so", tmp_path / "inputs.npz", trials, 0, 0.05, 1e-4)


def test_a_kernel_takes_as_long_as_itself(job: Job) -> None:
    (found,) = Devices([Behind(())]).measured([job])

    assert found.dead_step is None and not found.wrong
    assert [round(timing.ratio, 6) for timing in found.timings] == [1, 3]


@x86
@pytest.mark.parametrize(("code", "hung"), [(UNDEFINED, False), (FOR_EVER, True)])
def test_a_kernel_that_dies_or_hangs_is_named(job: Job, code: bytes, hung: bool) -> None:
    signature = tilewright.load(job.library).signature
    last = len(signature.steps) - 1
    overwrite(job.library, signature.kernels[signature.steps[last].kernel].symbol, code)

    (found,) = Devices([Behind(())], still_seconds=2).measured([job])
    assert (found.dead_step, found.hung) == (last, hung)


def test_what_one_device_is_lost_with_another_does(job: Job) -> None:
    said: list[str] = []
    mortal, other = Mortal(0, number=1), Mortal(100, number=2)
    measurer = Devices([mortal, other], said.append)
    found = measurer.measured([job] * 8)

    assert len(found) == 8 and all(len(each.timings) == 2 for each in found)
    assert len(mortal.counted) == 1 and len(other.counted) == 8 and measurer.width == 1
    assert said == ["mortal 1: a device is lost, 1 left: it is gone"]
    with pytest.raises(DeviceLostError, match="no device is left"):
        Devices([Mortal(1), Mortal(1, number=3)]).measured([job] * 8)


def test_a_run_on_two_devices_one_of_which_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Mortal(1, number=1), Mortal(100, number=2)]  # one measures the defaults, and no more
    monkeypatch.setattr(devices, "places_of", lambda device: [places[int(device)]])
    path = tmp_path / "r.jsonl"
    options = CompileOptions(threads=1, jobs=1)
    found = tilewright.tune(DIGITS, records=path, trials=30, options=options, devices=["0", "1"])

    assert found.measured >= 30 and len(places[0].counted) == 2
    assert {record.state for record in read(path)[0]} == {OK}
    build(DIGITS, tmp_path / "net.so", CompileOptions(threads=1, jobs=1, records=path))


def test_a_target_that_is_not_here_needs_devices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be measured on this machine") as caught:
        tilewright.tune(DIGITS, records=tmp_path / "r.jsonl", options=AARCH64)
    assert "--device rpc:" in str(caught.value.hint)


def test_c_sources_are_not_tuned(tmp_path: Path) -> None:
    options = CompileOptions(target="thumbv7em-none-eabihf")
    with pytest.raises(UnsupportedTargetError, match=r"(?s)its code is no library.*--emit c"):
        tilewright.tune(DIGITS, records=tmp_path / "r.jsonl", options=options, devices=["qemu"])


@pytest.mark.slow
def test_a_farm_of_emulated_devices_one_of_which_dies(tmp_path: Path) -> None:
    """Through TVM's tracker: two servers that start programs in qemu; one is killed when there are records."""
    psutil = pytest.importorskip("psutil")
    emulator = need_qemu("aarch64")
    path, said = tmp_path / "r.jsonl", []
    with running_tracker() as port:
        server = built_server(tmp_path)
        device = f"rpc:127.0.0.1:{port}/a72"
        with lent(server, port, "a72", *emulator) as first, lent(server, port, "a72", *emulator):

            def kill_at_work() -> None:
                while not (path.exists() and path.stat().st_size and psutil.Process(first.pid).children()):
                    time.sleep(0.01)
                first.kill()

            threading.Thread(target=kill_at_work, daemon=True).start()
            found = run.tune(str(DIGITS), path, AARCH64, trials=30, devices=[device], warn=said.append)

    assert found.measured >= 30 and len(said) == 1 and "1 left" in said[0]
    records = read(path)[0]
    assert len(records) >= 30 and {record.target.split("-")[0] for record in records} == {"aarch64"}
    build(DIGITS, tmp_path / "net.so", replace(AARCH64, records=path))
    assert read_file(tmp_path / "net.so").signature.arch == "aarch64"
