"""Weights of low rank: how a matrix or a kernel is made of smaller ones, and what is lost at each rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.constants import Array
from .second_order import damped

# Of the mean of the moments' diagonal: no more than what a root of them needs to exist.
_DAMPING = 1e-6


@dataclass(frozen=True)
class Factors:
    """A decomposition into all of its ranks, most important first: a matrix is about left[:, :r] @ right[:r].

    Attributes:
        left: (outputs, ranks).
        right: (ranks, inputs).
        values: singular values, (ranks,): their squares are what the error of the outputs is made of.
    """

    left: Array
    right: Array
    values: Array

    def rank_within(self, error: float) -> int:
        """The smallest rank that loses at most so much of the outputs, as a share of them (root of squares)."""
        lost = np.sqrt(np.maximum(self._squares_behind(), 0.0))
        return max(1, int(np.argmax(lost <= error * lost[0])))

    def error_of(self, rank: int) -> float:
        """What a rank loses, as a share of the outputs."""
        behind = self._squares_behind()
        return float(np.sqrt(behind[min(rank, len(self.values))] / behind[0])) if behind[0] > 0 else 0.0

    def _squares_behind(self) -> Array:
        """For every rank from 0 on the sum of squares of the values that are left out."""
        return np.concatenate([np.cumsum(self.values[::-1] ** 2)[::-1], [0.0]])


def decompose(matrix: Array, moments: Array | None = None) -> Factors:
    """The factors of (outputs, inputs) that lose the least of its outputs at every rank, for inputs of these moments.

    The singular value decomposition of the matrix times a root of the moments, after which the root is taken off again:
    inputs that are large and vary together count for more. Without moments all inputs count alike.
    """
    root = None if moments is None else np.linalg.cholesky(damped(moments, _DAMPING))
    left, values, right = np.linalg.svd(matrix if root is None else matrix @ root, full_matrices=False)
    share = np.sqrt(values)
    right = share[:, None] * right
    return Factors(left * share, right if root is None else np.linalg.solve(root.T, right.T).T, values)


def split_kernel(kernel: Array) -> Factors:
    """Factors of a kernel (outputs, channels, height, width): (outputs, width) by (channels, height), spatial SVD."""
    outputs, channels, height, width = kernel.shape
    return decompose(kernel.transpose(0, 3, 1, 2).reshape(outputs * width, channels * height))


@dataclass(frozen=True)
class Tucker:
    """A kernel as a smaller one between two changes of channels.

    Attributes:
        first: (channels in, of all channels).
        core: (channels out, channels in, *space).
        last: (of all outputs, channels out).
    """

    first: Array
    core: Array
    last: Array


def tucker_ranks(kernel: Array, error: float) -> tuple[int, int]:
    """Ranks of channels and outputs (outputs, channels, *space) that together lose at most so much of the weights."""
    return _of_axis(kernel, 1).rank_within(error / np.sqrt(2)), _of_axis(kernel, 0).rank_within(error / np.sqrt(2))


def tucker(kernel: Array, ranks: Sequence[int]) -> Tucker:
    """Tucker-2 by the singular vectors of both axes (HOSVD), and two turns of orthogonal iteration.

    Args:
        ranks: of channels, and of outputs.
    """
    into, out = ranks
    first = _vectors(kernel, 1, into)
    last = _vectors(kernel, 0, out)
    for _ in range(2):
        last = _vectors(np.einsum("oi...,ir->or...", kernel, first), 0, out)
        first = _vectors(np.einsum("oi...,or->ri...", kernel, last), 1, into)
    core = np.einsum("oi...,ir,os->sr...", kernel, first, last, optimize=True)
    return Tucker(first.T, core, last)


def _of_axis(kernel: Array, axis: int) -> Factors:
    return decompose(np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1))


def _vectors(kernel: Array, axis: int, rank: int) -> Array:
    """The most important directions along an axis, (extent, rank)."""
    matrix = np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)
    return np.linalg.svd(matrix, full_matrices=False)[0][:, :rank]
