"""`quantize --report`: every layer's error, time and range, and histograms of the worst, as one page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from .curves import svg
from .pages import page_environment, page_file
from .quantization_report import decibels, gain, headlines, is_guilty
from .report import duration, size

if TYPE_CHECKING:
    from ..calibration.findings import Findings, TensorFinding

_HISTOGRAMS = 6
_POINTS = 160  # of a histogram as it is drawn


def render(found: Findings) -> str:
    """The page as HTML."""
    environment = page_environment()
    environment.filters.update(duration=duration, size=size, decibels=decibels, percent=lambda value: f"{value:.2%}")
    tensors = {each.name: each for each in found.tensors}
    guilty = found.guilty
    worst = dict.fromkeys(each.root for each in guilty)
    return environment.get_template("quantization.html.jinja").render(
        found=found,
        headlines=headlines(found),
        first=guilty[0] if guilty and is_guilty(found, guilty[0]) else None,
        rows=[(layer, tensors.get(layer.root), gain(found, layer)) for layer in guilty],
        floats=[each for each in found.layers if each.kept_float],
        order=Markup(_in_order(found)),
        histograms=[
            (tensors[name], Markup(histogram(tensors[name]))) for name in list(worst)[:_HISTOGRAMS] if name in tensors
        ],
        style=page_file("bench.css"),
    )


def _in_order(found: Findings) -> str:
    """Errors against the depth of the network."""
    lines: dict[str, list[tuple[float, float]]] = {"alone": [], "up to it": []}
    for number, layer in enumerate(found.layers):
        if layer.error is None:
            continue
        for name, error in (("alone", layer.error.alone), ("up to it", layer.error.cumulative)):
            if math.isfinite(error.decibels):
                lines[name].append((float(number), error.decibels))
    return svg("Signal to noise of each layer", "layer", "dB", {name: line for name, line in lines.items() if line})


def histogram(tensor: TensorFinding) -> str:
    """How often values occur, on a logarithmic scale, and where the range ends."""
    statistics = tensor.statistics
    counts, centers = statistics.counts, statistics.centers
    seen = np.flatnonzero(counts)
    if seen.size == 0:
        return ""
    low, high = int(seen[0]), int(seen[-1]) + 1
    step = max(1, (high - low) // _POINTS)
    points = [
        (float(centers[at : at + step].mean()), math.log10(1 + float(counts[at : at + step].sum())))
        for at in range(low, high, step)
    ]
    top = max(y for _, y in points)
    ends = tensor.entry.range or (statistics.low, statistics.high)
    lines = {"values": points, "range": [(ends[0], 0.0), (ends[0], top)], "its end": [(ends[1], 0.0), (ends[1], top)]}
    return svg(tensor.name, "value", "log10 of how often", lines)
