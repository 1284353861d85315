"""What a compile computes and stores in: what the user asks for, and what the target can do of it."""

from __future__ import annotations

import warnings

from ..errors import PrecisionWarning
from ..targets import Target
from ..targets.architectures import architecture_of

# The largest difference, over the largest |reference|, that rounding explains: what verify, bisect and the benchmarks
# hold results to. Float32 engines differ by the order of their sums. With fewer bits, 11 and 8 of them (an error of
# 0.2% an operation), it adds up over the depth of a network; an unrelated result differs by about 1.
RTOL_OF_PRECISION = {"fp32": 1e-4, "tf32": 2e-3, "fp16": 2e-2, "bf16": 1e-1}

# The same of integers in the place of floats, by what `compile --quantize` rounds: steps of a 254th or 16th of a range.
# The layers of BERT-base with random weights, of which nothing is alike, add up to 0.18 with scales at run time.
_RTOL_OF_INTEGERS = {"weights-int8": 1e-1, "weights-int4": 5e-1, "dynamic": 2.5e-1}


def rtol_of(precision: str, quantize: str | None = None) -> float:
    """The tolerance of a library that computes so, against the model as it came in float32."""
    return max(RTOL_OF_PRECISION[precision], _RTOL_OF_INTEGERS.get(quantize or "", 0.0))


# What operands are rounded to, and tensors stored in.
DTYPES = {"bf16": "bfloat16", "fp16": "float16"}


def possible(precision: str, target: Target) -> str:
    """The precision to compile in.

    ``bf16`` takes a unit that multiplies bfloat16, ``tf32`` one that rounds operands of float32, ``fp16`` a unit or
    instructions that convert. On a target without them the result is ``fp32``, with a `PrecisionWarning`.
    """
    if precision == "fp32":
        return precision
    architecture = architecture_of(target.arch)
    if target.grid is None and architecture is None:  # its code is C, vectors or not
        return _instead(f"{precision} is not for C sources, which is what {target.cpu} takes")
    if target.grid is None and target.lanes() == 1:
        return _instead(f"{precision} is for vectors, which C sources and {target.cpu} do not have")
    if precision == "tf32":
        return precision if target.rounding_units else _instead(f"{target.cpu} has no unit that rounds float32")
    if multiplies(precision, target):
        return precision
    if precision == "bf16":
        units = architecture.units if architecture is not None else ()
        names = ", ".join(unit.name for unit in units if unit.rhs == "bfloat16")
        return _instead(f"{target.cpu} multiplies no bfloat16{names and f' ({names})'}")
    if target.half_features is None:
        needed = ", ".join(architecture.half_features).upper() if architecture is not None else ""
        return _instead(f"{target.cpu} has no instructions that convert float16 ({needed})")
    return precision


def multiplies(precision: str, target: Target) -> bool:
    """Whether a machine has units for operands of a precision's dtype, so that results are worth storing in it, too."""
    dtype = DTYPES.get(precision)
    return dtype is not None and bool(target.units_for(dtype, dtype, "float32"))


def planned(precision: str, target: Target) -> Target:
    """The machine as it is used in a precision that is possible."""
    return target.rounding() if precision == "tf32" else target


def _instead(why: str) -> str:
    warnings.warn(f"{why}: compiling in float32 instead", PrecisionWarning, stacklevel=4)
    return "fp32"
