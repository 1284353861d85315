"""Latency of a library: against the clock, against other engines in the same run, and kernel by kernel."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import ComparisonError, UsageError
from ...targets.architectures import architecture_of
from ...targets.host import available_cores
from ...targets.target import DotUnit
from ..library.arrays import checked
from ..library.dimensions import bounds_of
from ..precision import rtol_of
from ..runners.local import LocalRunner, time_runs
from ..runners.runner import Library, Runner
from ..verification.compare import compare_all
from ..verification.reference_engines import open_engine
from ..verification.verify import describe_failure
from .device_peak import measured_device_peak, unit_of_grids
from .machine_peak import Peak, measured_peak
from .roofline import Roofline, Work, make_roofline

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..library.artifact import CompiledModel
    from ..library.signature import Signature
    from ..process.progress import ProgressCallback

Array = npt.NDArray[Any]
OURS = "tilewright"
_NOTHING: Mapping[str, Array] = MappingProxyType({})
_WARM_UP_SECONDS = 0.3
_TURN_RUNS = 5  # counted runs of one engine before the next has its turn
_SETTLE_SECONDS = 0.01


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one engine over `runs` runs."""

    engine: str
    median_ms: float
    min_ms: float
    p90_ms: float
    runs: int


def measure(
    model: Library,
    inputs: Mapping[str, Array],
    *,
    repeat: int,
    against: Sequence[str] = (),
    source: Path | None = None,
    bindings: Mapping[str, Array] = _NOTHING,
    threads: int = 0,
    runner: Runner | None = None,
    rivals: Mapping[str, Library] = MappingProxyType({}),
) -> list[Latency]:
    """Times a library, others of the same model and other engines, in turns so that all meet the same weather.

    Every engine has its inputs bound beforehand, so that what is timed is the model and one call.

    Args:
        repeat: runs of each.
        against: engines of `reference_engines.ENGINES`; they run `source`.
        bindings: inputs of `source` that were bound when the library was compiled.
        threads: processors for each; 0 leaves it to them.
        runner: where libraries run; by default this process. Other engines run in it always.
        rivals: other libraries of the model by what they are called: older ones, those of other options.

    Returns:
        Ours first, then `rivals`, then the engines in the order of `against`.

    Raises:
        UsageError: `against` without `source`.
        ComparisonError: an engine computes something else.
        ToolError: an engine is not installed.
    """
    runner = runner or LocalRunner()
    ours = runner.run(model, inputs)
    engines: dict[str, Callable[..., list[float]]] = {OURS: partial(runner.time, model, inputs)}
    for name, rival in rivals.items():
        rtol = max(rtol_of(each.signature.precision, each.signature.quantize) for each in (model, rival))
        _check_same(name, ours, runner.run(rival, inputs), Path(name), rtol)
        engines[name] = partial(runner.time, rival, inputs)
    if against and source is None:
        raise UsageError("--against needs the model", where="--against", hint="add --model MODEL.onnx")
    loadable = _opened(model, source).for_engine() if against and source is not None else b""
    for name in against:
        assert source is not None
        engine = open_engine(name, loadable, threads)
        everything = {**bindings, **inputs}
        missing = sorted(set(engine.input_names) - set(everything))
        if missing:
            raise UsageError(
                f"{name} needs inputs that the library has not: {', '.join(missing)}",
                hint="give the values they were compiled with: " + " ".join(f"--bind {m}=@value.npy" for m in missing),
            )
        _check_same(
            name, ours, engine.run(everything), source, rtol_of(model.signature.precision, model.signature.quantize)
        )
        engines[name] = partial(time_runs, engine.prepare(everything))
    for timed in engines.values():
        timed(runs=1, seconds=_WARM_UP_SECONDS)
    times: dict[str, list[float]] = {name: [] for name in engines}
    while len(times[OURS]) < repeat:
        for name, timed in engines.items():
            if len(engines) > 1:
                # Threads of the engine before are still spinning, and the caches hold its data.
                time.sleep(_SETTLE_SECONDS)
                timed(runs=1)
            turn = timed(runs=min(_TURN_RUNS, repeat - len(times[name])))
            times[name] += [seconds * 1e3 for seconds in turn]
    return [_latency(name, values) for name, values in times.items()]


def _opened(model: Library, source: Path) -> OpenedModel:
    """What the library was compiled from, as ONNX."""
    from ... import frontends
    from ..inputs.requests import request_for

    return frontends.open(source, request_for(model.signature.model_inputs))


