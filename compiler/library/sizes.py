"""Sizes that may depend on dimensions known only when a library runs: sums of products of bounded dimensions.

A size is an integer wherever everything is known when the model is compiled, which is nearly always. Otherwise it is a
`SizeExpr`, which has a value for each value of its dimensions, and a largest one, for which memory is planned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Dimension:
    """A number from 0 to `bound` that is known when the library runs; the name is an identifier of C."""

    name: str
    bound: int

    @property
    def size(self) -> SizeExpr:
        """The number itself, to compute with."""
        return SizeExpr((((self,), 1),))


@dataclass(frozen=True)
class RoundedUp:
    """The next multiple of a number, of a size that is not negative."""

    size: SizeExpr
    multiple: int


Factor: TypeAlias = Dimension | RoundedUp


@dataclass(frozen=True)
class SizeExpr:
    """A sum: each term is a product of factors, none for a constant, and a coefficient that is not 0.

    Made by `+` and `*` from `Dimension.size` and by `rounded_up`; equal sums of products are equal.
    """

    terms: tuple[tuple[tuple[Factor, ...], int], ...]

    def __add__(self, other: Size) -> Size:
        return _sum([*self.terms, *_terms(other)])

    def __radd__(self, other: int) -> Size:
        return self + other

    def __mul__(self, other: Size) -> Size:
        return _sum([((*left, *right), one * another) for left, one in self.terms for right, another in _terms(other)])

    def __rmul__(self, other: int) -> Size:
        return self * other

    def __str__(self) -> str:
        return in_c(self, prefix="")


Size: TypeAlias = int | SizeExpr


def rounded_up(size: Size, multiple: int) -> Size:
    """The next multiple of a number."""
    if isinstance(size, int):
        return -(-size // multiple) * multiple
    if all(coefficient % multiple == 0 for _, coefficient in size.terms):
        return size
    return SizeExpr((((RoundedUp(size, multiple),), 1),))


def value_of(size: Size, values: Mapping[str, int]) -> int:
    """A size for these values of its dimensions, by name."""
    if isinstance(size, int):
        return size
    return sum(c * math.prod(_factor(factor, values) for factor in factors) for factors, c in size.terms)


def largest(size: Size) -> int:
    """A size at the bounds of its dimensions; terms that are taken away count at 0, where they take nothing."""
    if isinstance(size, int):
        return size
    return sum(
        c * math.prod(factor.bound if isinstance(factor, Dimension) else _largest_rounded(factor) for factor in factors)
        for factors, c in size.terms
        if c > 0 or not factors
    )


def in_c(size: Size, prefix: str = "d_") -> str:
    """A size as an expression of C, in which the dimension N is the variable `d_N` of type int64_t."""
    if isinstance(size, int):
        return str(size)
    terms = []
    for factors, coefficient in size.terms:
        named = [_in_c(factor, prefix) for factor in factors]
        terms.append(" * ".join(named if coefficient == 1 and named else [str(coefficient), *named]))
    return " + ".join(terms)


def _factor(factor: Factor, values: Mapping[str, int]) -> int:
    if isinstance(factor, Dimension):
        return values[factor.name]
    return -(-value_of(factor.size, values) // factor.multiple) * factor.multiple


def _largest_rounded(factor: RoundedUp) -> int:
    return -(-largest(factor.size) // factor.multiple) * factor.multiple


def _in_c(factor: Factor, prefix: str) -> str:
    if isinstance(factor, Dimension):
        return prefix + factor.name
    return f"(({in_c(factor.size, prefix)} + {factor.multiple - 1}) / {factor.multiple} * {factor.multiple})"


def _terms(size: Size) -> tuple[tuple[tuple[Factor, ...], int], ...]:
    return (((), size),) if isinstance(size, int) else size.terms


def _sum(terms: list[tuple[tuple[Factor, ...], int]]) -> Size:
    """The terms with equal factors as one, in an order that does not depend on how the sum was made."""
    total: dict[tuple[Factor, ...], int] = {}
    for factors, coefficient in terms:
        ordered = tuple(sorted(factors, key=lambda factor: _in_c(factor, "")))
        total[ordered] = total.get(ordered, 0) + coefficient
    left = {factors: coefficient for factors, coefficient in total.items() if coefficient}
    if not left or set(left) == {()}:
        return left.get((), 0)
    by_text = sorted(left.items(), key=lambda term: (-len(term[0]), [_in_c(factor, "") for factor in term[0]]))
    return SizeExpr(tuple(by_text))
