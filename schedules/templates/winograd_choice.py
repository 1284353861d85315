"""How Winograd's algorithm cuts a convolution, and what may be chosen of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ..tensorir.expressions import dtype_bits
from .choices import Choice
from .contraction import MultiplyAddChoice, Workload
from .dot_product_choice import DotProductChoice
from .winograd_transform import Transform, transform

TRANSFORMED, SUMS = "int16", "int32"  # what integers are transformed to, and summed in


@dataclass(frozen=True)
class Tiling:
    """How a convolution is cut into tiles of pixels.

    A dilated convolution is one of each image of every d-th pixel. Tiles next to each other are of different ones.

    Attributes:
        axes: F(m, r) along the rows and the columns of an image: a tile has m x m pixels.
        dilation: how far from each other those are.
        images: batch.
        height, width: of the output, in pixels; a line of them is an image of one row.
        channels: of the input.
        columns: channels of the output.
        groups: that both are of: each has its own sums.
        operand, accumulator: the dtypes of what is transformed and of its sums.
    """

    axes: tuple[Transform, Transform]
    dilation: tuple[int, int]
    images: int
    height: int
    width: int
    channels: int
    columns: int
    groups: int = 1
    operand: str = "float32"
    accumulator: str = "float32"

    @property
    def tiles(self) -> tuple[int, int, int]:
        """Images, rows of tiles, tiles in a row."""
        sizes = zip((self.height, self.width), self.axes, self.dilation, strict=True)
        rows, columns = (tiles_along(extent, axis.outputs, apart) for extent, axis, apart in sizes)
        return self.images, rows, columns

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns of the image that all tiles read."""
        each = zip(self.tiles[1:], self.axes, self.dilation, strict=True)
        rows, columns = (count * axis.outputs + (axis.taps - 1) * apart for count, axis, apart in each)
        return rows, columns

    @property
    def count(self) -> int:
        """All tiles."""
        return math.prod(self.tiles)

    @property
    def points(self) -> int:
        """t * t: products of one tile and pair of channels."""
        return math.prod(axis.inputs for axis in self.axes)

    @property
    def flops(self) -> int:
        """Operations of the direct convolution: what the result is worth."""
        pixels, taps = self.images * self.height * self.width, math.prod(axis.taps for axis in self.axes)
        return 2 * pixels * self.channels // self.groups * self.columns * taps

    def contraction(self, rows: int) -> Workload:
        """The contractions of so many tiles, a batch of all groups for each point."""
        dtypes = (self.operand, self.operand, self.accumulator)
        channels, columns = self.channels // self.groups, self.columns // self.groups
        return Workload(self.points * self.groups, rows, columns, (channels,), *dtypes)

    @property
    def weight_bytes(self) -> int:
        """Of the transformed weights."""
        return self.bytes[0] * self.points * self.channels // self.groups * self.columns

    @property
    def bytes(self) -> tuple[int, int]:
        """Of an element of what is transformed, and of a sum."""
        return dtype_bits(self.operand) // 8, dtype_bits(self.accumulator) // 8


@dataclass(frozen=True)
class WinogradChoice(Choice):
    """How a convolution is computed.

    Attributes:
        outputs: m, pixels of a tile along an axis that has a filter.
        rows, vectors, k_step: of a register tile of the contractions.
        row_tiles: of a block of tiles.
        column_tasks: that a block's output channels are shared out to when there are fewer blocks than cores.
        threads: that share the blocks at most.
        unit: by its name, that multiplies integers; none: multiply-adds.
    """

    outputs: int
    rows: int
    vectors: int
    row_tiles: int = 1
    column_tasks: int = 1
    threads: int = 1
    k_step: int = 1
    unit: str = ""

    @property
    def block(self) -> int:
        """Tiles of pixels in a block."""
        return self.rows * self.row_tiles

    @property
    def tile(self) -> MultiplyAddChoice | DotProductChoice:
        """That of the contractions, which a unit has for one axis of k."""
        rows, vectors, row_tiles = self.rows, self.vectors, self.row_tiles
        if self.unit:
            return DotProductChoice(
                unit=self.unit, k=(), rows=1, row_registers=rows, vectors=vectors, row_tiles=row_tiles
            )
        return MultiplyAddChoice(rows=rows, vectors=vectors, row_tiles=row_tiles, k_step=self.k_step)

    def tile_for(self, workload: Workload) -> MultiplyAddChoice | DotProductChoice:
        """The tile with the extent of k of the contractions."""
        return replace(self.tile, k=workload.k) if self.unit else self.tile


def vector_lanes(channels: int, lanes: int) -> int:
    """Of the vectors that channels are transformed in, where registers have `lanes`: whole ones, or parts of them."""
    return math.gcd(channels, lanes)


def tiling_of(workload: Workload, outputs: int) -> Tiling:
    """How a convolution that `takes` takes is cut."""
    assert workload.filter is not None
    height, width = image_of(workload.filter.output)
    rows, columns = (transform(outputs if taps > 1 else 1, taps) for taps in image_of(workload.filter.kernel))
    dilation = image_of(workload.filter.dilation)
    dtypes = ("float32", "float32") if workload.accumulator == "float32" else (TRANSFORMED, SUMS)
    extents = (workload.filter.images, height, width, workload.batch * workload.k[-1])
    columns_of_all = workload.batch * workload.columns
    return Tiling((rows, columns), dilation, *extents, columns_of_all, workload.batch, *dtypes)


def tiles_along(extent: int, outputs: int, dilation: int) -> int:
    """Tiles along one axis: as many for each of the images that are every d-th pixel."""
    return dilation * math.ceil(extent / (outputs * dilation))


def pixel_at(tile: Any, place: Any, outputs: int, dilation: int) -> Any:
    """The pixel, along one axis, at a place in a tile."""
    return (tile // dilation * outputs + place) * dilation + tile % dilation


def tile_at(pixel: Any, outputs: int, dilation: int) -> tuple[Any, Any]:
    """The tile that a pixel is of, and its place there: the inverse of `pixel_at`."""
    return pixel // (outputs * dilation) * dilation + pixel % dilation, pixel // dilation % outputs


def image_of(extents: tuple[int, ...]) -> tuple[int, int]:
    """What a line or an image has along its axes, as rows and columns."""
    height, width = (1, *extents)[-2:]
    return height, width
