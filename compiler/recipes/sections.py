"""What may stand in a recipe: a row for each section of a layer, and how the entries of all are read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from reprlib import repr as short
from types import MappingProxyType
from typing import Any

import numpy as np

from ...errors import RecipeError, UsageError
from ...ir_passes.compression.masks import checked_rate, pattern_of
from .recipe import (
    AT_RUN_TIME,
    OF_TENSORS,
    ActivationsEntry,
    BalanceEntry,
    DropEntry,
    FloatEntry,
    KeepEntry,
    PrecisionEntry,
    RankEntry,
    SparsityEntry,
    TensorEntry,
    WeightsEntry,
)

# Gives a value as an entry holds it; raises ValueError with what would be right.
Check = Callable[[Any], Any]

GRANULARITIES = ("channel", "tensor")
# Those of weights alone, where activations stay floats: so many rows of a column share a scale.
BLOCKS: Mapping[str, int] = MappingProxyType({"block32": 32, "block128": 128})
MOST_BITS = 8
_MOST_FLOAT = float(np.finfo(np.float32).max)


def integer(low: int, high: int) -> Check:
    """A whole number within bounds."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return check


def number(value: Any) -> float:
    """A number that is finite in float32, in which kernels compute with it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_MOST_FLOAT <= value <= _MOST_FLOAT:
        raise ValueError("a finite number of float32")
    return float(value)


def positive(value: Any) -> float:
    """A finite number that is greater than 0 in float32."""
    if np.float32(number(value)) <= 0:
        raise ValueError("a number greater than 0, in float32, too")
    return float(value)


def factor(value: Any) -> float:
    """A number that one can divide by as well as multiply with."""
    positive(1 / positive(value))
    return float(value)


def text(value: Any) -> str:
    """Text."""
    if not isinstance(value, str):
        raise ValueError("text")
    return value


def indices(value: Any) -> tuple[int, ...]:
    """Numbers of channels, each once, in order."""
    if not isinstance(value, list) or not value or not all(type(each) is int and each >= 0 for each in value):
        raise ValueError("a list of numbers of channels, from 0 on")
    if sorted(set(value)) != value:
        raise ValueError("numbers in order, each once")
    return tuple(value)


def ranks(value: Any) -> int | tuple[int, int]:
    """A rank, or one of channels and one of outputs."""
    given = value if isinstance(value, list) else [value]
    if len(given) not in (1, 2) or not all(type(each) is int and each > 0 for each in given):
        raise ValueError("a rank from 1 on, or a list of two")
    return (given[0], given[1]) if len(given) == 2 else given[0]


def pattern(value: Any) -> str:
    """Where zeros may stand."""
    try:
        pattern_of(text(value))
    except UsageError as error:
        raise ValueError(error.hint) from None
    return str(value)


def rate(value: Any) -> float:
    """A share of weights."""
    try:
        return checked_rate(number(value))
    except UsageError as error:
        raise ValueError(error.what) from None


def yes_or_no(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def factors(value: Any) -> tuple[float, ...]:
    """Numbers to divide channels by."""
    if not isinstance(value, list) or not value:
        raise ValueError("a list of numbers greater than 0")
    return tuple(map(factor, value))


def one_of(*choices: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError("one of " + ", ".join(choices))
        return str(value)

    return check


def interval(value: Any) -> tuple[float, float] | None:
    """The ends of a range, or nothing."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not number(value[0]) <= number(value[1]):
        raise ValueError("two numbers, the smaller one first")
    return float(value[0]), float(value[1])


@dataclass(frozen=True)
class EntryFormat:
    """How an entry is written: as an object with fields, or as the one field that it has.

    Attributes:
        make: its class, whose fields with a default may be left out.
        checks: what each field may be.
        single: whether it is written as the value of its only field.
    """

    make: type[Any]
    checks: Mapping[str, Check]
    single: bool = False

    def read(self, value: Any, where: str) -> Any:
        """The entry that JSON's value is.

        Raises:
            RecipeError: a field is unknown, missing, or has a value that it cannot have.
        """
        if self.single:
            value = {next(iter(self.checks)): value}
        read = read_object(value, self.checks, where)
        for each in fields(self.make):
            if each.name not in read and each.default is MISSING:
                raise RecipeError(f"the field {each.name!r} is missing", where=where)
        return self.make(**read)

    def write(self, entry: Any) -> Any:
        """The entry as JSON's value, without fields that have their defaults."""
        if self.single:
            return getattr(entry, next(iter(self.checks)))
        return {
            each.name: list(value) if isinstance(value := getattr(entry, each.name), tuple) else value
            for each in fields(entry)
            if each.default is MISSING or getattr(entry, each.name) != each.default or each.name == "bits"
        }


def read_object(value: Any, checks: Mapping[str, Check], where: str) -> dict[str, Any]:
    """The fields of a JSON object, each checked.

    Raises:
        RecipeError: a field is unknown, or has a value that it cannot have.
    """
    if not isinstance(value, dict):
        raise RecipeError("an object in braces is needed here", where=where)
    unknown = sorted(set(value) - set(checks))
    if unknown:
        raise RecipeError(f"{unknown[0]!r} is not known here", where=where, hint=f"known: {', '.join(checks)}")
    read = {}
    for key, check in checks.items():
        if key in value:
            try:
                read[key] = check(value[key])
            except ValueError as error:
                raise RecipeError(f"{short(value[key])} is no value of {key!r}", where=where, hint=str(error)) from None
    return read


TENSOR = EntryFormat(
    TensorEntry,
    MappingProxyType(
        {
            "bits": integer(2, MOST_BITS),
            "scale": positive,
            "zero_point": integer(-(2 ** (MOST_BITS - 1)), 2 ** (MOST_BITS - 1) - 1),
            "range": interval,
            "method": text,
            "why": text,
        }
    ),
)

BALANCE = EntryFormat(BalanceEntry, MappingProxyType({"factors": factors, "why": text}))

# The sections of a layer by the key that they have in the file. A pass that takes one is a row of `apply.PASSES`.
LAYER_SECTIONS: Mapping[str, EntryFormat] = MappingProxyType(
    {
        "weights": EntryFormat(
            WeightsEntry,
            MappingProxyType(
                {"bits": integer(2, MOST_BITS), "granularity": one_of(*GRANULARITIES, *BLOCKS), "why": text}
            ),
        ),
        "activations": EntryFormat(
            ActivationsEntry, MappingProxyType({"scales": one_of(AT_RUN_TIME, OF_TENSORS)}), single=True
        ),
        "keep_channels": EntryFormat(KeepEntry, MappingProxyType({"channels": indices}), single=True),
        "drop": EntryFormat(DropEntry, MappingProxyType({"drop": yes_or_no}), single=True),
        "sparsity": EntryFormat(SparsityEntry, MappingProxyType({"pattern": pattern, "rate": rate})),
        "rank": EntryFormat(RankEntry, MappingProxyType({"rank": ranks}), single=True),
        "precision": EntryFormat(PrecisionEntry, MappingProxyType({"precision": one_of("bf16")}), single=True),
        "float": EntryFormat(FloatEntry, MappingProxyType({"why": text}), single=True),
    }
)


def check_option(name: str, value: str, known: tuple[str, ...]) -> str:
    """A word of an option.

    Raises:
        UsageError: it is none of those that are known.
    """
    if value not in known:
        raise UsageError(f"{value!r} is no {name}", where=f"--{name}", hint="one of " + ", ".join(known))
    return value
