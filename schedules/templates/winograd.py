"""Winograd's minimal filtering: convolutions of stride 1 with fewer multiplications.

F(m, r) computes m outputs of an r-tap filter from t = m + r - 1 inputs with t products instead of m * r:

    y = A^T [(G g) * (B^T d)]

nested over the spatial axes that have a filter. The products of a tile are summed over input channels, so the whole
convolution becomes t * t independent contractions of (tiles x input channels) by (input channels x output channels), of
each group of them, with the transformed weights packed at compile time. For filters of 3x3 and m = 4 it multiplies 4
times less, for m = 2 2.25 times less, and reads t * t / 9 as many weights; for 1x7 and m = 2 1.75 times less. The loop
nest:

    parallel (block of tiles)
        for tile, channels: V = B^T d B             B^T and A^T are unrolled sums; V and M stay in the L2 cache
        for t * t, groups: M = V * U                the register-tiled contraction
        for tile, channels: epilogue(A^T M A)

Integers of 8 bits are exact in it, too, with m = 2: V has at most 11 bits and a sign, and so has U of weights that are
multiplied with 4, which leaves no fractions. Where units make int16 of 8-bit operands, pairs of int16 are multiplied as
fast. Sums of int32 may wrap on the way, as the result, 4 times that of the convolution, does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tvm import te, tirx

from ...annotations import DILATION, STAGE
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir import prefetch
from ..tensorir.expressions import converted, dtype_bits, int64, int64s
from . import contraction, contraction_choice, dot_product
from .choices import Space
from .contraction import Workload
from .dot_product_choice import DotProductChoice
from .sharing import elapsed, thread_counts
from .winograd_choice import SUMS, TRANSFORMED, Tiling, WinogradChoice, pixel_at, tile_at, tiling_of, vector_lanes
from .winograd_transform import INTEGER_OUTPUTS, INTEGER_SHIFT, INTEGER_TAPS, combine, outputs_for

if TYPE_CHECKING:
    from typing import TypeGuard

TEMPLATE, OF_INTEGERS = "winograd", "integer_winograd"
# The blocks, in order: the input's transform, the sums, the output's transform, the pixels; and what consumers join.
STAGES = ("data_rows", "data_columns", "products", "result_rows", "result_columns", "pixels")
RESULT = "convolution"

_L2_SHARE = 0.8
_MAX_ROW_TILES = 16
_LEAST_BITS = 128  # of the vectors that channels are transformed in, or whole registers
_LARGEST_PRODUCT = 255 * 128  # of 8-bit integers, of either dtype


def takes(workload: object, target: Target) -> bool:
    """Convolutions of stride 1 in float32, of few taps, constant weights and channels that make vectors."""
    return _suits(workload, target, "float32") and workload.lhs == "float32"


def takes_integers(workload: object, target: Target) -> bool:
    """3x3 ones of 8-bit integers whose sums have two bits to spare, where a unit multiplies pairs of int16."""
    if not _suits(workload, target, TRANSFORMED) or workload.lhs not in ("uint8", "int8"):
        return False
    if workload.filter is None or workload.filter.kernel != INTEGER_TAPS:
        return False
    largest = (workload.k[-1] * math.prod(INTEGER_TAPS) * _LARGEST_PRODUCT) << INTEGER_SHIFT
    units = target.units_for(TRANSFORMED, TRANSFORMED, SUMS)
    return (workload.rhs, workload.accumulator) == ("int8", SUMS) and largest < 1 << 31 and bool(units)


def _suits(workload: object, target: Target, transformed: str) -> TypeGuard[Workload]:
    if not isinstance(workload, Workload) or workload.filter is None or not workload.filter.is_constant:
        return False
    if target.saves_memory:  # transformed weights are larger, and so is what is transformed at a time
        return False
    filter = workload.filter
    if len(filter.kernel) > 2 or {*filter.strides} != {1} or not outputs_for(filter.kernel):
        return False

    def in_vectors(channels: int, dtype: str) -> bool:
        bits = dtype_bits(dtype)
        lanes = target.lanes(bits)
        return vector_lanes(workload.batch * channels, lanes) >= min(lanes, _LEAST_BITS // bits)

    return in_vectors(workload.k[-1], transformed) and in_vectors(workload.columns, workload.accumulator)


def space(workload: Workload, target: Target) -> Space[WinogradChoice]:
    """All choices."""

    def starts() -> Iterator[WinogradChoice]:
        assert workload.filter is not None
        for outputs in outputs_for(workload.filter.kernel) if workload.accumulator == "float32" else INTEGER_OUTPUTS:
            tiling = tiling_of(workload, outputs)
            product = tiling.contraction(tiling.count)
            if workload.accumulator == "float32":
                for tile in contraction_choice.register_tiles(product, target):
                    yield WinogradChoice(outputs, tile.rows, tile.vectors, k_step=tile.k_step)
            for unit in target.units_for(product.lhs, product.rhs, product.accumulator):
                for dot in dot_product.tiles(product, unit, target):
                    yield WinogradChoice(outputs, dot.row_registers, dot.vectors, unit=unit.name)

    def sizes(choice: WinogradChoice) -> list[int]:
        # The same number of blocks with fewer tiles in each is always better.
        tiles = math.ceil(tiling_of(workload, choice.outputs).count / choice.rows)
        return sorted({math.ceil(tiles / math.ceil(tiles / size)) for size in range(1, _MAX_ROW_TILES + 1)})

    fields = (
        ("row_tiles", sizes),
        ("column_tasks", lambda choice: _column_tasks(tiling_of(workload, choice.outputs), choice, target)),
        ("threads", lambda choice: thread_counts(target)),
    )
    return Space(starts, fields)


def _column_tasks(tiling: Tiling, choice: WinogradChoice, target: Target) -> list[int]:
    # A task has whole groups, or panels of the only one, and whole vectors of them.
    lanes, own = target.lanes(), tiling.columns // tiling.groups
    part = own if tiling.groups > 1 else choice.vectors * lanes
    parts, rest = divmod(tiling.columns, math.lcm(part, vector_lanes(tiling.columns, lanes)))
    most = 1 if rest else math.ceil(target.cores / _blocks(tiling, choice))
    return [tasks for tasks in range(1, most + 1) if parts % tasks == 0 or tasks == 1]


def _blocks(tiling: Tiling, choice: WinogradChoice) -> int:
    return math.ceil(tiling.count / choice.block)


def default(workload: Workload, target: Target) -> WinogradChoice:
    """The choice the machine's numbers give: the fewest estimated cycles."""
    whole = space(workload, target)

    def least(start: WinogradChoice) -> float:
        """Cycles that the contractions of a tile take at least."""
        tiling = tiling_of(workload, start.outputs)
        return _product_cycles(tiling.contraction(tiling.count), start, target) / target.cores

    chosen, fewest = None, math.inf
    for start in sorted(whole.starts(), key=least):
        if least(start) >= fewest:
            break
        cut: Space[WinogradChoice] = Space(partial(iter, [start]), whole.fields)
        for choice in cut:
            cycles = estimate(workload, choice, target)
            if cycles < fewest:
                chosen, fewest = choice, cycles
    assert chosen is not None
    return chosen


