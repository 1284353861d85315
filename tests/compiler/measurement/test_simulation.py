"""Simulated cores: the bits of every other run, the times of tasks, and what is made of them."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from tilewright.compiler.build import build
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.artifact import CompiledModel, load
from tilewright.compiler.measurement import simulation
from tilewright.compiler.measurement.bench import work_of
from tilewright.compiler.measurement.machine_peak import MemoryLevel, Peak, with_more_cores
from tilewright.compiler.measurement.roofline import Work
from tilewright.compiler.measurement.simulated import HandOff, Launch, SimulatedKernel, Step
from tilewright.compiler.measurement.simulation import moving_seconds, read_steps, simulate
from tilewright.compiler.options import CompileOptions
from tilewright.errors import ComparisonError, LibraryError, ToolError, UsageError
from tilewright.schedules.templates.template import Decision, choose_default
from tilewright.targets.architectures import ARCHITECTURES
from tilewright.targets.host import read_host
from tilewright.targets.target import Target

MODELS = Path(__file__).parents[2] / "models"
THREADS = (1, 2, 3, 4, 7, 8, 16, 64)
VOCABULARY = 97  # of the miniature language models
CORES = 64


def shared_by_all(templates: Sequence[Any], workload: Any, target: Target) -> Decision[Any, Any]:
    """The default in as many pieces as it can be cut into, shared by all cores however little there is to do."""
    decision = choose_default(templates, workload, target)
    shared = replace(decision.choice, threads=target.cores)
    pieces = replace(shared, row_tiles=1) if hasattr(shared, "row_tiles") else shared
    possible = pieces in decision.template.space(decision.workload, target)
    return replace(decision, choice=pieces if possible else shared)


def compiled(name: str, folder: Path) -> CompiledModel:
    path = folder / f"{name}.so"
    build(MODELS / f"{name}.onnx", path, CompileOptions(threads=CORES, jobs=1), choose=shared_by_all)
    return load(path)


def inputs_of(model: CompiledModel) -> dict[str, Any]:
    return random_inputs(model.inputs, 0, {spec.name: VOCABULARY for spec in model.inputs if spec.dtype == "int64"})


@pytest.fixture(scope="module")
def bottleneck(tmp_path_factory: pytest.TempPathFactory) -> CompiledModel:
    return compiled("resnet_bottleneck", tmp_path_factory.mktemp("simulation"))


@pytest.fixture
def few_seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's numbers are not measured."""
    peak = Peak(100e9, (MemoryLevel("L1", 32 << 10, 400e9), MemoryLevel("memory", None, 10e9)), 1)
    monkeypatch.setattr(simulation, "measured_peak", lambda threads: replace(peak, threads=threads))
    yield


def bits(outputs: dict[str, Any]) -> list[bytes]:
    return [array.tobytes() for array in outputs.values()]


@pytest.mark.sweep(3)
@pytest.mark.parametrize("name", ["resnet_bottleneck", "mobilenet_v3", "efficientnet", "bert"])
def test_any_number_of_threads_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    """With threads and without: so no task reads what another one of the same loop writes."""
    model = compiled(name, tmp_path)
    inputs = inputs_of(model)
    model.set_num_threads(1)
    expected = bits(model.run(inputs))

    most = 0
    for threads in THREADS:
        outputs, stream = model.simulate(inputs, threads)
        assert bits(outputs) == expected, f"{threads} simulated threads"
        model.set_num_threads(threads)
        assert bits(model.run(inputs)) == expected, f"{threads} threads"
        loops = [launch for step in read_steps(stream, model.signature) for launch in step.launches]
        assert all(len(launch.tasks) <= threads for launch in loops)
        most = max(most, *(launch.busy for launch in loops))
    assert most >= 8  # there was something to share


def test_steps_are_those_of_the_library(bottleneck: CompiledModel) -> None:
    outputs, stream = bottleneck.simulate(inputs_of(bottleneck), 4)
    steps = read_steps(stream, bottleneck.signature)

    assert len(steps) == len(bottleneck.signature.steps) and list(outputs)
    assert all(0 <= step.serial <= step.seconds < 1 for step in steps)
    assert sum(len(step.launches) for step in steps) > len(steps) / 2
    alone = read_steps(bottleneck.simulate(inputs_of(bottleneck), 1)[1], bottleneck.signature)
    assert [len(launch.tasks) for step in alone for launch in step.launches] == [1] * sum(
        len(step.launches) for step in steps
    )


