"""Latency of a library: against the clock, against other engines in the same run, and kernel by kernel."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ComparisonError, UsageError
from .compare import compare_all
from .machine_peak import measured_peak
from .peers import open_peer
from .plan import ALIGNMENT
from .tensor_spec import numpy_dtype
from .verify import describe_failure

if TYPE_CHECKING:
    from .artifact import CompiledModel

Array = npt.NDArray[Any]
OURS = "tilewright"
_NOTHING: Mapping[str, Array] = MappingProxyType({})
_WARM_UP_SECONDS = 0.3
_TURN_RUNS = 5  # counted runs of one engine before the next has its turn
_SETTLE_SECONDS = 0.01
# Another engine rounds differently: a larger difference means that the two do not compute the same.
_SAME_RESULT = 1e-3


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one engine over `runs` runs."""

    engine: str
    median_ms: float
    min_ms: float
    p90_ms: float
    runs: int


@dataclass(frozen=True)
class KernelTime:
    """One step of a library.

    Attributes:
        kernel: C name of its kernel, without the library's prefix.
        template: what scheduled it.
        sources: the nodes of the model that it computes.
        microseconds: median time.
        gflops: 10**9 floating point operations a second; None where operations do not say much.
        peak_share: of the machine's measured peak; None where `gflops` is.
    """

    kernel: str
    template: str
    sources: tuple[str, ...]
    microseconds: float
    gflops: float | None
    peak_share: float | None


def measure(
    model: CompiledModel,
    inputs: Mapping[str, Array],
    *,
    repeat: int,
    against: Sequence[str] = (),
    source: Path | None = None,
    bindings: Mapping[str, Array] = _NOTHING,
    threads: int = 0,
) -> list[Latency]:
    """Times a library and other engines, taking turns so that all meet the same weather.

    Every engine has its inputs bound beforehand, so that what is timed is the model and one call.

    Args:
        repeat: runs of each.
        against: engines of `peers.PEERS`; they run `source`.
        bindings: inputs of `source` that were bound when the library was compiled.
        threads: processors for each; 0 leaves it to them.

    Returns:
        Ours first, then the others in the order of `against`.

    Raises:
        UsageError: `against` without `source`.
        ComparisonError: an engine computes something else.
        ToolError: an engine is not installed.
    """
    engines: dict[str, Callable[[], object]] = {OURS: prepared(model, inputs)}
    if against and source is None:
        raise UsageError("--against needs the model", where="--against", hint="add --model MODEL.onnx")
    for name in against:
        assert source is not None
        peer = open_peer(name, source, threads)
        everything = {**bindings, **inputs}
        missing = sorted(set(peer.input_names) - set(everything))
        if missing:
            raise UsageError(
                f"{name} needs inputs that the library has not: {', '.join(missing)}",
                hint="give the values they were compiled with: " + " ".join(f"--bind {m}=@value.npy" for m in missing),
            )
        _check_same(name, model.run(inputs), peer.run(everything), source)
        engines[name] = peer.prepare(everything)
    for run in engines.values():
        _run_for(run, _WARM_UP_SECONDS)
    times: dict[str, list[float]] = {name: [] for name in engines}
    while len(times[OURS]) < repeat:
        for name, run in engines.items():
            if len(engines) > 1:
                # Threads of the engine before are still spinning, and the caches hold its data.
                time.sleep(_SETTLE_SECONDS)
                run()
            for _ in range(min(_TURN_RUNS, repeat - len(times[name]))):
                start = time.perf_counter()
                run()
                times[name].append((time.perf_counter() - start) * 1e3)
    return [_latency(name, values) for name, values in times.items()]


def prepared(model: CompiledModel, inputs: Mapping[str, Array]) -> Callable[[], object]:
    """A function that calls the library through its C interface, on buffers that are made once.

    Raises:
        TensorError: an input is missing, unknown, or has another shape or dtype.
        UnsupportedTargetError: this processor lacks instructions that the library uses.
    """
    model.run(inputs)  # all that can be wrong is told here
    signature = model.signature
    run = getattr(ctypes.CDLL(str(model.path.resolve())), f"{signature.name}_run")
    sources = [np.ascontiguousarray(inputs[spec.name]) for spec in signature.inputs]
    results = [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in signature.outputs]
    workspace = np.empty(signature.workspace_bytes + ALIGNMENT, np.uint8)
    aligned = ctypes.c_void_p(-(-workspace.ctypes.data // ALIGNMENT) * ALIGNMENT)
    pointers = [(ctypes.c_void_p * max(1, len(group)))(*[a.ctypes.data for a in group]) for group in (sources, results)]

    def call(_alive: object = (sources, results, workspace)) -> None:  # pointers do not keep their memory
        run(*pointers, aligned)

    return call


def _check_same(engine: str, ours: Mapping[str, Array], theirs: Mapping[str, Array], source: Path) -> None:
    if set(ours) != set(theirs):
        raise UsageError("the library was not compiled from this model", where=str(source))
    different = [each for each in compare_all(ours, theirs, _SAME_RESULT) if not each.passed]
    if different:
        raise ComparisonError(
            f"{engine} computes something else from this model",
            where=str(source),
            details=[describe_failure(each) for each in different[:4]],
            hint="was the library compiled from this model? tilewright verify tells more",
        )


def _run_for(run: Callable[[], object], seconds: float) -> None:
    end = time.perf_counter() + seconds
    run()
    while time.perf_counter() < end:
        run()


def _latency(name: str, values: list[float]) -> Latency:
    p90 = float(np.quantile(values, 0.9))
    return Latency(name, statistics.median(values), min(values), p90, len(values))


def profile(model: CompiledModel, inputs: Mapping[str, Array], *, repeat: int, threads: int) -> list[KernelTime]:
    """The median time of each step, slowest first.

    Args:
        threads: processors that the machine's peak is measured with; 0: all that this process may use.
    """
    from ..targets.host import available_cores

    runs = [model.profile(inputs) for _ in range(repeat + 1)][1:]
    peak = measured_peak(threads or (available_cores() if model.signature.threaded else 1))
    prefix = f"{model.signature.name}_"
    rows = []
    for index, step in enumerate(model.signature.steps):
        nanoseconds = statistics.median(run[index] for run in runs)
        kernel = model.signature.kernels[step.kernel] if step.kernel >= 0 else None
        flops = kernel.flops if kernel is not None else 0
        rate = flops / nanoseconds if flops and nanoseconds else None
        rows.append(
            KernelTime(
                kernel=kernel.symbol.removeprefix(prefix) if kernel is not None else "copy",
                template=kernel.template if kernel is not None else "copy",
                sources=step.sources,
                microseconds=nanoseconds / 1e3,
                gflops=rate,
                peak_share=rate * 1e9 / peak.flops_per_second if rate is not None else None,
            )
        )
    return sorted(rows, key=lambda row: -row.microseconds)


def to_json(latencies: Sequence[Latency], kernels: Sequence[KernelTime]) -> dict[str, object]:
    """Both as JSON takes them, with the ratios of our median to the others'."""
    ours = latencies[0].median_ms
    return {
        "latency": [asdict(each) for each in latencies],
        "ratios": {each.engine: ours / each.median_ms for each in latencies[1:]},
        "kernels": [asdict(each) for each in kernels],
    }
