"""`bench --html`: the roofline as one page that needs nothing but a browser.

Charts and table are written here as SVG and HTML, complete without scripts; `page/bench.js` adds hints, sorting and
filters. Each chart comes in two shapes, and the style sheet shows the one that fits the screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from ...targets.host import HostFacts
from ..library.signature import Signature
from ..measurement.bench import Latency
from ..measurement.roofline import KernelTime, Roofline
from . import charts
from .pages import page_environment, page_file
from .report import amount, duration, size
from .roofline_tables import ceilings, giga, intensity_text, microseconds, percent

# Width and height of each chart for a wide and for a narrow screen.
_SHAPES = {"wide": (960, 440), "narrow": (400, 380)}
_BAR_SHAPES = {"wide": (960, 280), "narrow": (400, 260)}
# Templates keep their colours from page to page; what is not known here takes the next colour that is free.
_COLOURS = ("contraction", "window", "rows", "plain", "winograd", "attention")
_LAST_COLOUR = 8


def render(
    signature: Signature,
    roofline: Roofline,
    latencies: Sequence[Latency],
    *,
    library: str,
    host: HostFacts,
    measured_at: datetime,
) -> str:
    """The page as HTML.

    Args:
        signature: of the library.
        roofline: of its kernels, on `host`.
        latencies: of the library, then of other engines.
        library: its file name.
        measured_at: when.
    """
    environment = page_environment()
    environment.filters.update(
        at=lambda value: f"{value:.1f}", us=microseconds, percent=percent, giga=giga, ms=lambda value: f"{value:.3f}"
    )
    colour = _colours(total.name for total in roofline.by_template())
    return environment.get_template("bench.html.jinja").render(
        name=signature.name,
        library=library,
        facts=_facts(signature, roofline, host, measured_at),
        latencies=latencies,
        tiles=_tiles(roofline, latencies[0]),
        total=roofline.total,
        templates=roofline.by_template(),
        colour=colour,
        roofline_charts={shape: charts.roofline_chart(roofline, *box) for shape, box in _SHAPES.items()},
        bar_charts={shape: charts.bar_chart(roofline, *box) for shape, box in _BAR_SHAPES.items()},
        not_plotted=sum(not (row.intensity and row.flops_per_second) for row in roofline.kernels),
        rows=[_row(row, place) for place, row in enumerate(roofline.kernels)],
        style=page_file("bench.css"),
        script=page_file("bench.js"),
    )


def _colours(templates: Iterable[str]) -> dict[str, int]:
    """The number of each template's colour; 0 is grey, for copies and for when colours run out."""
    known = {name: number + 1 for number, name in enumerate(_COLOURS)} | {"copy": 0}
    colours: dict[str, int] = {}
    following = len(_COLOURS) + 1
    for name in sorted(templates):
        if name in known:
            colours[name] = known[name]
        else:
            colours[name] = following if following <= _LAST_COLOUR else 0
            following += 1
    return colours


def _facts(signature: Signature, roofline: Roofline, host: HostFacts, measured_at: datetime) -> dict[str, str]:
    caches = ", ".join(f"L{i + 1} {size(each)}" for i, each in enumerate((host.l1_bytes, host.l2_bytes, host.l3_bytes)))
    return {
        "Target": f"{signature.triple}, {signature.cpu}",
        "Compiled by": f"Tilewright {signature.tilewright_version}",
        "Memory": f"weights {size(signature.weights_bytes)}, workspace {size(signature.workspace_bytes)}",
        "Machine": f"{host.model_name}, {host.cores} processors, {caches}",
        **({"GPU": roofline.peak.device} if roofline.peak.device else {"Threads": str(roofline.peak.threads)}),
        "Ceilings": ceilings(roofline),
        "Measured": measured_at.strftime("%Y-%m-%d %H:%M"),
    }


def _tiles(roofline: Roofline, ours: Latency) -> list[tuple[str, str, str]]:
    """Heading, number and explanation of the page's key figures."""
    total = roofline.total
    rate = f", {giga(total.flops_per_second)} GFLOP/s" if total.flops else ""
    return [
        (
            "latency",
            duration(ours.median_ms / 1e3),
            f"median of {ours.runs}, from {ours.min_ms:.3f} to {ours.p90_ms:.3f} (p90)",
        ),
        ("sum of kernels", duration(total.seconds), f"{total.steps} steps, {amount(total.flops, 'FLOP')}{rate}"),
        ("bound", duration(total.bound_seconds), "the least by peak and bandwidth"),
        ("lost", duration(total.lost_seconds), "sum of kernels above their bounds"),
        ("reached", percent(total.reached), "bound / sum of kernels"),
    ]


def _row(row: KernelTime, place: int) -> dict[str, Any]:
    """A row of the table: what stands in its cells, and by what they are sorted."""
    work = row.work
    numbers = {
        "lost": (row.lost_seconds, microseconds(row.lost_seconds)),
        "time": (row.seconds, microseconds(row.seconds)),
        "reached": (row.reached, percent(row.reached)),
        "bound": (None, str(row.bound or "-")),
        "flops": (work.flops, amount(work.flops)),
        "bytes": (work.bytes, size(work.bytes) if work.bytes else "-"),
        "intensity": (row.intensity, intensity_text(work.flops, work.bytes)),
        "rate": (row.flops_per_second, giga(row.flops_per_second)),
        "bandwidth": (row.bytes_per_second, giga(row.bytes_per_second)),
        "peak": (row.peak_share, percent(row.peak_share)),
    }
    return {
        "place": place + 1,
        "step": work.step,
        "kernel": work.kernel,
        "template": work.template,
        "sources": " + ".join(work.sources),
        "cells": {name: (-1 if value is None else value, text) for name, (value, text) in numbers.items()},
    }
