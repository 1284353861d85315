"""Contractions of floats with weights of a few bits: words are unpacked and dequantized in registers.

    C[row, column] = sum over k of A(row, k) * (q[k, column] - z[block, column]) * s[block, column]

as in `contraction.py`, whose tiles, cut and schedule these are. What differs is B: a word of 32 bits holds the
integers of several k for one column, so that one load brings them, and the words of neighbouring columns lie side by
side. They are packed as

    words[0, panel, block, word of the block, column % tile_columns]      uint32
    scales[panel, block, column % tile_columns]                           float32, where blocks are several
    zeros[panel, block, column % tile_columns]                            uint8, where they differ

An integer is stored with `offset` added, so that none has a sign. Its bits, put into the mantissa of a float whose unit
in the last place is 1, are that float and the integer: less the same float and the zero point it is the difference,
exactly, in a subtraction. The loop nest of a tile:

    for block, for word of the block
        load a word for each column
        unrolled terms of the word: shift, mask, subtract, multiply by the scale
            unrolled rows, unrolled vectors: broadcast A, multiply-add

Where one scale is for all of a column, it is multiplied with the sum. Bytes are what a product of few rows waits for:
weights of 4 bits are an eighth of those of float32. Of many rows the multiply-adds are as many, and unpacking comes on
top, so that floats are faster.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from ...annotations import STAGE
from ...ir_passes.dialect.weight_product import WORD_BITS
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.padding import padded
from . import contraction, contraction_choice
from .choices import Space
from .contraction import MultiplyAddChoice
from .cutting import Tiles, best, cuts
from .packing import in_panels

TEMPLATE = "weight_product"
# What STAGE says of the first operand with zeros behind its rows.
OPERAND = "whole_words"

Array = npt.NDArray[Any]
Element = Callable[..., Scalar]

# A float32 whose unit in the last place is 1: with an integer in its last bits it is the sum of both.
_LARGE = 2.0**23
_LARGE_BITS = int(np.float32(_LARGE).view(np.uint32))
# Instructions that make a factor of a word: a shift, a mask and an or, a subtraction; and a product with a scale.
_UNPACK, _SCALE = 4, 1
_SHARED = 3  # registers for the mask, the large float and what is unpacked


@dataclass(frozen=True)
class WeightProduct:
    """The sizes of a product, and how its weights are stored.

    Attributes:
        rows, columns, depth: of the result, and of each sum.
        bits: of an integer; words hold a whole number of them.
        block: rows of the weights that share a scale, whole words unless there is one block.
        zeros: whether zero points differ.
    """

    rows: int
    columns: int
    depth: int
    bits: int
    block: int
    zeros: bool = False

    @property
    def per_word(self) -> int:
        """Integers in a word."""
        return WORD_BITS // self.bits

    @property
    def blocks(self) -> int:
        """Scales of a column."""
        return math.ceil(self.depth / self.block)

    @property
    def words(self) -> int:
        """Words of a block."""
        return math.ceil(min(self.block, self.depth) / self.per_word)

    @property
    def offset(self) -> int:
        """What is added to an integer that has a sign."""
        return 1 << (self.bits - 1)

    @property
    def padded_depth(self) -> int:
        """Terms of a sum in whole blocks of whole words."""
        return self.blocks * self.words * self.per_word

    @property
    def scales_terms(self) -> bool:
        """Whether terms are scaled, not sums."""
        return self.blocks > 1

    @property
    def contraction(self) -> contraction.Workload:
        """The same as a contraction of factors that are unpacked."""
        return contraction.Workload(1, self.rows, self.columns, (self.blocks, self.words, self.per_word))

    @property
    def weight_bytes(self) -> float:
        """Of words, scales and zero points."""
        shared = 4 + (1 if self.zeros else 0)
        return self.columns * self.blocks * (self.words * WORD_BITS / 8 + shared)


@dataclass(frozen=True)
class WeightProductChoice(MultiplyAddChoice):
    """``rows`` and ``vectors`` of a register tile, and how tiles are cut into tasks; sums are whole."""


def takes(workload: object, target: Target) -> bool:
    """Every product with such weights, on cores that run loops."""
    return isinstance(workload, WeightProduct) and target.grid is None


def space(workload: WeightProduct, target: Target) -> Space[WeightProductChoice]:
    """All register tiles that fit, cut in every way but into slices of k."""
    return cuts(
        lambda: _register_tiles(workload, target),
        lambda tile: math.ceil(workload.rows / tile.rows),
        lambda tile: (1,),
        target,
    )


def _register_tiles(workload: WeightProduct, target: Target) -> Iterator[WeightProductChoice]:
    """Wide ones first."""
    held = 1 + workload.scales_terms + workload.zeros  # registers of a vector of weights
    for vectors in reversed(range(1, target.num_vector_registers // 2 if workload.columns > 1 else 2)):
        for rows in range(1, min(target.core.addressed_rows, workload.rows) + 1):
            if rows * vectors + held * vectors + _SHARED <= target.num_vector_registers or rows == vectors == 1:
                yield WeightProductChoice(rows=rows, vectors=vectors)


def default(workload: WeightProduct, target: Target) -> WeightProductChoice:
    """The choice of the fewest estimated cycles."""
    return best(space(workload, target), lambda choice: tiles_of(workload, choice, target), target)


def estimate(workload: WeightProduct, choice: WeightProductChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, when weights come from memory."""
    return tiles_of(workload, choice, target).elapsed_of(choice, target)


