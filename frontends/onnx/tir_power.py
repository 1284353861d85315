"""Powers of integers, which wrap: by squares and products, as often as an exponent has digits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from tvm import tirx

from ... import hidden_integers as integers
from ...ir_types import PrimFunc, Scalar, Stmt
from ...tensorir_kernel import kernel
from ...tensorir_statements import broadcast_place, load, sequence, store, tensor, variables

_EXPONENT = "int64"


def integer_power(numbers: Sequence[int], exponents: Sequence[int], dtype: str, exponent_dtype: str) -> PrimFunc:
    """A PrimFunc from numbers and exponents to powers, of the numbers' dtype; shapes broadcast as in numpy.

    x ** -n is 1 / x ** n without its fraction: 0 but for 1 and -1, and 0 for 0, too.

        for i in grid(shape):
            base = x[i];  power = 1;  left = exponent[i]
            while left > 0:     power *= base if left is odd else 1;  base *= base;  left //= 2
            y[i] = power
    """
    shape = np.broadcast_shapes(tuple(numbers), tuple(exponents))
    x, y = tensor(numbers, dtype, "x"), tensor(shape, dtype, "y")
    given = tensor(exponents, exponent_dtype, "exponent")
    base, power = (variables(1, dtype, name) for name in ("base", "power"))
    left = variables(1, _EXPONENT, "left")
    zero, one = tirx.const(0, _EXPONENT), tirx.const(1, _EXPONENT)

    def of(own: Sequence[int]) -> Callable[..., Sequence[Scalar]]:
        """The place in an operand of this shape."""
        return lambda *point: broadcast_place(own, shape, point)

    def body(*point: Scalar) -> list[Stmt]:
        number = load(x, *of(numbers)(*point))
        exponent = load(given, *of(exponents)(*point)).astype(_EXPONENT)
        is_unit = integers.equal(number, tirx.const(1, dtype))
        if dtype.startswith("int"):
            is_unit = tirx.any(is_unit, integers.equal(number, tirx.const(-1, dtype)))
        vanishes = tirx.all(exponent < zero, tirx.Not(is_unit))
        odd = tirx.EQ(load(left, 0) & one, one)
        turn = [
            store(power, tirx.Select(odd, integers.multiply(load(power, 0), load(base, 0)), load(power, 0)), 0),
            store(base, integers.multiply(load(base, 0), load(base, 0)), 0),
            store(left, load(left, 0) >> one, 0),
        ]
        return [
            store(base, number, 0),
            store(power, tirx.Select(vanishes, tirx.const(0, dtype), tirx.const(1, dtype)), 0),
            store(left, tirx.Select(exponent < zero, tirx.Select(vanishes, zero, exponent & one), exponent), 0),
            tirx.While(load(left, 0) > zero, sequence(turn)),
            store(y, load(power, 0), *point),
        ]

    return kernel(
        "integer_power",
        shape,
        body,
        keeps=[base, power, left],
        reads=[(x, of(numbers)), (given, of(exponents))],
        writes=[(y, of(shape))],
    )
