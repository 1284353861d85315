"""Inner loops of whole networks on NEON, read in the assembly: products mostly, and nothing on the stack.

A loop is compared with one written by hand for the same tile: as many products, the loads of its operands, vectors of B
in pairs, and three instructions that count and jump; prefetches are not counted. Where k is one step of a tile, the
innermost loop is that over tiles, which stores results: its share says nothing.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from assembly import Kernel, Loop, innermost_loops, kernels_of_layer
from network_layers import NETWORKS
from real_layers import Layer, conv, dense
from tilewright import targets
from tilewright.schedules.templates.choices import Choice
from tilewright.schedules.templates.contraction import MultiplyAddChoice
from tilewright.schedules.templates.dot_product_choice import DotProductChoice, depth_of
from tilewright.schedules.templates.steps_of_k import loads_of
from tilewright.schedules.templates.winograd_choice import WinogradChoice
from tilewright.targets.target import Target

PRODUCT = re.compile(r"(fmla|[us]+dot|[us]+mmla|bfdot|bfmmla|smlal2?|smull2?)\t")
STORE = re.compile(r"(st[rp]|stur)\t")
STACK = re.compile(r"\bsp\b")
FLOAT_CPUS = ("cortex-a53", "cortex-a72", "neoverse-n1")
# What a machine's CPU multiplies in, and with what.
UNITS = {"sdot": ("neoverse-n1", "int8"), "usmmla": ("neoverse-v1", "uint8"), "bfmmla": ("neoverse-v1", "bfloat16")}
_COUNT_AND_JUMP = 3
# What loops have beside that, as a share of a long one and in one that is short: addresses that are not folded into
# loads, or are of weights that are asked for early.
_BESIDE, _MORE = 0.04, 4
_FEW = 4  # products of what is no loop over k
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
        unit = target.unit(choice.unit)
        groups, zipped = depth_of(choice.k[-1], unit) // unit.group, unit.rows == 2
        vectors = choice.vectors * groups * (1 + zipped)  # of B
        repeated = groups if unit.lhs == "bfloat16" else 0  # lanes, which LLVM does not take from their place
        rows = choice.row_registers * (2 + groups if zipped else 1 + repeated)  # loads, and zips
        return ByHand(choice.row_registers * vectors, rows + math.ceil(vectors / 2) + _COUNT_AND_JUMP)
    tile = choice.tile if isinstance(choice, WinogradChoice) else choice
    assert isinstance(tile, MultiplyAddChoice)
    vectors = tile.vectors * tile.k_step
    loads = tile.rows * loads_of(tile.k_step, target) + math.ceil(vectors / 2)
    return ByHand(tile.rows * vectors, loads + _COUNT_AND_JUMP)


def goes_on(choice: Choice, target: Target) -> bool:
    """Whether there are several steps of a unit, as deep as what a load brings of a row."""
    if not isinstance(choice, DotProductChoice):
        return True
    unit = target.unit(choice.unit)
    return depth_of(choice.k[-1], unit) == unit.depth and math.prod(choice.k) > unit.depth


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
        hand, found = by_hand(kernel.choice, target), (layer.name, kernel.choice)
        for loop in hot_loops(kernel):
            of_stack = [line for line in loop if STACK.search(line)]
            # Winograd's transforms have more values than there are registers.
            assert not of_stack or (kernel.template == "winograd" and has_stores(loop)), (found, of_stack)
            if has_stores(loop) or not goes_on(kernel.choice, target):
                continue
            products = sum(bool(PRODUCT.match(line)) for line in loop)
            narrower = range(1, kernel.choice.vectors if products < hand.products else 1)  # the last columns' tile
            hands = [hand, *(by_hand(replace(kernel.choice, vectors=each), target) for each in narrower)]
            assert any(is_as_good(loop, products, each) for each in hands), (found, products, len(loop), hand)


def is_as_good(loop: Loop, products: int, hand: ByHand) -> bool:
    """Whether a loop has about as few instructions beside its products as one by hand that has no more products."""
    few_beside = len(loop) - products <= products / hand.products * (hand.others + _MORE)
    return products / len(loop) >= min(LEAST, hand.share - _BESIDE) or few_beside


def has_stores(loop: Loop) -> bool:
    """Whether a loop stores results."""
    return any(STORE.match(line) for line in loop)


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


# Where every element of A takes an instruction, and what is not folded into loads of addresses.
OTHERS = {
    "cortex-a7": ("armv7-linux-gnueabihf", r"vfma\.f32", 0.4),
    "spacemit-x60": ("riscv64-linux-gnu", r"vfmacc\.vf", 0.5),
    "generic-rv64": ("riscv64-linux-gnu", r"fmadd\.s", 0.5),
    "sifive-u74": ("riscv64-linux-gnu", r"fmadd\.s", 0.5),
}
# Of many steps, and of three in each of the filter's places.
BOTH = (dense("bert", 128, 512, 512), conv("mobilenet", 224, 3, 32, 3, 2))


@pytest.mark.parametrize(("cpu", "layer"), itertools.product(OTHERS, BOTH), ids=str)
def test_where_each_operand_takes_an_instruction(cpu: str, layer: Layer) -> None:
    triple, product, least = OTHERS[cpu]
    (kernel,) = kernels_of_layer(layer, targets.parse(triple, cpu=cpu, cores=1))

    loops = [
        loop
        for loop in innermost_loops(kernel.text)
        if sum(bool(re.match(rf"{product}\t", line)) for line in loop) > _FEW
    ]

    assert loops
    for loop in loops:
        assert sum(bool(re.match(rf"{product}\t", line)) for line in loop) >= least * len(loop), Counter(loop)
        assert not [line for line in loop if STACK.search(line)]


@pytest.mark.parametrize("unit", UNITS)
def test_units(unit: str) -> None:
    cpu, dtype = UNITS[unit]
    layer = conv("resnet", 14, 256, 256, 3, dtype="float32" if dtype == "bfloat16" else dtype)

    check(layer, cpu, dtype)

    ((kernel, _),) = kernels(layer, cpu, dtype)
    assert re.search(rf"\t{unit}\t", kernel.text)


# As many elements of k as a few steps of each unit take, and the machine.
STEPS = {"sdot": 16, "usdot": 16, "bfdot": 8, "usmmla": 16, "bfmmla": 8, "smlal": 8}
FEW = {
    **UNITS,
    "usdot": ("neoverse-v1", "uint8"),
    "bfdot": ("neoverse-v1", "bfloat16"),
    "smlal": ("cortex-a53", "uint8"),
}


@pytest.mark.parametrize("unit", ["sdot", "bfdot"])
def test_two_steps_of_a_unit(unit: str) -> None:
    few_steps(unit, 2)


@pytest.mark.parametrize("unit", FEW)
@pytest.mark.slow
def test_few_steps_of_a_unit(unit: str) -> None:
    for steps in (1, 2, 3, 4):
        few_steps(unit, steps)


def few_steps(unit: str, steps: int) -> None:
    cpu, dtype = FEW[unit]
    of_layer = "float32" if dtype == "bfloat16" else dtype
    check(conv("few", 56, steps * STEPS[unit], 96, dtype=of_layer), cpu, dtype)


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