def tiles_of(workload: WeightProduct, choice: WeightProductChoice, target: Target) -> Tiles:
    """The tiles of a choice; instructions that unpack start as often as multiply-adds."""
    core, rows, vectors = target.core, choice.rows, choice.vectors
    products = contraction_choice.tile_cycles(workload.contraction, choice, target)
    unpacked = workload.padded_depth * vectors * (_UNPACK + _SCALE * workload.scales_terms) / core.fmas_per_cycle
    started = workload.padded_depth * rows * vectors / core.fmas_per_cycle
    lanes = workload.contraction.lanes(target)
    return Tiles(
        batch=1,
        rows=math.ceil(workload.rows / rows),
        panels=math.ceil(workload.columns / (vectors * lanes)),
        cycles=max(products, unpacked + started),
        a_bytes=workload.rows * workload.depth * 4.0,
        b_bytes=workload.weight_bytes,
        c_bytes=workload.rows * workload.columns * 4.0,
        prefetched=1,
    )


def _columns_in_tile(workload: WeightProduct, choice: WeightProductChoice, target: Target) -> int:
    return contraction.tile_columns(workload.contraction, choice, target)


def packed(
    workload: WeightProduct, choice: WeightProductChoice, target: Target, integers: Array, scale: Array, zero: Array
) -> list[Array]:
    """The weights as `compute` reads them.

    Args:
        integers: (depth, columns), with a sign or without.
        scale: (blocks, columns).
        zero: (blocks, columns); all the same where the workload says that they do not differ.

    Returns:
        Words; scales, where terms are scaled; and zero points, where they differ.
    """
    width = _columns_in_tile(workload, choice, target)
    stored = _whole_words(workload, (integers.astype(np.int16) + _shift(workload, integers)).astype(np.uint32))
    places = (np.arange(workload.per_word, dtype=np.uint32) * workload.bits).reshape(1, -1, 1)
    words = np.bitwise_or.reduce(stored.reshape(-1, workload.per_word, workload.columns) << places, axis=1)
    panels = in_panels(words.T[None], width)
    arrays = [panels.reshape(1, panels.shape[1], workload.blocks, workload.words, width)]
    if workload.scales_terms:
        arrays.append(in_panels(scale.T[None].astype(np.float32), width)[0])
    if workload.zeros:
        arrays.append(in_panels((zero + _shift(workload, integers)).astype(np.uint8).T[None], width)[0])
    return arrays


def _shift(workload: WeightProduct, integers: Array) -> int:
    return workload.offset if integers.dtype.kind == "i" else 0


def zero_of(workload: WeightProduct, integers: Array, zero: Array) -> int:
    """The zero point that all have, as stored: what `compute` subtracts where they do not differ."""
    return int(zero.reshape(-1)[0]) + _shift(workload, integers)


def _whole_words(workload: WeightProduct, integers: Array) -> Array:
    """Rows in whole blocks of whole words, zeros between."""
    block = workload.words * workload.per_word
    rows = np.zeros((workload.padded_depth, workload.columns), integers.dtype)
    for number in range(workload.blocks):
        part = integers[number * workload.block : (number + 1) * workload.block]
        rows[number * block : number * block + len(part)] = part
    return rows


def operand(workload: WeightProduct, element: Element) -> Element:
    """A at (batch, row, block, word, term), with zeros where a block is not filled."""
    per, words, whole = workload.per_word, workload.words, workload.padded_depth
    if whole != workload.depth:
        shape = (1, workload.rows, whole)
        extents = (1, workload.rows, workload.depth)
        stage = padded(element, extents, shape, (0, 0, 0), "float32", STAGE.entry(OPERAND), OPERAND)
        element = lambda *index: stage[index]  # noqa: E731  # the same, with zeros

    def at(batch: Any, row: Any, block: Any, word: Any, term: Any) -> Scalar:
        return element(batch, row, (block * words + word) * per + term)

    return at


def compute(
    workload: WeightProduct,
    choice: WeightProductChoice,
    target: Target,
    lhs: Element,
    zero: int,
    words: te.Tensor,
    *parameters: te.Tensor,
) -> te.Tensor:
    """C with shape (1, padded rows, padded columns), of float32; not scaled where a column has one scale.

    Args:
        lhs: as `operand` gives it.
        zero: the zero point that all have, as stored.
        words, parameters: what `packed` gives.
    """
    scales = parameters[0] if workload.scales_terms else None
    zeros = parameters[-1] if workload.zeros else None
    mask = tirx.const((1 << workload.bits) - 1, "uint32")

    def floated(integer: Scalar) -> Scalar:
        return tirx.reinterpret("float32", integer | tirx.const(_LARGE_BITS, "uint32"))

    def factor(batch: Any, panel: Any, block: Any, word: Any, term: Any, lane: Any) -> Scalar:
        place = (term * workload.bits).astype("uint32")
        integer = floated((words[batch, panel, block, word, lane] >> place) & mask)
        if zeros is None:
            difference = integer - tirx.const(_LARGE + zero, "float32")
        else:
            difference = integer - floated(zeros[panel, block, lane].astype("uint32"))
        return difference if scales is None else difference * scales[panel, block, lane]

    return contraction.compute(
        workload.contraction, choice, target, lhs, factor, template=TEMPLATE, name=TEMPLATE, flops=_flops(workload)
    )


def _flops(workload: WeightProduct) -> int:
    return 2 * workload.rows * workload.columns * workload.depth
