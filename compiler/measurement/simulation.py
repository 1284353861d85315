"""The time that a library would take on more processors than there are: each task is run alone, and the slowest counts.

    time of a kernel = what it does outside of parallel loops
                     + for each parallel loop its slowest task, and a hand-off where there are several
    and at least       its bytes over what so many cores stream together

Tasks run one after another on one processor, in order, and each finds in the caches what those before it left. So the
first tasks of a kernel read what all tasks share, weights and code, from where every core has to fetch it, and as the
slowest counts this is in the sum. What the kernel before it wrote may be nearer than on another core, or farther,
since N cores have N times the caches of one. Not in the sum: that processors slow down when all of them compute.

Of all runs of a task the time counts that a fifth of them are below, and so for whole runs: some are interrupted, the
longer the more often, and undisturbed ones differ by less than that.

Bytes are those of the roofline (`roofline.py`), at the bandwidth of N cores. Where a model's weights and workspace are
more than the last cache holds, its weights come from memory in every run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ComparisonError, LibraryError
from ...schedules.templates.sharing import hand_off_rounds
from ...targets.architectures import architecture_named
from ...targets.host import available_cores, read_host
from ...targets.target import FLOAT32_BITS
from ..runners.local import prepared, time_runs
from .bench import work_at
from .machine_peak import Peak, measured_peak, with_more_cores
from .roofline import Work
from .simulated import HandOff, Launch, SimulatedKernel, Simulation, Step

if TYPE_CHECKING:
    from ..library.artifact import Array, CompiledModel
    from ..library.signature import Signature
    from ..process.progress import ProgressCallback

# A hand-off is measured so often. Where others compute many have to wait for a processor: the time counts which a tenth
# are below; what takes so many times as long as is usual was no hand-off between threads that were awake.
_HAND_OFFS, _HAND_OFF_QUANTILE, _DISTURBED = 5000, 0.1, 10
# The share of runs that are faster than what counts.
_QUANTILE = 0.2


def simulate(
    model: CompiledModel,
    inputs: Mapping[str, Array],
    *,
    threads: int,
    repeat: int,
    progress: ProgressCallback | None = None,
) -> Simulation:
    """Simulates so many threads, on one processor, and measures them too where there are so many.

    Leaves the library with the threads that it has by itself.

    Args:
        repeat: counted runs.

    Raises:
        UsageError: the library was built for one thread, or cannot use so many.
        ToolError: it was stripped, or there is no C compiler to measure the machine with.
        ComparisonError: a simulated run gave other bits than a usual one.
    """
    tell = progress or (lambda stage, done, total: None)
    cores = available_cores()
    expected = model.run(inputs)
    call = prepared(model, inputs) if threads <= cores else None
    alone: list[list[Step]] = []
    shared: list[list[Step]] = []
    measured: list[float] = []
    for done in range(repeat + 1):
        tell(f"{threads} threads", done, repeat)
        for count, runs in ((1, alone), (threads, shared)):
            results, stream = model.simulate(inputs, count)
            _check_same(expected, results, model, count)
            runs.append(read_steps(stream, model.signature))
        if call is not None:
            model.set_num_threads(threads)
            measured += time_runs(call, 2)[1:]  # the first wakes the threads
    tell("the machine", 0, 0)
    host, architecture = read_host(), architecture_named(model.signature.arch)
    one = measured_peak(1)
    is_measured = threads <= cores
    lanes = architecture.level_of(host.features).vector_bits // FLOAT32_BITS
    frequency = one.flops_per_second / (2 * lanes * architecture.core.fmas_per_cycle)
    peak = measured_peak(threads) if is_measured else with_more_cores(one, threads, architecture.core, host, frequency)
    hand_off = _hand_off(model, min(threads, cores), architecture.core.hand_off / frequency)
    model.set_num_threads(0)
    works = work_at(model.signature, inputs)
    rows = zip(
        works,
        moving_seconds(model.signature, works, peak, host.l3_bytes),
        zip(*alone[1:], strict=True),  # the first run warms up
        zip(*shared[1:], strict=True),
        strict=True,
    )
    kernels = []
    for work, moving, once, several in rows:
        step = _typical_step(several)
        costs = sum(hand_off.seconds(len(launch.tasks)) for launch in step.launches)
        # The tasks together are the same iterations in the same order, and shorter runs are disturbed less often.
        seconds = min(_typical([run.seconds for run in once]), step.seconds)
        kernels.append(SimulatedKernel(work, seconds, step, costs, moving, threads))
    return Simulation(
        tuple(sorted(kernels, key=lambda kernel: -kernel.lost)),
        threads,
        hand_off,
        peak,
        is_measured,
        _typical(measured[1:]) if measured else None,
    )


def read_steps(stream: Iterable[int], signature: Signature) -> list[Step]:
    """The steps that a stream of `CompiledModel.simulate` tells of; what a step did in several turns together.

    Raises:
        LibraryError: the library runs other steps than it says.
    """
    serial = [0.0] * len(signature.steps)
    launches: list[list[Launch]] = [[] for _ in serial]
    pending: list[Launch] = []
    numbers = iter(int(number) for number in stream)
    for tasks in numbers:
        if tasks:
            pending.append(Launch(tuple(next(numbers) / 1e9 for _ in range(tasks))))
            continue
        step = next(numbers)
        if step >= len(serial):
            raise LibraryError("the library's code and its signature disagree about steps", where=signature.name)
        serial[step] += next(numbers) / 1e9
        launches[step] += pending
        pending = []
    return [Step(seconds, tuple(loops)) for seconds, loops in zip(serial, launches, strict=True)]


def moving_seconds(signature: Signature, works: Sequence[Work], peak: Peak, last_cache_bytes: int) -> list[float]:
    """For each step the seconds that cores with these ceilings need for its bytes."""
    resident = signature.weights_bytes + signature.workspace_bytes <= last_cache_bytes
    memory = peak.levels[-1].bytes_per_second
    rows = []
    for step, work in zip(signature.steps, works, strict=True):
        constants = signature.kernels[step.kernel].constant_bytes if step.kernel >= 0 and not resident else 0
        rows.append(max(peak.memory_seconds(work.bytes), constants / memory) if work.bytes else 0.0)
    return rows


def _typical(seconds: Sequence[float], quantile: float = _QUANTILE) -> float:
    """What counts of several runs."""
    return float(np.quantile(seconds, quantile))


def _typical_step(runs: Sequence[Step]) -> Step:
    """What counts of each part of a step by itself. Where runs differ in their loops, the last one."""
    if len({tuple(len(launch.tasks) for launch in run.launches) for run in runs}) > 1:
        return runs[-1]
    loops = zip(*(run.launches for run in runs), strict=True)
    launches = tuple(
        Launch(tuple(map(_typical, zip(*(launch.tasks for launch in each), strict=True)))) for each in loops
    )
    return Step(_typical([run.serial for run in runs]), launches)


def _hand_off(model: CompiledModel, threads: int, usual: float) -> HandOff:
    """Measured with so many threads; the seconds that are usual where others leave no processor to one of them."""
    model.set_num_threads(threads)
    together, times = model.hand_offs(_HAND_OFFS)
    if together > 1:
        measured = HandOff(_typical(times, _HAND_OFF_QUANTILE) / 1e9 / hand_off_rounds(together), together)
        if measured.one < _DISTURBED * usual:
            return measured
    return HandOff(usual, 0)


def _check_same(expected: Mapping[str, Array], actual: Mapping[str, Array], model: CompiledModel, threads: int) -> None:
    different = [name for name in expected if expected[name].tobytes() != actual[name].tobytes()]
    if different:
        raise ComparisonError(
            f"outputs have other bits when {threads} threads share the work: {', '.join(different)}",
            where=str(model.path),
            hint="this is a fault of Tilewright: please report it with the model",
        )
