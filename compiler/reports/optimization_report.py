"""What `optimize` tells: the front as a table, what the best point does to each layer, and all of it as JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from .report import Table, duration, size

if TYPE_CHECKING:
    from ..optimization.front import Point
    from ..optimization.request import Optimized

_MOST_ROWS = 40


def tables(found: Optimized) -> list[str | Table]:
    """The front, the fastest first; what the best point does; a line on the whole."""
    metric = found.metric
    front = Table(
        (">point", f">{metric.name}", ">lost", ">error", ">time", ">of float", ">size", ">of float", "what is done"),
        title="points that no other is better than, the fastest first; --point N makes one the recipe",
    )
    for number, point in enumerate(found.front, 1):
        mark = "*" if point == found.best else ""
        front.add(
            f"{mark}{number}",
            f"{point.quality:.2f}",
            f"{found.exact.quality - point.quality:.2f}",
            f"{point.error:.2%}",
            duration(point.seconds),
            f"{point.seconds / found.exact.seconds:.2f}",
            size(point.bytes),
            f"{point.bytes / found.exact.bytes:.2f}",
            summary(point),
        )
    parts: list[str | Table] = [front]
    if found.best.candidate.treated:
        layers = Table(("layer", "becomes"), title=f"the point marked *, of the base {found.best.candidate.base!r}")
        for layer, treatment in found.best.candidate.treated[:_MOST_ROWS]:
            layers.add(layer, treatment)
        parts.append(layers)
    return [*parts, headline(found)]


def headline(found: Optimized) -> str:
    """How much was tried, and how long that took."""
    tried = f"{found.rows} treatments of layers in the database, {len(found.points)} networks compiled and run"
    failed = f", {len(found.failed)} could not be" if found.failed else ""
    return f"{tried}{failed}, {found.seconds:.0f} s of search"


def summary(point: Point) -> str:
    """What is done to a model, in a few words."""
    counts = Counter(treatment for _, treatment in point.candidate.treated)
    said = [f"{count} {treatment}" for treatment, count in sorted(counts.items())]
    return ", ".join(([] if point.candidate.base == "whole" else [point.candidate.base]) + said) or "float"


def to_json(found: Optimized) -> dict[str, Any]:
    """All points, those of the front by their numbers."""
    numbers = {point.candidate.key: number for number, point in enumerate(found.front, 1)}
    return {
        "kind": "optimization",
        "model": found.model,
        "metric": found.metric.name,
        "seconds": found.seconds,
        "rows": found.rows,
        "best": numbers.get(found.best.candidate.key),
        "within_budget": not found.excess,
        "float": _point(found.exact, found),
        "front": [_point(point, found) for point in found.front],
        "points": [_point(point, found) for point in found.points],
        "predicted": [
            {"base": each.candidate.base, "error": max(each.error, 0.0) ** 0.5, "seconds": each.seconds}
            | {"bytes": each.bytes, "layers": dict(each.candidate.treated)}
            for each in found.predicted
        ],
        "failed": found.failed,
    }


def _point(point: Point, found: Optimized) -> dict[str, Any]:
    return {
        "quality": point.quality,
        "error": point.error,
        "seconds": point.seconds,
        "bytes": point.bytes,
        "latency_share": point.seconds / found.exact.seconds,
        "size_share": point.bytes / found.exact.bytes,
        "base": point.candidate.base,
        "layers": dict(point.candidate.treated),
        "origin": found.origins.get(point.candidate.key, ""),
    }
