"""Sizes that may depend on dimensions known only when a library runs: sums of products of bounded dimensions.

A size is an integer wherever everything is known when the model is compiled, which is nearly always. Otherwise it is a
`SizeExpr`, which has a value for each value of its dimensions, and a largest one, for which memory is planned.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

NAME = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 1000  # text of a size
_WORD = r"[^\W\d][^\s+*/()\-,]*"  # a name in a model may have points and the like in it


@dataclass(frozen=True)
class Dimension:
    """A number from `least` to `bound` that is known when the library runs; the name is an identifier of C."""

    name: str
    bound: int
    least: int = 0

    @property
    def size(self) -> SizeExpr:
        """The number itself, to compute with."""
        return SizeExpr((((self,), 1),))


@dataclass(frozen=True)
class RoundedUp:
    """The next multiple of a number, of a size that is not negative."""

    size: SizeExpr
    multiple: int


@dataclass(frozen=True)
class Quotient:
    """A size that is not negative by a number, rounded down."""

    size: SizeExpr
    divisor: int


Factor: TypeAlias = Dimension | RoundedUp | Quotient


@dataclass(frozen=True)
class SizeExpr:
    """A sum: each term is a product of factors, none for a constant, and a coefficient that is not 0.

    Made by `+` and `*` from `Dimension.size`, by `rounded_up` and `quotient`; equal sums of products are equal.
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


def quotient(size: Size, divisor: int) -> Size:
    """A size that is not negative by a positive number, rounded down; what divides without a rest stays a sum."""
    if isinstance(size, int):
        return size // divisor
    whole = _sum([(factors, c // divisor) for factors, c in size.terms if c % divisor == 0 or not factors])
    rest = _sum([(factors, c) for factors, c in size.terms if c % divisor and factors])
    if rest == 0:  # of the constant the part that is no multiple adds nothing
        return whole
    left = rest + sum(c % divisor for factors, c in size.terms if not factors)
    assert isinstance(left, SizeExpr)
    return SizeExpr((((Quotient(left, divisor),), 1),)) + whole


def value_of(size: Size, values: Mapping[str, int]) -> int:
    """A size for these values of its dimensions, by name."""
    if isinstance(size, int):
        return size
    return sum(c * math.prod(_factor(factor, values) for factor in factors) for factors, c in size.terms)


def with_values(size: Size, values: Mapping[str, int]) -> Size:
    """A size in which some dimensions have these values, by name."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for factors, coefficient in size.terms:
        product: Size = coefficient
        for factor in factors:
            one: Size
            if isinstance(factor, Dimension):
                one = values.get(factor.name, factor.size)
            elif isinstance(factor, Quotient):
                one = quotient(with_values(factor.size, values), factor.divisor)
            else:
                one = rounded_up(with_values(factor.size, values), factor.multiple)
            product = one * product
        total = product + total
    return total


def largest(size: Size) -> int:
    """A size at the bounds of its dimensions; terms that are taken away count at 0, where they take nothing."""
    if isinstance(size, int):
        return size
    return sum(
        c * math.prod(factor.bound if isinstance(factor, Dimension) else _largest_inside(factor) for factor in factors)
        for factors, c in size.terms
        if c > 0 or not factors
    )


def smallest(size: Size) -> int:
    """A size at the least of its dimensions, with which it grows."""
    return value_of(size, {each.name: each.least for each in dimensions_of(size)})


def dimensions_of(size: Size) -> list[Dimension]:
    """The dimensions that a size depends on, each once."""
    found: dict[Dimension, None] = {}
    for factors, _ in size.terms if isinstance(size, SizeExpr) else ():
        for factor in factors:
            found.update(dict.fromkeys([factor] if isinstance(factor, Dimension) else dimensions_of(factor.size)))
    return list(found)


def in_c(size: Size, prefix: str = "d_") -> str:
    """A size as an expression of C, in which the dimension N is the variable `d_N` of type int64_t."""
    if isinstance(size, int):
        return str(size)
    terms = []
    for factors, coefficient in size.terms:
        named = [_in_c(factor, prefix) for factor in factors]
        terms.append(" * ".join(named if coefficient == 1 and named else [str(coefficient), *named]))
    return " + ".join(terms)


def parse_size(text: str, dimensions: Iterable[Dimension]) -> Size:
    """The size that is written as `in_c` does without a prefix: names, numbers, ``+``, ``*``, ``/`` and brackets.

    Raises:
        ValueError: it is written otherwise, or names a dimension that is not there.
    """
    return size_of_names(text, {dimension.name: dimension.size for dimension in dimensions})


def words_of(text: str, known: Iterable[str] = ()) -> list[str]:
    """The names in a text, in order: words, and those that are known, whatever is in them."""
    return _words(known).findall(text)


def size_of_names(text: str, known: Mapping[str, Size]) -> Size:
    """The size that a text says of others by name, written as for `parse_size`; ``//`` divides, too.

    Raises:
        ValueError: it is written otherwise, or names what is not known.
    """
    words: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        words.append(found[0])
        return f"_{len(words) - 1}"

    try:
        if len(text) > _LONGEST:
            raise SyntaxError
        tree = ast.parse(_words(known).sub(numbered, text).strip(), mode="eval")
        return _read(tree.body, {f"_{number}": word for number, word in enumerate(words)}, known, text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text[:_LONGEST]!r} is no size") from error


def _words(known: Iterable[str]) -> re.Pattern[str]:
    """Names in texts: those that are known and no words, the longest first, and words."""
    others = sorted((each for each in known if not re.fullmatch(_WORD, each)), key=len, reverse=True)
    return re.compile("|".join([*(rf"(?<!\w){re.escape(each)}(?!\w)" for each in others if each), _WORD]))


def _read(node: ast.expr, words: Mapping[str, str], known: Mapping[str, Size], text: str) -> Size:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.Name):
        word = words.get(node.id, node.id)
        if word not in known:
            raise ValueError(f"{text!r} names {word!r}, which is no dimension")
        return known[word]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _read(node.operand, words, known, text) * -1
    if isinstance(node, ast.BinOp):
        left, right = _read(node.left, words, known, text), _read(node.right, words, known, text)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left + right * -1
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div | ast.FloorDiv) and isinstance(right, int) and right > 0:
            return quotient(left, right)
    raise ValueError(f"{text!r} is no size")


def _factor(factor: Factor, values: Mapping[str, int]) -> int:
    if isinstance(factor, Dimension):
        return values[factor.name]
    inside = value_of(factor.size, values)
    if isinstance(factor, Quotient):
        return inside // factor.divisor
    return -(-inside // factor.multiple) * factor.multiple


def _largest_inside(factor: RoundedUp | Quotient) -> int:
    inside = largest(factor.size)
    if isinstance(factor, Quotient):
        return inside // factor.divisor
    return -(-inside // factor.multiple) * factor.multiple


def _in_c(factor: Factor, prefix: str) -> str:
    if isinstance(factor, Dimension):
        return prefix + factor.name
    inside = in_c(factor.size, prefix)
    if isinstance(factor, Quotient):
        return f"(({inside}) / {factor.divisor})"
    return f"(({inside} + {factor.multiple - 1}) / {factor.multiple} * {factor.multiple})"


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
