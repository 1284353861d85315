"""Tuning a small model: what is found is kept and used; candidates that crash, hang or err cost themselves alone."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from overwritten import FOR_EVER, UNDEFINED, overwrite, x86
from small_models import swish_network
from tilewright.annotations import WORKLOAD
from tilewright.compiler.build import build
from tilewright.compiler.built import Build
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.tuning import measure as measuring
from tilewright.compiler.tuning import session
from tilewright.compiler.tuning.excerpt import excerpt, kernel_passes
from tilewright.compiler.tuning.measure import measure
from tilewright.compiler.tuning.timings import Trial
from tilewright.compiler.tuning.trial_library import TrialLibrary
from tilewright.errors import OutputError, UsageError
from tilewright.schedules.tuner.records import CRASHED, HUNG, OK, WRONG, Record, read
from tilewright.schedules.tuner.search import Collector

ONE = CompileOptions(threads=1, jobs=1)
DIGITS = Path(tilewright.__file__).parent / "examples" / "models" / "digits_cnn.onnx"


def tuned(path: Path, trials: int, model: Any = DIGITS) -> session.Progress:
    """A short run."""
    return tilewright.tune(model, records=path, trials=trials, options=ONE)


def test_an_excerpt_has_each_kernel_once_and_the_model_s_weights() -> None:
    made = excerpt(DIGITS, ONE, Collector())
    whole = build(DIGITS, None, ONE, stop_after="plan")
    part = build(made.of(made.workloads), None, ONE, stop_after="plan", passes=kernel_passes)

    assert whole.table is not None and part.table is not None and whole.plan is not None and part.plan is not None
    keys = [sorted(str(WORKLOAD.of(function)) for _, function in each.table.functions) for each in (whole, part)]
    assert keys[0] == keys[1] == sorted(piece.workload for piece in made.pieces)
    assert part.plan.constants.nbytes == whole.plan.constants.nbytes


def test_what_is_found_is_written_used_and_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    found = tuned(path, 12)

    records, problems = read(path)
    assert not problems and len(records) >= 12 and found.trials >= 12
    assert {record.state for record in records} == {OK}
    assert found.best_seconds <= found.default_seconds

    again = tuned(path, 14)
    assert again.trials >= found.trials

    def choices(of: list[Record]) -> set[tuple[str, str]]:
        return {(record.workload, record.choice) for record in of}

    assert len(choices(read(path)[0])) > len(choices(records))

    libraries = [tmp_path / name for name in ("a.so", "b.so", "c.so")]
    for library, options in zip(libraries, (path, path, None), strict=True):
        build(DIGITS, library, CompileOptions(threads=1, jobs=1, name="net", records=options))
    assert libraries[0].read_bytes() == libraries[1].read_bytes()
    image = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    with_records, without = (tilewright.load(libraries[i]).run({"image": image})["logits"] for i in (0, 2))
    np.testing.assert_allclose(with_records, without, rtol=1e-4, atol=1e-4)


@pytest.fixture
def library(tmp_path: Path) -> tuple[Path, Build]:
    """A library and, beside it, its inputs."""
    made = build(swish_network(), tmp_path / "net.so", CompileOptions(threads=1, jobs=1, name="net"))
    assert made.signature is not None
    inputs = {s.name: np.random.default_rng(0).standard_normal(s.shape).astype(s.dtype) for s in made.signature.inputs}
    np.savez(tmp_path / "inputs.npz", **inputs)  # type: ignore[arg-type]  # numpy takes names
    return tmp_path / "net.so", made


def measured(path: Path, trials: list[Trial], **options: Any) -> Any:
    return measure(
        path, path.with_name("inputs.npz"), path.parent, trials, threads=0, seconds=0.05, rtol=1e-4, **options
    )


def test_a_kernel_takes_as_long_as_itself(library: tuple[Path, Build]) -> None:
    path, made = library
    assert made.signature is not None
    output = made.signature.outputs[0].name
    found = measured(path, [Trial([(0, 1)], [(0, 1)], [(output, output)]), Trial([(0, 3)], [(0, 1)])])

    assert found.dead_step is None and not found.wrong
    assert [round(timing.ratio, 6) for timing in found.timings] == [1, 3]
    assert found.timings[1].seconds == pytest.approx(3 * found.timings[0].default_seconds)


@x86
@pytest.mark.parametrize(("code", "hung"), [(UNDEFINED, False), (FOR_EVER, True)])
def test_a_kernel_that_dies_or_hangs_is_named(library: tuple[Path, Build], code: bytes, hung: bool) -> None:
    path, made = library
    assert made.signature is not None
    last = len(made.signature.steps) - 1
    overwrite(path, made.signature.kernels[made.signature.steps[last].kernel].symbol, code)

    found = measured(path, [Trial([(0, 1)], [(0, 1)])], still_seconds=1.5)
    assert (found.dead_step, found.hung) == (last, hung)


@x86
def test_candidates_that_fail_are_recorded_and_never_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates of the heaviest workload crash, hang, or compute nothing."""
    returns_at_once = b"\x31\xc0\xc3"
    codes = iter([None, UNDEFINED, FOR_EVER, returns_at_once])  # the first library is that of the defaults
    compiled: Callable[..., Build] = TrialLibrary._compiled
    heaviest: list[str] = []

    def damaged(library: TrialLibrary, variants: Any, number: int) -> Build:
        made = compiled(library, variants, number)
        code = next(codes, None)
        if code is not None and made.table is not None and made.path is not None:
            keys = [WORKLOAD.of(function) for _, function in made.table.functions]
            heaviest[:] = heaviest or [str(keys[0])]  # defaults stand first, the heaviest's first of all
            first = f"_{len(set(keys))}"  # the number of the first variant after the defaults, the heaviest's too
            symbols = [symbol for symbol, _ in made.table.functions if symbol.endswith(first)]
            overwrite(made.path, symbols[0], code)
        return made

    monkeypatch.setattr(TrialLibrary, "_compiled", damaged)
    monkeypatch.setattr(measuring, "measure", lambda *a, **k: measure(*a, **k, still_seconds=1.5))
    monkeypatch.setattr(session, "_SLOTS", 6)
    path = tmp_path / "r.jsonl"
    found = tuned(path, 16, swish_network())

    records = read(path)[0]
    states = [record.state for record in records if record.workload == heaviest[0]]
    assert states[:2] == [CRASHED, HUNG] and states.count(WRONG) == 1 and OK in states
    assert found.failed == {CRASHED: 1, HUNG: 1, WRONG: 1}
    failed = {(record.workload, record.choice) for record in records if record.state != OK}
    best = {(task.key, str(task.best.decision.choice)) for task in found.tasks if task.best is not None}
    assert not failed & best


def test_a_full_disk_keeps_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.jsonl"
    tuned(path, 1, swish_network())
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="records cannot be written: No space left"):
        tuned(path, 20, swish_network())
    assert path.read_bytes() == before


def test_records_are_a_file() -> None:
    for path in ("/dev/zero", "/"):
        with pytest.raises((UsageError, OutputError)):
            tilewright.tune(DIGITS, records=path, trials=1, options=ONE)


def test_kill_9_loses_at_most_a_generation(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    code = "import tilewright; from tilewright.compiler.options import CompileOptions as O; "
    code += f"tilewright.tune({str(DIGITS)!r}, records={str(path)!r}, options=O(threads=1, jobs=1))"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        until = time.monotonic() + 120
        while (not path.exists() or path.stat().st_size < 1200) and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    before, problems = read(path)
    assert before and len(problems) <= 1
    found = tuned(path, len(before) + 1)
    assert found.trials > len({(each.workload, each.choice) for each in before}) - 1
    assert read(path)[0][: len(before)] == before


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"trials": -1}])
def test_limits_that_are_none(tmp_path: Path, limits: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="no limit"):
        tilewright.tune(DIGITS, records=tmp_path / "r.jsonl", **limits)
