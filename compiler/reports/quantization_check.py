"""What `verify --recipe` tells: whether a library computes what its recipe says, and how far that is from floats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .quantization_report import decibels
from .report import Table

if TYPE_CHECKING:
    from ..recipe_check.check import LayerCheck, QuantizedCheck

_MOST_ROWS = 12


def tables(name: str, found: QuantizedCheck) -> list[str | Table]:
    """For people: the layers, where they were looked at, and the verdict."""
    parts: list[str | Table] = []
    if found.layers:
        table = Table(
            ("layer", "reads", ">signal to noise", ">against the recipe", ">needless", ""),
            title="layers by themselves, the worst first (dB)",
        )
        for each in found.layers[:_MOST_ROWS]:
            errors = decibels(each.against_float), decibels(each.against_reference), f"{each.needless:.1f}"
            table.add(each.layer, each.reads, *errors, _state(each))
        parts.append(table)
        first = found.layers[0]
        parts.append(f"first to look at: layer {first.layer!r}, which reads {first.reads!r}{_why(first)}")
    written = "computes" if found.is_as_written else "does NOT compute"
    parts.append(
        f"{name} {written} what its recipe says: {decibels(found.difference)} dB from that arithmetic, which is "
        f"{decibels(found.own_error)} dB from floats"
    )
    metrics = found.metrics
    agreement = f", top-1 agrees in {metrics.top1:.2%}" if metrics.top1 is not None else ""
    left = (
        ""
        if found.changed is None
        else f", as the recipe changes it ({decibels(found.changed)} dB from the model as it came)"
    )
    verdict = "is close to" if metrics.decibels >= found.least_decibels else "DIFFERS from"
    parts.append(
        f"it {verdict} the float model{left} on {metrics.samples} inputs: {metrics.decibels:.1f} dB of "
        f"{found.least_decibels:g} that are asked for, cosine {metrics.cosine:.5f}{agreement}"
    )
    return parts


def _state(layer: LayerCheck) -> str:
    if layer.kernel_is_wrong:
        return "its kernel is WRONG"
    return "its range is too wide" if layer.range_is_wrong else ""


def _why(layer: LayerCheck) -> str:
    if layer.kernel_is_wrong or not layer.range_is_wrong:
        return ""
    return f": its range in the recipe is wider than these samples need, which costs the tensor {layer.needless:.0f} dB"
