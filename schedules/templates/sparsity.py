"""How sparse constant weights are: what the workload of a contraction says of them, whoever made them zero."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Weights of which a smaller share is zero are dense, and so are those that are zero throughout: nobody computes those.
_LEAST_ZEROS = 0.25
_WIDEST = 128


@dataclass(frozen=True)
class Sparsity:
    """Where the weights of a contraction are not zero.

    Attributes:
        blocks: for blocks of 1, 2, 4, ... columns by one step of k, cut at multiples of that: how many of them hold
            anything but zeros. Blocks of all columns are the last, if they come before 128.
    """

    blocks: tuple[int, ...]

    def of_width(self, columns: int) -> int:
        """Blocks of so many columns, a power of two, that hold anything but zeros."""
        return self.blocks[min(int(math.log2(columns)), len(self.blocks) - 1)]

    def stated(self, columns: int) -> bool:
        """Whether blocks of so many columns were counted."""
        return columns & (columns - 1) == 0 and columns <= _WIDEST


def sparsity_of(matrix: npt.NDArray[np.generic]) -> Sparsity | None:
    """The sparsity of weights (batch, columns, *k); None where they are dense, or where zeros are not the end of it.

    Zeros times infinity are NaN: weights that are infinite themselves are not looked at.
    """
    used = matrix.reshape(*matrix.shape[:2], -1) != 0
    count = np.count_nonzero(used)
    if count == 0 or count > (1 - _LEAST_ZEROS) * used.size or not np.isfinite(matrix).all():
        return None
    blocks = [int(count)]
    while used.shape[1] > 1 and 2 ** len(blocks) <= _WIDEST:
        if used.shape[1] % 2:
            used = np.pad(used, ((0, 0), (0, 1), (0, 0)))
        used = used[:, 0::2] | used[:, 1::2]
        blocks.append(int(np.count_nonzero(used)))
    return Sparsity(tuple(blocks))
