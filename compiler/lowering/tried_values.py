"""Whether two indices are equal for all values of their variables: proved, or else tried.

TVM takes the quotients of a row apart while it simplifies, and does not put together again what belongs together:
18 a + 6 b + c, divided by 9, is 2 a + (6 b + c) // 9, and (18 a + 6 b + c) // 81 stays beside it. Loops are short, so
what the prover gives up on is computed for every value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from ...ir_types import Analyzer, Scalar, Var
from ...schedules.tensorir.rebuild import found

_MOST_TRIED = 1 << 20  # values together

Values = npt.NDArray[np.int64]
_COMPUTED: Mapping[type, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        tirx.Add: np.add,
        tirx.Sub: np.subtract,
        tirx.Mul: np.multiply,
        tirx.FloorDiv: np.floor_divide,
        tirx.FloorMod: np.mod,
        tirx.Min: np.minimum,
        tirx.Max: np.maximum,
    }
)


def are_equal(first: Scalar, second: Scalar, analyzer: Analyzer) -> bool:
    """Whether they are, for all values that `analyzer` knows their variables to have."""
    if analyzer.can_prove_equal(first, second):
        return True
    difference = analyzer.simplify(first - second)
    variables = {var.name: var for var in found(difference, tirx.Var)}.values()
    bounds = [analyzer.const_int_bound(var) for var in variables]
    counts = [int(bound.max_value) - int(bound.min_value) + 1 for bound in bounds]
    if math.prod(counts) > _MOST_TRIED:
        return False
    axes = np.ix_(*(int(bound.min_value) + np.arange(count) for bound, count in zip(bounds, counts, strict=True)))
    values = _values(difference, list(zip(variables, axes, strict=True)))
    return values is not None and not np.any(values)


def _values(node: Scalar, known: list[tuple[Var, Values]]) -> Any:
    """What an expression is for all values of variables; None where it has something else in it."""
    if isinstance(node, tirx.IntImm):
        return int(node)
    if isinstance(node, tirx.Var):
        return next((values for var, values in known if var.same_as(node)), None)
    compute = _COMPUTED.get(type(node))
    if compute is None:
        return None
    operands = [_values(each, known) for each in (node.a, node.b)]
    return None if any(each is None for each in operands) else compute(*operands)
