"""Latency of a library: against the clock, against other engines in the same run, and kernel by kernel."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from .compare import compare_all
from .machine_peak import measured_peak
from .peers import open_peer

if TYPE_CHECKING:
    from .artifact import CompiledModel

Array = npt.NDArray[Any]
OURS = "tilewright"
_WARM_UP_SECONDS = 0.3
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
    threads: int = 0,
) -> list[Latency]:
    """Times a library and other engines, taking turns so that all meet the same weather.

    Args:
        repeat: runs of each.
        against: engines of `peers.PEERS`; they run `source`.
        threads: processors for each; 0 leaves it to them.

    Raises:
        UsageError: `against` without `source`, or an engine computes something else.
    """
    engines: dict[str, Callable[[], object]] = {OURS: lambda: model.run(inputs)}
    if against and source is None:
        raise UsageError("--against needs the model", hint="add --model MODEL.onnx")
    for name in against:
        assert source is not None
        peer = open_peer(name, source, threads)
        different = [each for each in compare_all(model.run(inputs), peer.run(inputs), _SAME_RESULT) if not each.passed]
        if different:
            raise UsageError(
                f"{name} computes something else from this model: output {different[0].output!r} differs",
                where=str(source),
                hint="was the library compiled from this model? tilewright verify tells more",
            )
        engines[name] = peer.prepare(inputs)
    for run in engines.values():
        end = time.perf_counter() + _WARM_UP_SECONDS
        while True:
            run()
            if time.perf_counter() > end:
                break
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(repeat):
        for name, run in engines.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1e3)
    return [_latency(name, values) for name, values in times.items()]


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
