"""Inner loops of whole networks on other machines, read in the assembly: mostly products, and no register on the stack.

A loop is compared with one written by hand for the same tile: as many products, the loads of its operands, vectors of B
in pairs, and three instructions that count and jump.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import pytest
from assembly import Kernel, innermost_loops, kernels_of_layer
from network_layers import NETWORKS
from real_layers import Layer
from tilewright import targets
from tilewright.schedules.templates.contraction import MultiplyAddChoice
from tilewright.schedules.templates.steps_of_k import loads_of
from tilewright.schedules.templates.winograd import WinogradChoice
from tilewright.targets.target import Target

PRODUCT = re.compile(r"(fmla|[us]+dot|[us]+mmla|bfdot|bfmmla|smlal2?|vfma\.f32|vmlal\.s16|vfmacc\.v[fv]|fmadd\.s|vwmacc\.vx)\t")
STACK = re.compile(r"\[(sp|x29|r11)\b|\((sp|s0)\)")
CPUS = ("cortex-a53", "cortex-a72", "neoverse-n1")
_COUNT_AND_JUMP = 3


@dataclass(frozen=True)
class Counts:
    """Instructions of a loop: products, all, and those that read or write the stack."""

    products: int
    all: int
    of_stack: int

    @property
    def share(self) -> float:
        """Of products."""
        return self.products / self.all


def hot_loops(kernel: Kernel) -> list[Counts]:
    found = [
        Counts(
            sum(bool(PRODUCT.match(line)) for line in loop), len(loop), sum(bool(STACK.search(line)) for line in loop)
        )
        for loop in innermost_loops(kernel.text)
    ]
    return [each for each in found if each.products]


def by_hand(tile: MultiplyAddChoice, target: Target) -> float:
    """The share of products in a loop that is written by hand."""
    products = tile.rows * tile.vectors * tile.k_step
    loads = tile.rows * loads_of(tile.k_step, target) + math.ceil(tile.vectors * tile.k_step / 2)
    return products / (products + loads + _COUNT_AND_JUMP)