def _check_same(engine: str, ours: Mapping[str, Array], theirs: Mapping[str, Array], source: Path, rtol: float) -> None:
    if set(ours) != set(theirs):
        raise UsageError(f"the library and {engine} have other outputs: they are not of one model", where=str(source))
    different = [each for each in compare_all(ours, theirs, rtol) if not each.passed]
    if different:
        raise ComparisonError(
            f"{engine} computes something else from this model",
            where=str(source),
            details=[describe_failure(each) for each in different[:4]],
            hint="was the library compiled from this model? tilewright verify tells more",
        )


def _latency(name: str, values: list[float]) -> Latency:
    p90 = float(np.quantile(values, 0.9))
    return Latency(name, statistics.median(values), min(values), p90, len(values))


def profile(
    model: CompiledModel,
    inputs: Mapping[str, Array],
    *,
    repeat: int,
    threads: int,
    progress: ProgressCallback | None = None,
) -> Roofline:
    """The median time of each step, under the ceilings of this machine.

    Args:
        threads: of the library and of the measured ceilings; 0: as many as the library takes by itself.

    Raises:
        ToolError: the library was stripped, or there is no compiler to measure the machine with: of C, for GPUs nvcc.
    """
    tell = progress or (lambda stage, done, total: None)
    runs, outputs = [], model.empty_outputs()
    for done in range(repeat + 1):
        tell("kernels", done, repeat)
        runs.append(model.profile(inputs, outputs=outputs))
    tell("the machine's peak", 0, 0)
    peak = peak_of(model.signature, threads)
    times = zip(*runs[1:], strict=True)  # the first run warms up
    medians = [statistics.median(nanoseconds) / 1e9 for nanoseconds in times]
    return make_roofline(zip(work_at(model.signature, inputs), medians, strict=True), peak)


def peak_of(signature: Signature, threads: int = 0) -> Peak:
    """The ceilings of what runs a library's kernels.

    Raises:
        ToolError: there is no compiler to measure the machine with: of C, for GPUs nvcc.
        DeviceError: there is no GPU.
    """
    if signature.device:
        return measured_device_peak(unit_of_grids(signature))
    return measured_peak(threads_of(signature, threads), _unit_of(signature))


def _unit_of(signature: Signature) -> DotUnit | None:
    """The fastest unit for narrow operands that a library was compiled for, as the features tell that it needs."""
    architecture, has = architecture_of(signature.arch), set(signature.cpu_features)
    units = architecture.units if architecture else ()
    return next((unit for unit in units if unit.required_features and has.issuperset(unit.required_features)), None)


def work_of(signature: Signature) -> list[Work]:
    """What each step of a library has to do."""
    outputs = {spec.name: spec.nbytes for spec in signature.outputs}
    rows = []
    for index, step in enumerate(signature.steps):
        if step.kernel < 0:  # a copy to the output that it names: read once, written once
            moved = 2 * sum(outputs.get(name, 0) for name in step.sources)
            rows.append(Work(index, "copy", "copy", step.sources, 0, moved))
            continue
        kernel = signature.kernels[step.kernel]
        name = kernel.symbol.removeprefix(f"{signature.name}_")
        template = kernel.template or "none"
        rows.append(Work(index, name, template, step.sources, kernel.flops, kernel.bytes, kernel.fallback))
    return rows


def work_at(signature: Signature, inputs: Mapping[str, Array]) -> list[Work]:
    """The same for some inputs; at other sizes than the largest neither operations nor bytes are known."""
    _, sizes = checked(signature, inputs, "the inputs")
    work = work_of(signature)
    return work if sizes == bounds_of(signature.dimensions) else [replace(each, flops=0, bytes=0) for each in work]


def threads_of(signature: Signature, asked: int = 0) -> int:
    """Processors that a library keeps busy: as asked, or as docs/c-abi.md says, and never more than there are."""
    if not signature.threaded:
        return 1
    cores = available_cores()
    variable = os.environ.get("TILEWRIGHT_NUM_THREADS", "")
    wanted = asked or (int(variable) if variable.isdecimal() else 0) or signature.default_threads or cores
    return min(wanted, cores)


def to_json(latencies: Sequence[Latency], roofline: Roofline | None = None) -> dict[str, object]:
    """Both as JSON takes them, with the ratios of our median to the others'."""
    ours = latencies[0].median_ms
    return {
        "latency": [asdict(each) for each in latencies],
        "ratios": {each.engine: ours / each.median_ms for each in latencies[1:]},
        **(roofline.to_json() if roofline is not None else {"kernels": []}),
    }
