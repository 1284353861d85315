"""`optimize --report`: the front of accuracy against time and size as plots and a table, and what is done to layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..optimization.request import SOLVED, UNIFORM
from .curves import Points, svg
from .optimization_report import headline, summary
from .pages import page_environment, page_file
from .report import duration, size

if TYPE_CHECKING:
    from ..optimization.front import Point
    from ..optimization.request import Optimized

_SEARCH = "search"
_SAID = {SOLVED: SOLVED, UNIFORM: "uniform"}


def render(found: Optimized) -> str:
    """The page as HTML."""
    environment = page_environment()
    environment.filters.update(duration=duration, size=size, percent=lambda value: f"{value:.2%}")
    metric, exact = found.metric, found.exact
    axes: tuple[tuple[str, Callable[[Point], float]], ...] = (
        ("time, of the float model's", lambda point: point.seconds / exact.seconds),
        ("size, of the float model's", lambda point: point.bytes / exact.bytes),
    )
    heights: tuple[tuple[str, Callable[[Point], float]], ...] = (
        (f"{metric.name}, {metric.unit}" if metric.unit else "the metric", lambda point: point.quality),
        ("error of the outputs", lambda point: point.error),
    )
    plots = [Markup(_plot(found, x_label, x, y_label, y)) for y_label, y in heights for x_label, x in axes]
    layers = list(dict.fromkeys(layer for point in found.front for layer, _ in point.candidate.treated))
    return environment.get_template("optimization.html.jinja").render(
        found=found,
        headline=headline(found),
        plots=plots,
        rows=[(number, point, summary(point)) for number, point in enumerate(found.front, 1)],
        layers=layers,
        style=page_file("bench.css"),
    )


def _plot(
    found: Optimized, x_label: str, x: Callable[[Point], float], y_label: str, y: Callable[[Point], float]
) -> str:
    def places(points: list[Point]) -> Points:
        return [(x(point), y(point)) for point in points]

    groups: dict[str, list[Point]] = {"float model": [found.exact]}
    for point in found.points:
        if not point.candidate.is_exact:
            origin = found.origins[point.candidate.key]
            groups.setdefault(_SAID.get(origin, _SEARCH), []).append(point)
    front = sorted(places(list(found.front)))
    clouds = {name: places(points) for name, points in groups.items()}
    return svg(f"{y_label} against {x_label.partition(',')[0]}", x_label, y_label, {"front": front}, clouds)