def estimate(workload: Workload, choice: WinogradChoice, target: Target) -> float:
    """Estimated cycles until the last core is done."""
    tiling = tiling_of(workload, choice.outputs)
    tasks = _blocks(tiling, choice) * choice.column_tasks
    data, sums, again = _cycles_of_tasks(tiling, choice, target)
    used = min(choice.threads, tasks)
    turns = math.ceil(tasks / used)
    panels = min(turns, choice.column_tasks)  # shares of the weights that a core reads
    core, weights = target.core, tiling.weight_bytes
    # Steps that are written out ask for several lines at a time, however few tiles read a panel.
    fewest = prefetch.fewest_tiles(choice.vectors * target.lanes(), core.line_bytes)
    early = choice.k_step > 1 or choice.row_tiles >= fewest
    dram = core.prefetched_bytes_per_cycle if early else core.dram_bytes_per_cycle
    first = max(panels / choice.column_tasks * weights / dram, weights / core.dram_shared_bytes_per_cycle)
    before = 0.0
    if choice.column_tasks > 1:  # all data is transformed before
        before = elapsed(data * _blocks(tiling, choice), tiling.count, choice.threads, target)
    return before + elapsed(sums * tasks, tasks, choice.threads, target) + (turns - panels) * again + first


def _cycles_of_tasks(tiling: Tiling, choice: WinogradChoice, target: Target) -> tuple[float, float, float]:
    """Of one core: for a block's data, for a task, and for reading a task's weights once more."""
    block, tasks, core = choice.block, choice.column_tasks, target.core
    workload = tiling.contraction(block)
    (size, sum_size), lanes = tiling.bytes, workload.lanes(target)
    filtered = sum(axis.taps > 1 for axis in tiling.axes) / 2  # what the core's numbers are of has two such axes
    data = block * tiling.points * filtered * core.data_transform * tiling.channels
    data /= vector_lanes(tiling.channels, target.lanes(8 * size))
    sums = _product_cycles(workload, choice, target)
    result = block * tiling.points * filtered * core.result_transform * tiling.columns
    sums += result / vector_lanes(tiling.columns, lanes)
    moved = tiling.points * block * (size * tiling.channels + sum_size * tiling.columns / tasks)
    spilled = moved / core.l3_bytes_per_cycle if moved > target.l2_bytes * _L2_SHARE else 0.0
    weights = tiling.weight_bytes / tasks
    again = 0.0
    if weights > target.l2_bytes / 2:
        again = weights / (core.l3_bytes_per_cycle if weights < target.l3_bytes / 2 else core.dram_bytes_per_cycle)
    return data, sums / tasks + spilled + (data if tasks == 1 else 0.0), again


