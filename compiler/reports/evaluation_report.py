"""What `evaluate` tells of libraries: a table, JSON, and a page with plots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from .curves import svg
from .pages import page_environment, page_file
from .report import Table, duration, size

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluated
    from ..evaluation.metrics import Metric

# A column's heading, and what stands in it for a library, given the first one, too.
Cell = Callable[["Evaluated", "Evaluated"], str]


def _columns(metric: Metric, found: Sequence[Evaluated]) -> dict[str, Cell]:
    columns: dict[str, Cell] = {
        metric.name: lambda each, first: f"{each.quality:.2f}",
        "change": lambda each, first: f"{each.quality - first.quality:+.2f}",
        "error": lambda each, first: f"{each.error:.2%}",
        "time": lambda each, first: duration(each.seconds),
        "of first": lambda each, first: f"{each.seconds / first.seconds:.2f}",
        "memory": lambda each, first: size(each.workspace_bytes),
        "size": lambda each, first: size(each.bytes),
        "of the first": lambda each, first: f"{each.bytes / first.bytes:.2f}",
    }
    if any(each.joules is not None for each in found):
        columns["energy"] = lambda each, first: "-" if each.joules is None else f"{1e3 * each.joules:.3g} mJ"
    return columns


def table(found: Sequence[Evaluated], metric: Metric) -> Table:
    """A row for each library, in the order in which they were given."""
    columns = _columns(metric, found)
    made = Table(("library", *(f">{name}" for name in columns)), title=_TITLE)
    for each in found:
        made.add(each.path.name, *(cell(each, found[0]) for cell in columns.values()))
    return made


_TITLE = "time is of one run, memory of one call beside the weights, error and change are against the first"


def to_json(found: Sequence[Evaluated], metric: Metric, samples: int) -> dict[str, Any]:
    """All numbers."""
    return {
        "kind": "evaluation",
        "metric": metric.name,
        "samples": samples,
        "libraries": [
            {
                "library": str(each.path),
                "quality": each.quality,
                "error": each.error,
                "seconds": each.seconds,
                "fast_seconds": each.fast_seconds,
                "bytes": each.bytes,
                "weights_bytes": each.weights_bytes,
                "workspace_bytes": each.workspace_bytes,
                "joules": each.joules,
                "precision": each.precision,
            }
            for each in found
        ],
    }


def render(found: Sequence[Evaluated], metric: Metric, samples: int) -> str:
    """A page with the table, and plots of the metric against time and size."""
    columns = _columns(metric, found)
    rows = [(each.path.name, [cell(each, found[0]) for cell in columns.values()]) for each in found]
    unit = f"{metric.name}, {metric.unit}" if metric.unit else "the metric"
    axes: tuple[tuple[str, Callable[[Evaluated], float]], ...] = (
        ("microseconds", lambda each: each.seconds * 1e6),
        ("kB of the file", lambda each: each.bytes / 1e3),
    )
    plots = []
    for name, x in axes:
        clouds = {each.path.name: [(x(each), each.quality)] for each in found}
        plots.append(Markup(svg(f"{unit} against {name}", name, unit, {}, clouds)))
    return page_environment().get_template("evaluation.html.jinja").render(
        columns=list(columns), rows=rows, plots=plots, samples=samples, title=_TITLE, style=page_file("bench.css")
    )  # fmt: skip
