"""Inner loops of whole networks on NEON, read in the assembly: products mostly, and no register that goes to the stack.

A loop is compared with one written by hand for the same tile: as many products, the loads of its operands, vectors of B
in pairs, and three instructions that count and jump. A loop of so few steps that LLVM writes it out has the epilogue of
its tile beside it, so that its share says nothing; prefetches are not counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from assembly import Kernel, Loop, innermost_loops, kernels_of_layer
from network_layers import NETWORKS
from real_layers import Layer, conv, dense
from tilewright import targets
from tilewright.schedules.templates.choices import Choice
from tilewright.schedules.templates.contraction import MultiplyAddChoice
from tilewright.schedules.templates.dot_product_choice import DotProductChoice, depth_of, unit_of
from tilewright.schedules.templates.steps_of_k import loads_of
from tilewright.schedules.templates.winograd import WinogradChoice
from tilewright.targets.target import Target

PRODUCT = re.compile(r"(fmla|[us]+dot|[us]+mmla|bfdot|bfmmla)\t")
STORE = re.compile(r"(st[rp]|stur)\t")
TO_STACK = re.compile(r"st\S+\t.*\[sp\b")
FLOAT_CPUS = ("cortex-a53", "cortex-a72", "neoverse-n1")
# What a machine's CPU multiplies in, and with what.
UNITS = {"sdot": ("neoverse-n1", "int8"), "usmmla": ("neoverse-v1", "uint8"), "bfmmla": ("neoverse-v1", "bfloat16")}
_COUNT_AND_JUMP = 3
# What loops have beside that: an address too many, or one of weights that are asked for early.
_BESIDE = 0.04
LEAST = 0.8


@dataclass(frozen=True)
class ByHand:
    """Instructions of a loop that is written by hand."""

    products: int
    others: int

    @property
    def share(self) -> float:
        return self.products / (self.products + self.others)


def by_hand(choice: Choice, target: Target) -> ByHand:
    """The loop over k of a tile."""
    if isinstance(choice, DotProductChoice):
        unit = unit_of(choice, target)
        groups, zipped = depth_of(choice.k[-1], unit) // unit.group, unit.rows == 2
        vectors = choice.vectors * groups * (1 + zipped)  # of B
        rows = choice.row_registers * (2 + groups if zipped else 1)  # loads, and zips
        return ByHand(choice.row_registers * vectors, rows + math.ceil(vectors / 2) + _COUNT_AND_JUMP)
    tile = choice.tile if isinstance(choice, WinogradChoice) else choice
    assert isinstance(tile, MultiplyAddChoice)
    vectors = tile.vectors * tile.k_step
    loads = tile.rows * loads_of(tile.k_step, target) + math.ceil(vectors / 2)
    return ByHand(tile.rows * vectors, loads + _COUNT_AND_JUMP)


def hot_loops(kernel: Kernel) -> Iterator[Loop]:
    for loop in innermost_loops(kernel.text):
        if any(PRODUCT.match(line) for line in loop):
            yield tuple(line for line in loop if not line.startswith("prfm"))


def kernels(layer: Layer, cpu: str, dtype: str = "") -> Iterator[tuple[Kernel, Target]]:
    """The kernels of a layer that multiply, and the machine."""
    target = targets.parse("aarch64-linux-gnu", cpu=cpu, cores=1)
    for kernel in kernels_of_layer(layer, target, "bfloat16" if dtype == "bfloat16" else ""):
        if kernel.template in ("contraction", "winograd", "dot_product"):
            yield kernel, target


def check(layer: Layer, cpu: str, dtype: str = "") -> None:
    for kernel, target in kernels(layer, cpu, dtype):
        hand = by_hand(kernel.choice, target)
        # Transforms keep more values than there are registers, 36 of a tile of four by four pixels.
        loops = [loop for loop in hot_loops(kernel) if not any(STORE.match(line) for line in loop)]
        whole = [loop for loop in hot_loops(kernel) if loop not in loops]
        assert loops or whole
        for loop in loops:
            share = sum(bool(PRODUCT.match(line)) for line in loop) / len(loop)
            assert share >= min(LEAST, hand.share - _BESIDE), (layer.name, kernel.choice, share, hand)
        if kernel.template != "winograd":
            assert not [line for loop in whole for line in loop if TO_STACK.match(line)], (layer.name, kernel.choice)


SAMPLE = (
    (conv("resnet", 224, 3, 64, 7, 2), "cortex-a72"),
    (conv("resnet", 14, 512, 512, 3, 2), "cortex-a53"),
    (conv("resnet", 7, 512, 512, 3), "cortex-a72"),
    (conv("mobilenet", 14, 96, 576), "neoverse-n1"),
    (dense("odd", 17, 100, 50), "cortex-a53"),
)


@pytest.mark.parametrize(("layer", "cpu"), SAMPLE, ids=str)
def test_floats(layer: Layer, cpu: str) -> None:
    check(layer, cpu)


@pytest.mark.parametrize("unit", UNITS)
def test_units(unit: str) -> None:
    cpu, dtype = UNITS[unit]
    layer = conv("resnet", 14, 256, 256, 3, dtype="float32" if dtype == "bfloat16" else dtype)

    check(layer, cpu, dtype)

    ((kernel, _),) = kernels(layer, cpu, dtype)
    assert re.search(rf"\t{unit}\t", kernel.text)


@pytest.mark.parametrize(("network", "cpu"), [(name, cpu) for name in NETWORKS for cpu in FLOAT_CPUS])
@pytest.mark.slow
def test_floats_of_networks(network: str, cpu: str) -> None:
    for layer in NETWORKS[network].contractions(network):
        check(layer, cpu)


@pytest.mark.parametrize(("network", "unit"), [(name, unit) for name in NETWORKS for unit in UNITS])
@pytest.mark.slow
def test_units_of_networks(network: str, unit: str) -> None:
    cpu, dtype = UNITS[unit]
    for layer in NETWORKS[network].contractions(network, "float32" if dtype == "bfloat16" else dtype):
        check(layer, cpu, dtype)
