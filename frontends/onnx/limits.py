"""How large a model may say it is. Every limit is checked before anything of that size is made.

They are far above what models use: a file that declares more is damaged, or made to exhaust whoever opens it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...errors import ModelError, UnsupportedError

LARGEST_TENSOR = (1 << 31) - 1  # elements
LARGEST_RANK = 32
LARGEST_GRAPH = 100_000  # nodes, after functions are put in place of their calls
UNROLLED_NODES = 20_000  # converted in branches and loops, those of a loop that is unrolled once a turn
DEEPEST_NESTING = 64  # graphs in nodes of graphs, functions called by functions
# What is computed while a model is imported and then stored in the library, in elements.
CONSTANT_GROWTH = 1 << 20  # how many more than its operands a constant may have; a larger one is computed at run time
LARGEST_TABLE = 1 << 24  # one that cannot be computed at run time: a range of numbers, positions to interpolate at
EVALUATED_ELEMENTS = 1 << 28  # operands and result of one computation


def check_tensor(shape: Sequence[int], dtype: str = "") -> None:
    """Refuses a tensor that is too large, by its shape; a dimension of 0 does not make the others harmless.

    Raises:
        ModelError: a dimension is negative.
        UnsupportedError: it has too many elements or dimensions.
    """
    if min(shape, default=0) < 0:
        raise ModelError(f"a tensor of shape {'x'.join(map(str, shape))} is needed: a dimension is negative")
    if len(shape) > LARGEST_RANK:
        raise UnsupportedError(
            f"a tensor of {len(shape)} dimensions is needed; the most that is supported is {LARGEST_RANK}",
        )
    if math.prod(extent for extent in shape if extent) > LARGEST_TENSOR:
        kind = f"{dtype} tensor" if dtype else "tensor"
        raise UnsupportedError(
            f"a {kind} of shape {'x'.join(map(str, shape))} is needed; "
            f"the largest that is supported has {LARGEST_TENSOR:,} elements",
            hint="check the sizes that the model declares and those given with --shape",
        )


def check_table(elements: float, what: str) -> None:
    """Refuses a constant that would have to be computed and stored.

    Raises:
        UnsupportedError: it has too many elements.
    """
    if not elements <= LARGEST_TABLE:
        raise UnsupportedError(
            f"{what} would take {elements:,.0f} elements at compile time; at most {LARGEST_TABLE:,} are supported"
        )
