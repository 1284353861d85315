"""What `inspect --channels` tells: which channels of a model go together, what they cost, and which cannot be cut."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..inputs.requests import request_of
from ..options import CompileOptions
from .report import Table, amount, size

if TYPE_CHECKING:
    from ...ir_passes.compression.channel_groups import Group

_NAMES = 2  # of a list that a cell of a table shows
_NAMELESS = "no name of a node of the model reaches them"  # of those in bodies of branches and loops


def inspect_channels(path: Path, options: CompileOptions) -> dict[str, Any]:
    """The groups of a model's channels, as JSON takes it; for a range of sizes FLOPs are those of the largest.

    Raises:
        ModelError, UnsupportedError, ShapeError: the model cannot be imported.
        UsageError: the shapes or the ranges do not fit the model.
    """
    from ... import frontends
    from ...ir_passes.compression.channel_graph import channel_graph
    from ...ir_passes.compression.channel_groups import channel_groups
    from ..build import build

    opened = frontends.open(path, request_of(options))
    imported = build(opened, None, options, stop_after="import").imported
    assert imported is not None
    channels = channel_graph(imported.module)
    named = set(imported.layers.values())
    return {
        "kind": "channels",
        "name": opened.name,
        "flops": sum(layer.flops for layer in channels.layers.values()),
        "weights_bytes": sum(layer.weights.nbytes for layer in channels.layers.values()),
        "groups": [
            {
                "name": group.name,
                "units": len(group.units),
                "free": int(group.free.sum()) if group.can_be_cut and named & group.channels.keys() else 0,
                "layers": {
                    name: {"channels": channels.layers[name].outputs, "in_a_unit": group.width(name)}
                    for name in group.channels
                },
                "read_by": list(group.inputs),
                "flops": group.flops,
                "weights_bytes": group.weights_bytes,
                "held_by": list(group.held_by),
                "reasons": _reasons(group, named),
            }
            for group in channel_groups(channels)
        ],
    }


def _reasons(group: Group, named: Collection[str]) -> dict[str, int]:
    """Why units of a group stay, and how many."""
    return dict(group.reasons) if named & group.channels.keys() else {**group.reasons, _NAMELESS: len(group.units)}


def channel_tables(found: dict[str, Any]) -> list[str | Table]:
    """The same for people."""
    total = max(1, found["flops"])
    free = Table(
        ("channels of", ">units", ">cut with one", ">FLOPs", ">share", ">weights", "read by", "held together by"),
        "channels that can be cut; a unit goes as a whole, FLOPs and weights are those that all units would take along",
    )
    fixed = Table(("channels of", ">units", "why they have to stay"), "channels that cannot be cut")
    for group in found["groups"]:
        names = _some(group["layers"])
        if group["free"]:
            width = sum(layer["in_a_unit"] for layer in group["layers"].values())
            share = f"{group['flops'] / total:.1%}"
            units = group["units"] if group["free"] == group["units"] else f"{group['free']} of {group['units']}"
            free.add(
                names,
                units,
                width,
                amount(group["flops"]),
                share,
                size(group["weights_bytes"]),
                _some(group["read_by"]) or "-",
                _some(group["held_by"]) or "-",
            )
        else:
            fixed.add(names, group["units"], "; ".join(group["reasons"]) or "there is just one unit")
    return [
        f"{found['name']}: {amount(found['flops'], 'FLOP')} and {size(found['weights_bytes'])} of weights in layers",
        *([free] if free.rows else ["no channels of this model can be cut"]),
        *([fixed] if fixed.rows else []),
    ]


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _NAMES} more" if len(every) > _NAMES else ""
    return ", ".join(every[:_NAMES]) + more
