"""What `quantize` tells: the whole model, its layers with the worst first, and what stayed float and why."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from .report import Table, duration, size

if TYPE_CHECKING:
    from ..calibration.errors_of_layers import Error
    from ..calibration.findings import Findings, LayerFinding

_MOST_ROWS = 24
_RATIO_OF_WORST = 10.0  # decibels that a layer must be worse than the middle one to be called guilty


def tables(found: Findings) -> list[str | Table]:
    """For people: the worst layers, those in float, and a line on the whole."""
    parts: list[str | Table] = []
    guilty = found.guilty
    if guilty:
        table = Table(
            ("layer", ">alone", ">at the end", ">up to it", ">without it", ">clipped", ">float", ">int8", "range"),
            title="signal to noise in dB, the layer of the largest error of its own first",
        )
        tensors = {each.name: each for each in found.tensors}
        for layer in guilty[:_MOST_ROWS]:
            tensor = tensors.get(layer.root)
            error = layer.error
            assert error is not None
            table.add(
                layer.name,
                *(decibels(each) for each in (error.alone, error.alone_at_end, error.cumulative)),
                gain(found, layer),
                f"{tensor.clipped:.2%}" if tensor else "",
                duration(layer.exact.seconds),
                duration(layer.integer.seconds),
                tensor.entry.method if tensor else "",
            )
        parts.append(table)
        if len(guilty) > _MOST_ROWS:
            parts.append(f"{len(guilty) - _MOST_ROWS} more layers: --report and --json show all")
        if is_guilty(found, guilty[0]):
            parts.append(
                f"look at {guilty[0].name!r} first: of the tensor {guilty[0].root!r} that it reads, or of its weights, "
                "more is lost than elsewhere"
            )
    floats = [each for each in found.layers if each.kept_float]
    if floats:
        table = Table(("stays float", "why"))
        for layer in floats[:_MOST_ROWS]:
            table.add(layer.name, layer.kept_float)
        parts.append(table)
        if len(floats) > _MOST_ROWS:
            parts.append(f"{len(floats) - _MOST_ROWS} more stay float")
    return [*parts, *headlines(found)]


def headlines(found: Findings) -> list[str]:
    """A few lines on the whole model."""
    samples = f"calibrated with {found.calibrated} samples, judged by {found.held} others"
    lines = [
        f"{len(found.layers) - sum(bool(each.kept_float) for each in found.layers)} of {len(found.layers)} layers are "
        f"integers on {found.target}; {samples if found.held else 'without samples nothing is known of accuracy'}"
    ]
    metrics = found.metrics
    if metrics is not None:
        agreement = f"top-1 agrees in {metrics.top1:.2%} of rows, " if metrics.top1 is not None else ""
        divergence = f", divergence {metrics.divergence:.2g}" if metrics.divergence is not None else ""
        lines.append(
            f"against the float model: {agreement}cosine {metrics.cosine:.5f}, signal to noise "
            f"{_number(metrics.decibels)} dB{divergence}"
        )
    if found.exact.seconds and found.integer.seconds:
        lines.append(
            f"a run takes {duration(found.integer.seconds)} instead of {duration(found.exact.seconds)} "
            f"({found.integer.seconds / found.exact.seconds:.2f}), its kernels move {size(found.integer.bytes)} "
            f"instead of {size(found.exact.bytes)}"
        )
        if found.integer.seconds > found.exact.seconds:
            lines.append("the quantized library is the SLOWER one here: compile without the recipe, or measure again")
    methods = Counter(each.entry.method for each in found.tensors)
    if methods:
        lines.append("ranges: " + ", ".join(f"{count} {method}" for method, count in methods.most_common()))
    lines += corrected(found)
    return lines


def corrected(found: Findings) -> list[str]:
    """How many layers each correction serves, and what error it leaves in the middle one."""
    ratios: dict[str, list[float]] = {}
    tried = Counter(each.kind for layer in found.layers for each in layer.corrections)
    for layer in found.layers:
        for each in layer.corrections:
            if each.kept:
                ratios.setdefault(each.kind, []).append(each.ratio)
    lines = []
    for kind, count in tried.items():
        kept = sorted(ratios.get(kind, []))
        left = f", whose error is {kept[len(kept) // 2]:.2f} of what it was" if kept else ""
        lines.append(f"{kind}: corrected for {len(kept)} of {count} layers{left}")
    return lines


def is_guilty(found: Findings, layer: LayerFinding) -> bool:
    """Whether a layer's own error stands out from those of the others."""
    measured = sorted(each.error.alone.decibels for each in found.guilty if each.error)
    middle = measured[len(measured) // 2]
    return layer.error is not None and layer.error.alone.decibels < middle - _RATIO_OF_WORST


def gain(found: Findings, layer: LayerFinding) -> str:
    """What the model's outputs win in decibels if the layer goes back to float."""
    if layer.error is None or not layer.error.without.signal or found.disturbed is None:
        return ""
    won = layer.error.without.decibels - found.disturbed.decibels
    return f"{won:+.1f}" if math.isfinite(won) else ""


def decibels(error: Error) -> str:
    """A ratio of signal to noise for people; nothing where it was not measured."""
    return _number(error.decibels) if error.signal or error.error else ""


def _number(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "exact" if value > 0 else "-"


def to_json(found: Findings) -> dict[str, Any]:
    """All of it as JSON takes it: no infinities."""
    metrics = found.metrics
    return {
        "model": found.model,
        "target": found.target,
        "samples": {"calibrated": found.calibrated, "held_out": found.held},
        "seconds": found.seconds,
        "float": {"seconds": found.exact.seconds, "bytes": found.exact.bytes},
        "quantized": {"seconds": found.integer.seconds, "bytes": found.integer.bytes},
        "metrics": None
        if metrics is None
        else {
            "samples": metrics.samples,
            "snr_db": _finite(metrics.decibels),
            "cosine": metrics.cosine,
            "top1_agreement": metrics.top1,
            "divergence": metrics.divergence,
        },
        "layers": [_layer(found, each) for each in found.layers],
        "tensors": [
            {
                "name": each.name,
                "bits": each.entry.bits,
                "scale": each.entry.scale,
                "zero_point": each.entry.zero_point,
                "range": list(each.entry.range or ()),
                "seen": [each.statistics.low, each.statistics.high],
                "clipped": each.clipped,
                "method": each.entry.method,
                "why": each.entry.why,
            }
            for each in found.tensors
        ],
        "worst_first": [each.name for each in found.guilty],
    }


def _layer(found: Findings, layer: LayerFinding) -> dict[str, Any]:
    error = layer.error
    numbers: dict[str, float | None] = {}
    if error is not None:
        for key, each in (
            ("alone_db", error.alone),
            ("alone_at_end_db", error.alone_at_end),
            ("cumulative_db", error.cumulative),
            ("without_db", error.without),
        ):
            numbers[key] = _finite(each.decibels) if each.signal or each.error else None
    return {
        "name": layer.name,
        "operator": layer.operator,
        "reads": layer.root,
        "kept_float": layer.kept_float or None,
        **numbers,
        "corrections": [
            {"kind": each.kind, "error_ratio": each.ratio, "kept": each.kept} for each in layer.corrections
        ],
        "float_seconds": layer.exact.seconds,
        "quantized_seconds": layer.integer.seconds,
        "float_bytes": layer.exact.bytes,
        "quantized_bytes": layer.integer.bytes,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
