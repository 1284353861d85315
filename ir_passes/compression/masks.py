"""Which weights are kept: patterns in which they become zero, and what of a matrix is worth the most in each."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import UsageError
from ..core.constants import Array

Mask = npt.NDArray[np.bool_]
UNSTRUCTURED = "unstructured"


@dataclass(frozen=True)
class Pattern:
    """Where zeros may stand in weights of (output channels, inputs).

    Attributes:
        channels, inputs: of a block that is zero throughout or not at all.
        kept, among: where not 0, so many of each run of inputs are kept, whatever the rate.
    """

    channels: int = 1
    inputs: int = 1
    kept: int = 0
    among: int = 0


def pattern_of(text: str) -> Pattern:
    """``unstructured``; ``4x1``, blocks of 4 output channels by one input; ``2:4``, two of four inputs.

    Raises:
        UsageError: it is none of these.
    """
    if text == UNSTRUCTURED:
        return Pattern()
    blocks, runs = re.fullmatch(r"(\d+)x(\d+)", text), re.fullmatch(r"(\d+):(\d+)", text)
    if blocks and min(int(each) for each in blocks.groups()) > 0:
        return Pattern(channels=int(blocks[1]), inputs=int(blocks[2]))
    if runs and 0 < int(runs[1]) <= int(runs[2]):
        return Pattern(kept=int(runs[1]), among=int(runs[2]))
    hint = "it is unstructured, CHANNELSxINPUTS as in 16x1, or KEPT:AMONG as in 2:4"
    raise UsageError("there is no such pattern of zeros", where=text, hint=hint)


def checked_rate(rate: float) -> float:
    """The share of weights that become zero.

    Raises:
        UsageError: it is no share.
    """
    if not 0 <= rate < 1:
        raise UsageError("a rate of sparsity is at least 0 and below 1", where=f"rate {rate}")
    return rate


def keep(scores: Array, pattern: Pattern, rate: float) -> Mask:
    """What of (groups, output channels, inputs) is kept: the blocks of the highest sums of `scores`, or of each run.

    Args:
        scores: of each weight, 0 and above; of equal ones the first are dropped.
        rate: the share of blocks that are dropped, at most.
    """
    if pattern.among:
        return _keep_of_runs(scores, pattern.kept, pattern.among)
    groups, channels, inputs = scores.shape
    down, across = math.ceil(channels / pattern.channels), math.ceil(inputs / pattern.inputs)
    pads = ((0, 0), (0, down * pattern.channels - channels), (0, across * pattern.inputs - inputs))
    blocks = np.pad(scores, pads).reshape(groups, down, pattern.channels, across, pattern.inputs).sum(axis=(2, 4))
    kept = np.ones(blocks.size, bool)
    kept[np.argsort(blocks, axis=None, kind="stable")[: math.floor(rate * blocks.size + 1e-9)]] = False
    whole = kept.reshape(blocks.shape).repeat(pattern.channels, axis=1).repeat(pattern.inputs, axis=2)
    return whole[:, :channels, :inputs]


def _keep_of_runs(scores: Array, kept: int, among: int) -> Mask:
    groups, channels, inputs = scores.shape
    runs = math.ceil(inputs / among)
    padded = np.pad(scores, ((0, 0), (0, 0), (0, runs * among - inputs)), constant_values=-1.0)
    order = np.argsort(padded.reshape(groups, channels, runs, among), axis=-1, kind="stable")
    mask = np.zeros(order.shape, bool)
    np.put_along_axis(mask, order[..., among - kept :], True, axis=-1)
    return mask.reshape(groups, channels, runs * among)[..., :inputs]