def _product_cycles(workload: Workload, choice: WinogradChoice, target: Target) -> float:
    """Of one core for the contractions, operands in its caches."""
    tile = choice.tile_for(workload)
    if isinstance(tile, DotProductChoice):
        return dot_product.cycles(workload, tile, target.unit(tile.unit), target)
    return contraction_choice.cycles(workload, tile, target)


def compute(
    convolution: Workload, choice: WinogradChoice, target: Target, padded: te.Tensor, packed: te.Tensor
) -> te.Tensor:
    """The convolution, (images, height, width, columns).

    Args:
        padded: the data (images, *at least what tiles reach, channels); a line has one axis less.
        packed: `transformed_weights`, packed for `tiling.contraction`.
    """
    tiling = tiling_of(convolution, choice.outputs)
    down, across = tiling.axes
    _, rows, columns = tiling.tiles
    is_line = len(padded.shape) == 3
    count = tiling.count
    block = choice.block
    all_tiles = math.ceil(count / block) * block

    def data_rows(tile: Any, i: Any, x: Any, channel: Any) -> Scalar:
        at = tile if all_tiles == count else tirx.min(tile, int64(count - 1))
        image, row, column = at // (rows * columns), at // columns % rows, at % columns

        def element(y: int) -> Scalar:
            places = zip((row, column), (y, x), tiling.axes, tiling.dilation, strict=True)
            at = [pixel_at(tile, place, axis.outputs, apart) for tile, place, axis, apart in places]
            return converted(padded[(image, *at[is_line:], channel)], tiling.operand)

        return combine(down.data, i, element)

    half = _stage((all_tiles, down.inputs, across.inputs, tiling.channels), data_rows, "data_rows")

    def data_columns(i: Any, j: Any, tile: Any, channel: Any) -> Scalar:
        return combine(across.data, j, lambda x: half[tile, i, x, channel])

    data = _stage((down.inputs, across.inputs, all_tiles, tiling.channels), data_columns, "data_columns")
    sums = _products(tiling, choice, target, all_tiles, data, packed)
    # Channels of all groups lie next to each other, for vectors that reach from one into the next.
    own = tiling.columns // tiling.groups

    def product(point: Any, tile: Any, group: Any, column: Any) -> Scalar:
        return sums[point * tiling.groups + group, tile, column]

    products = _stage((tiling.points, all_tiles, tiling.groups, own), product, "products")

    def result_rows(tile: Any, i: Any, x: Any, channel: Any) -> Scalar:
        at = (tile, channel // own, channel % own)
        return combine(down.results, i, lambda y: products[(y * across.inputs + x, *at)])

    half_result = _stage((all_tiles, down.outputs, across.inputs, tiling.columns), result_rows, "result_rows")

    def result_columns(tile: Any, i: Any, j: Any, channel: Any) -> Scalar:
        result = combine(across.results, j, lambda x: half_result[tile, i, x, channel])
        return result if tiling.accumulator == "float32" else result >> tirx.const(INTEGER_SHIFT, SUMS)

    result = _stage((all_tiles, down.outputs, across.outputs, tiling.columns), result_columns, "result_columns")
    shape = (tiling.images, tiling.height, tiling.width, tiling.columns)

    def pixel(image: Any, y: Any, x: Any, channel: Any) -> Scalar:
        row, i = tile_at(y, down.outputs, tiling.dilation[0])
        column, j = tile_at(x, across.outputs, tiling.dilation[1])
        return result[(image * rows + row) * columns + column, i, j, channel]

    pixels = _stage(shape, pixel, "pixels", DILATION.entry(int64s(tiling.dilation)))

    def written(image: Any, *index: Any) -> Scalar:
        return pixels[(image, *([0] if is_line else []), *index)]

    return te.compute(int64s((shape[0], *shape[1 + is_line :])), written, name=RESULT)


def _products(
    tiling: Tiling, choice: WinogradChoice, target: Target, tiles: int, data: te.Tensor, packed: te.Tensor
) -> te.Tensor:
    """The contractions of so many tiles, from what they are transformed to."""
    workload, t = tiling.contraction(tiles), tiling.axes[1].inputs
    tile, (own,) = choice.tile_for(workload), workload.k

    def element(product: Any, tile: Any, channel: Any) -> Scalar:
        point, group = product // tiling.groups, product % tiling.groups
        return data[point // t, point % t, tile, group * own + channel]

    if isinstance(tile, DotProductChoice):
        unit = target.unit(tile.unit)
        return dot_product.compute(workload, tile, unit, element, packed, template=OF_INTEGERS, flops=tiling.flops)
    return contraction.compute(
        workload, tile, target, element, lambda *index: packed[index], template=TEMPLATE, flops=tiling.flops
    )


def _stage(shape: Sequence[int], element: Any, name: str, marks: Mapping[str, Any] = MappingProxyType({})) -> te.Tensor:
    return te.compute(int64s(shape), element, name=name, attrs={**STAGE.entry(name), **marks})
