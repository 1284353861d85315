"""Dense layers that are quantized without ranges: what each way of it says of a layer, in the words of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ...errors import UsageError
from ..library.signature import QUANTIZED
from .recipe import ActivationsEntry, FloatEntry, Recipe, WeightsEntry
from .sections import BLOCKS

# Operators of dense layers.
DENSE = ("MatMul", "Gemm")
_ENTRIES = (
    {"weights": WeightsEntry(8)},
    {"weights": WeightsEntry(4, "block32")},
    {"weights": WeightsEntry(8), "activations": ActivationsEntry()},
)
# The ways of `compile --quantize` that need no recipe -> what one would say of every dense layer.
WAYS: Mapping[str, Mapping[str, Any]] = MappingProxyType(dict(zip(QUANTIZED, _ENTRIES, strict=True)))


def way_of(weights_only: str | None, dynamic: bool, *, has_samples: bool) -> str | None:
    """The way that options of `quantize` ask for; None: with ranges, of samples.

    Raises:
        UsageError: two ways are asked for, there is none of such weights, or samples are missing.
    """
    if weights_only is not None and dynamic:
        raise UsageError(
            "these are two ways to quantize dense layers", where="--weights-only, --dynamic", hint="give one of them"
        )
    if weights_only is not None:
        ways = [way for way in WAYS if way == f"weights-{weights_only}"]
        if not ways:
            known = ", ".join(way.removeprefix("weights-") for way in WAYS if way.startswith("weights-"))
            raise UsageError(
                f"there are no weights of {weights_only!r}", where="--weights-only", hint=f"one of {known}"
            )
        return ways[0]
    if dynamic:
        return "dynamic"
    if not has_samples:
        raise UsageError(
            "ranges are found from samples of the model's inputs",
            where="--calibration",
            hint="give some; --weights-only int8|int4 and --dynamic need none",
        )
    return None


def dense_layers(recipe: Recipe) -> dict[str, tuple[int, int]]:
    """Bits and rows that share a scale (0: all) of the layers of which no range is needed.

    Those are weights in blocks, layers with scales of their own at run time, and all in a recipe without tensors.
    """
    kept, dynamic = recipe.entries(FloatEntry), recipe.dynamic
    return {
        layer: (entry.bits, BLOCKS.get(entry.granularity, 0))
        for layer, entry in recipe.entries(WeightsEntry).items()
        if layer not in kept and (layer in dynamic or entry.granularity in BLOCKS or not recipe.tensors)
    }
