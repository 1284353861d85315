"""What a compile computes and stores in: what the user asks for, and what the target can do of it."""

from __future__ import annotations

import warnings

from ..errors import PrecisionWarning
from ..targets import Target
from ..targets.architectures import architecture_named


def possible(precision: str, target: Target) -> str:
    """The precision to compile in.

    ``bf16`` takes a unit that multiplies bfloat16, ``fp16`` instructions that convert. On a target without them the
    result is ``fp32``, with a `PrecisionWarning`.
    """
    architecture = architecture_named(target.arch)
    if precision == "bf16" and not target.units_for("bfloat16", "bfloat16", "float32"):
        units = ", ".join(unit.name for unit in architecture.units if unit.rhs == "bfloat16")
        return _instead(f"{target.cpu} multiplies no bfloat16 ({units})")
    if precision == "fp16" and target.half_features is None:
        needed = ", ".join(architecture.half_features).upper()
        return _instead(f"{target.cpu} has no instructions that convert float16 ({needed})")
    return precision


def _instead(why: str) -> str:
    warnings.warn(f"{why}: compiling in float32 instead", PrecisionWarning, stacklevel=4)
    return "fp32"
