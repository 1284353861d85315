"""What a compile computes and stores in: what the user asks for, and what the target can do of it."""

from __future__ import annotations

import warnings
from dataclasses import replace

from ..errors import PrecisionWarning
from ..targets import Target
from ..targets.architectures import ARCHITECTURES

_BFLOAT16 = "bfloat16"


def settle(precision: str, target: Target) -> tuple[str, Target]:
    """The precision to compile in, and the target with the units that it uses and no others.

    ``bf16`` takes a unit that multiplies bfloat16, ``fp16`` instructions that convert. On a target without them the
    result is ``fp32``, with a `PrecisionWarning`.
    """
    target = replace(target, dot_units=())
    if precision == "bf16":
        if target.units:
            return precision, target.with_dot_units(_BFLOAT16)
        units = ARCHITECTURES[target.arch].units
        _warn(f"{target.cpu} multiplies no bfloat16 ({', '.join(unit.name for unit in units)})")
    if precision == "fp16":
        if target.half_features is not None:
            features = dict.fromkeys([*target.required_features, *target.half_features])
            return precision, replace(target, required_features=tuple(features))
        needed = ", ".join(ARCHITECTURES[target.arch].half_features).upper()
        _warn(f"{target.cpu} has no instructions that convert float16 ({needed})")
    return "fp32", target


def _warn(why: str) -> None:
    warnings.warn(f"{why}: compiling in float32 instead", PrecisionWarning, stacklevel=4)
