"""What the times say: Tilewright's ratio to the best peer, model by model, and their geometric means."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from .engines.engine import FLOAT32, Engine
from .measurement import MEASURED, Measurement

_ONNXRUNTIME = ("onnxruntime", "onnxruntime-int8")  # of float32 and of int8


@dataclass(frozen=True)
class Comparison:
    """Tilewright on one model with one number of threads, in one precision. Ratios below 1: Tilewright is faster.

    Attributes:
        own_ms: Tilewright's median.
        best_peer: the fastest engine of that precision with a correct result; empty if there is none.
        ratio: of Tilewright's time to the best peer's.
        onnxruntime_ratio: to ONNX Runtime's, if that was measured in this precision.
        float32_ratio: to Tilewright's own in float32, of another precision.
    """

    model: str
    threads: int
    precision: str
    own_ms: float
    best_peer: str = ""
    best_peer_ms: float | None = None
    ratio: float | None = None
    onnxruntime_ratio: float | None = None
    float32_ratio: float | None = None


@dataclass(frozen=True)
class Mean:
    """Geometric means of the ratios of all models that have them, and how many those are.

    Attributes:
        float32_ratio: to Tilewright's own times in float32.
    """

    threads: int
    precision: str
    ratio: float
    models: int
    onnxruntime_ratio: float | None = None
    onnxruntime_models: int = 0
    float32_ratio: float | None = None


def round_ratios(one: Measurement, other: Measurement) -> list[float]:
    """The ratio of `one`'s time to `other`'s in each round that both took part in."""
    return [a / b for a, b in zip(one.round_ms, other.round_ms, strict=False)]


def round_ratio(one: Measurement, other: Measurement) -> float:
    """The median of the ratios within a round."""
    return statistics.median(round_ratios(one, other))


def compare(measurements: Sequence[Measurement], table: Mapping[str, Engine]) -> list[Comparison]:
    """A row for each model, number of threads and precision in which Tilewright has correct results."""
    right = [each for each in measurements if each.state == MEASURED and each.engine in table]
    rows = []
    for own in right:
        engine = table[own.engine]
        if not engine.ours:
            continue
        peers = {
            each.engine: each
            for each in right
            if (each.model, each.threads) == (own.model, own.threads)
            and not table[each.engine].ours
            and table[each.engine].precision == engine.precision
        }
        row = Comparison(own.model, own.threads, engine.precision, own.median_ms)
        if peers:
            best = min(peers.values(), key=lambda each: each.median_ms)
            runtime = next((peers[name] for name in _ONNXRUNTIME if name in peers), None)
            row = replace(
                row,
                best_peer=best.engine,
                best_peer_ms=best.median_ms,
                ratio=round_ratio(own, best),
                onnxruntime_ratio=round_ratio(own, runtime) if runtime else None,
            )
        floats = [
            each
            for each in right
            if (each.model, each.threads) == (own.model, own.threads)
            and table[each.engine].ours
            and table[each.engine].precision == FLOAT32
        ]
        if engine.precision != FLOAT32 and floats:
            row = replace(row, float32_ratio=round_ratio(own, floats[0]))
        rows.append(row)
    return rows


def geometric_means(comparisons: Sequence[Comparison]) -> list[Mean]:
    """One for each precision and number of threads with a ratio."""
    means = []
    for precision, threads in sorted({(each.precision, each.threads) for each in comparisons}):
        group = [each for each in comparisons if (each.precision, each.threads) == (precision, threads)]
        ratios = [each.ratio for each in group if each.ratio is not None]
        runtime = [each.onnxruntime_ratio for each in group if each.onnxruntime_ratio is not None]
        floats = [each.float32_ratio for each in group if each.float32_ratio is not None]
        if ratios:
            mean, own = (statistics.geometric_mean(each) if each else None for each in (runtime, floats))
            best = statistics.geometric_mean(ratios)
            means.append(Mean(threads, precision, best, len(ratios), mean, len(runtime), own))
    return sorted(means, key=lambda each: (each.precision != FLOAT32, each.precision, each.threads))


def summarise(measurements: Sequence[Measurement], table: Mapping[str, Engine]) -> dict[str, Any]:
    """Both, as JSON takes them."""
    comparisons = compare(measurements, table)
    return {
        "comparisons": [asdict(each) for each in comparisons],
        "geometric_means": [asdict(each) for each in geometric_means(comparisons)],
    }