def test_other_threads_run_as_ever_meanwhile(bottleneck: CompiledModel) -> None:
    inputs = inputs_of(bottleneck)
    expected = bits(bottleneck.run(inputs))
    lengths: set[int] = set()
    wrong: list[bool] = []

    def repeat(act: Callable[[], dict[str, Any]]) -> None:
        wrong.extend(bits(act()) != expected for _ in range(30))

    def simulated() -> dict[str, Any]:
        outputs, stream = bottleneck.simulate(inputs, 3)
        lengths.add(len(stream))
        return outputs

    bottleneck.set_num_threads(2)
    acts = [simulated, simulated, lambda: bottleneck.run(inputs), lambda: bottleneck.run(inputs)]
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "deadlock"
    assert not any(wrong)
    assert len(lengths) == 1, "launches of another thread were taken for those of the simulation"


def test_nothing_is_written_beyond_the_room_there_is(
    bottleneck: CompiledModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(bottleneck)
    _, whole = bottleneck.simulate(inputs, 64)
    monkeypatch.setattr(bottleneck, "signature", replace(bottleneck.signature, steps=()))

    _, again = bottleneck.simulate(inputs, 64)  # begins with no room at all

    assert len(again) == len(whole)
    with pytest.raises(LibraryError, match="disagree about steps"):
        read_steps(again, bottleneck.signature)


def test_a_simulation_of_more_cores_than_there_are(bottleneck: CompiledModel, few_seconds: None) -> None:
    told: list[tuple[str, int, int]] = []
    found = simulate(
        bottleneck, inputs_of(bottleneck), threads=64, repeat=4, progress=lambda *state: told.append(state)
    )

    assert ("64 threads", 4, 4) in told
    assert found.measured is None and not found.peak_is_measured and found.peak.threads == 64
    assert [kernel.lost for kernel in found.kernels] == sorted((each.lost for each in found.kernels), reverse=True)
    assert sorted(kernel.work.step for kernel in found.kernels) == list(range(len(bottleneck.signature.steps)))
    for kernel in found.kernels:
        assert 1 <= kernel.tasks <= 64 and kernel.seconds > 0 and 0 <= kernel.hand_off_share <= 1
        assert kernel.balance is None or 0 < kernel.balance <= 1
    assert found.seconds == pytest.approx(sum(kernel.seconds for kernel in found.kernels))
    few = found.with_few_tasks(0.0)
    assert few and all(kernel.tasks < 64 for kernel in few)
    report = found.to_json()["simulation"]
    assert report["speedup"] == pytest.approx(found.alone / found.seconds)
    assert len(report["kernels"]) == len(found.kernels)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_two_threads_are_measured_too(bottleneck: CompiledModel, few_seconds: None) -> None:
    found = simulate(bottleneck, inputs_of(bottleneck), threads=2, repeat=4)

    # How near they are depends on who else computes here: docs/benchmarks.md has the command for a machine at rest.
    assert found.measured is not None and found.measured > 0 and found.peak_is_measured
    assert found.hand_off.measured_with in (0, 2)
    assert 0 < found.hand_off.seconds(2) < 1e-4


def test_outputs_of_other_bits_are_an_error(
    bottleneck: CompiledModel, few_seconds: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = bottleneck.simulate

    def wrong(inputs: Any, threads: int) -> Any:
        outputs, stream = right(inputs, threads)
        name = next(iter(outputs))
        return {**outputs, name: np.nextafter(outputs[name], np.float32(9))}, stream

    monkeypatch.setattr(bottleneck, "simulate", wrong)
    with pytest.raises(ComparisonError, match="other bits when 1 threads share"):
        simulate(bottleneck, inputs_of(bottleneck), threads=3, repeat=1)


def test_libraries_that_cannot_be_simulated(bottleneck: CompiledModel, tmp_path: Path) -> None:
    inputs = inputs_of(bottleneck)
    with pytest.raises(UsageError, match="257 threads"):
        simulate(bottleneck, inputs, threads=257, repeat=1)
    (tmp_path / "stripped.so").write_bytes(bottleneck.path.read_bytes())
    subprocess.run(["strip", tmp_path / "stripped.so"], check=True)
    with pytest.raises(ToolError, match="no symbol table"):
        simulate(load(tmp_path / "stripped.so"), inputs, threads=2, repeat=1)
    single = tilewright.compile(MODELS / "vgg.onnx", output=tmp_path / "single.so", threads=1)
    with pytest.raises(UsageError, match="built for one thread"):
        simulate(single, inputs_of(single), threads=2, repeat=1)


def test_hand_offs_of_the_threads_that_were_set(bottleneck: CompiledModel) -> None:
    for threads in (1, 2):
        bottleneck.set_num_threads(threads)
        together, times = bottleneck.hand_offs(200)

        assert together == threads
        assert 0 < len(times) <= 200 and all(each < 10**9 for each in times)


WORK = Work(0, "k0", "contraction", ("node",), 1000, 4000)


def kernel(serial: float, loops: Sequence[Sequence[float]], **options: Any) -> SimulatedKernel:
    given = {"alone": 100e-6, "hand_off": 0.0, "moving": 0.0, "threads": 4, **options}
    return SimulatedKernel(WORK, shared=Step(serial, tuple(Launch(tuple(each)) for each in loops)), **given)


def test_the_slowest_task_counts() -> None:
    row = kernel(5e-6, [(30e-6, 20e-6, 10e-6, 0.0), (2e-6, 2e-6, 2e-6, 2e-6)], hand_off=3e-6)

    assert row.seconds == pytest.approx((5 + 30 + 2 + 3) * 1e-6)
    assert row.speedup == pytest.approx(2.5) and row.lost == pytest.approx(15e-6)
    assert row.tasks == 3  # of the loop that takes longest, without the task that has nothing to do
    assert row.balance == pytest.approx((20 + 2) / (30 + 2))
    assert row.hand_off_share == pytest.approx(3 / 40) and not row.is_moving


def test_bytes_that_cores_cannot_move_faster() -> None:
    row = kernel(0.0, [(10e-6,) * 4], moving=40e-6)

    assert row.seconds == pytest.approx(40e-6) and row.is_moving


def test_what_is_not_shared_has_no_balance() -> None:
    row = kernel(100e-6, [])

    assert (row.tasks, row.balance, row.speedup) == (1, None, pytest.approx(1.0))


def test_a_hand_off_grows_with_the_rounds_of_waking() -> None:
    hand_off = HandOff(1e-6, measured_with=2)

    assert [hand_off.seconds(threads) for threads in (1, 2, 16)] == pytest.approx([0, 1e-6, 4e-6])


def test_ceilings_of_more_cores() -> None:
    core = replace(ARCHITECTURES["x86_64"].core, l3_shared_bytes_per_cycle=100.0, dram_shared_bytes_per_cycle=35.0)
    host = replace(read_host(), l1_bytes=32 << 10, l2_bytes=1 << 20, l3_bytes=32 << 20)
    levels = (
        MemoryLevel("L1", 32 << 10, 400e9),
        MemoryLevel("L2", 1 << 20, 100e9),
        MemoryLevel("L3", 32 << 20, 30e9),
        MemoryLevel("memory", None, 15e9),
    )
    one = Peak(100e9, levels, 1)

    four, sixteen = (with_more_cores(one, threads, core, host, 4e9) for threads in (4, 16))

    assert four.flops_per_second == 400e9 and four.threads == 4
    assert [each.bytes_per_second for each in four.levels] == [1600e9, 400e9, 120e9, 60e9]
    assert [each.capacity for each in four.levels] == [128 << 10, 4 << 20, 32 << 20, None]
    # 16 MiB of L2 leave no room for an L3 of 32 MiB that would hold more; memory gives no more than it can.
    assert [(each.name, each.bytes_per_second) for each in sixteen.levels][2:] == [("memory", 140e9)]


def test_weights_come_from_memory_where_the_last_cache_does_not_hold_the_model(bottleneck: CompiledModel) -> None:
    signature = bottleneck.signature
    peak = Peak(1e12, (MemoryLevel("L2", 1 << 40, 1e12), MemoryLevel("memory", None, 1e10)), 16)
    work = work_of(signature)
    held = moving_seconds(signature, work, peak, signature.weights_bytes + signature.workspace_bytes)
    not_held = moving_seconds(signature, work, peak, signature.weights_bytes)

    kernels = [signature.kernels[step.kernel] for step in signature.steps]
    assert held == pytest.approx([each.bytes / 1e12 for each in kernels])
    assert not_held == pytest.approx([max(each.bytes / 1e12, each.constant_bytes / 1e10) for each in kernels])
    assert sum(each.constant_bytes for each in kernels) > 0
    assert all(each.constant_bytes < each.bytes for each in kernels)
