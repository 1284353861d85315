"""Tiles cut into tasks: every number of blocks, slices of k, and real layers that keep 4 to 64 cores evenly busy."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tilewright import targets
from tilewright.schedules.templates import contraction, contraction_choice, winograd
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.cutting import blockings, slices
from tilewright.schedules.templates.sharing import thread_counts
from tilewright.schedules.templates.taps import Filter
from tilewright.schedules.templates.winograd_choice import tiling_of
from tilewright.targets import Target

# The slowest core against the mean: its tiles, of all that have sums in them.
MOST = 1.15
COLD = "where weights take as long as products, the narrower panel comes sooner"


def machine(cores: int, cpu: str = "x86-64-v4") -> Target:
    return targets.parse("x86_64-linux-gnu", cpu=cpu, cores=cores)


def conv(size: int, channels: int, columns: int, kernel: int = 1, stride: int = 1) -> Workload:
    """A convolution of a square image whose output has so many pixels a side."""
    filter = Filter(1, (size, size), (kernel,) * 2, (stride,) * 2, (1, 1), is_constant=True)
    line = size if kernel > 1 else 0
    return Workload(1, size * size, columns, (kernel, kernel, channels), image_line=line, filter=filter)


def dense(rows: int, depth: int, columns: int) -> Workload:
    return Workload(1, rows, columns, (depth,))


# Every contraction of more than 2% of a model's operations; 3x3 ones of stride 1 are Winograd convolutions, too.
LAYERS = {
    "resnet50": [
        *(conv(56, 64, 64, 3), conv(28, 128, 128, 3), conv(14, 256, 256, 3), conv(7, 512, 512, 3)),
        *(conv(28, 128, 128, 3, 2), conv(14, 256, 256, 3, 2), conv(7, 512, 512, 3, 2), conv(112, 3, 64, 7, 2)),
        *(conv(14, 256, 1024), conv(14, 1024, 256), conv(56, 64, 256), conv(28, 128, 512), conv(28, 512, 128)),
        *(conv(7, 512, 2048), conv(56, 256, 64), conv(56, 256, 128), conv(28, 256, 512, 1, 2), conv(28, 512, 256)),
        *(conv(14, 512, 1024, 1, 2), conv(14, 1024, 512), conv(7, 1024, 2048, 1, 2), conv(7, 2048, 512)),
    ],
    "mobilenet_v2": [
        *(conv(14, 96, 576), conv(7, 160, 960), conv(56, 24, 144), conv(14, 576, 96), conv(7, 320, 1280)),
        *(conv(112, 16, 96), conv(14, 64, 384), conv(7, 960, 160), conv(7, 960, 320), conv(28, 32, 192)),
        *(conv(14, 384, 64), conv(112, 3, 32, 3, 2), conv(56, 144, 24), conv(28, 192, 32), conv(56, 96, 24)),
        *(conv(14, 384, 96), conv(112, 32, 16)),
    ],
    "bert_base": [dense(128, 768, 768), dense(128, 768, 3072), dense(128, 3072, 768)],
    "efficientnet_b0": [
        *(conv(14, 112, 672), conv(7, 192, 1152), conv(7, 1152, 192), conv(14, 672, 112), conv(14, 80, 480)),
        *(conv(112, 16, 96), conv(56, 24, 144), conv(7, 320, 1280), conv(7, 1152, 320), conv(28, 40, 240)),
        *(conv(14, 480, 80), conv(112, 3, 32, 3, 2), conv(56, 144, 24), conv(14, 480, 112), conv(28, 240, 40)),
        *(conv(56, 96, 24), conv(7, 672, 192)),
    ],
}
WORKLOADS = {f"{model}-{work.rows}x{work.columns}x{work.k}": work for model, each in LAYERS.items() for work in each}
UNEVEN = {
    "efficientnet_b0-49x192x(1, 1, 1152)": COLD,
    "efficientnet_b0-49x192x(1, 1, 672)": COLD,
}


def imbalance(workload: Workload, choice: contraction.MultiplyAddChoice, target: Target, cores: int) -> float:
    """The tiles of the slowest core, as they are cut, against those of a core of so many if it were even."""
    tiles = contraction_choice.tiles_of(workload, choice, target)
    tasks = tiles.batch * math.ceil(tiles.rows / choice.row_tiles) * tiles.panels
    return math.ceil(tasks / min(choice.threads, tasks)) * choice.row_tiles * cores / tiles.count


@pytest.mark.parametrize("cores", [4, 8, 16])
@pytest.mark.parametrize("name", WORKLOADS)
def test_real_layers_keep_cores_evenly_busy(name: str, cores: int) -> None:
    target = machine(cores)
    choice = contraction_choice.default(WORKLOADS[name], target)

    assert choice.threads == cores
    assert (imbalance(WORKLOADS[name], choice, target, cores) <= MOST) == (cores < 16 or name not in UNEVEN), choice


@pytest.mark.sweep(4)
@pytest.mark.parametrize("name", WORKLOADS)
def test_real_layers_use_as_many_of_64_cores_as_pay(name: str) -> None:
    """Half of the machine is left alone where a hand-off to all of it costs more than it brings."""
    target = machine(64)
    choice = contraction_choice.default(WORKLOADS[name], target)

    assert imbalance(WORKLOADS[name], choice, target, choice.threads) <= 2
    fewer = contraction_choice.default(WORKLOADS[name], machine(16))
    assert contraction_choice.estimate(WORKLOADS[name], choice, target) <= contraction_choice.estimate(
        WORKLOADS[name], fewer, target
    )


@pytest.mark.parametrize("cores", [4, 16])
@pytest.mark.parametrize("size", [56, 28, 14, 7])
def test_winograd_keeps_cores_evenly_busy(size: int, cores: int) -> None:
    channels = 64 * 56 // size
    workload, target = conv(size, channels, channels, 3), machine(cores)
    choice = winograd.default(workload, target)
    tiling = tiling_of(workload, choice.outputs)
    blocks = math.ceil(tiling.count / choice.block)
    tasks = blocks * choice.column_tasks

    assert choice.threads == cores <= tasks
    # 49 tiles of 28x28 pixels are made 64, or panels would be one register wide.
    slowest = math.ceil(tasks / cores) * cores / tasks * blocks * choice.block / tiling.count
    assert slowest <= (1.31 if (size, cores) == (28, 16) else MOST), choice


def test_little_work_is_shared_by_few() -> None:
    target = machine(16)
    threads = [contraction_choice.default(conv(size, 32, 32), target).threads for size in (1, 4, 14, 28, 112)]

    assert threads == sorted(threads) and threads[0] == 1 and threads[-2] > 1 and threads[-1] == 16


def test_k_is_sliced_where_rows_and_columns_are_few() -> None:
    target = machine(16)

    assert contraction_choice.default(dense(8, 8192, 64), target).k_splits > 1
    assert contraction_choice.default(dense(1024, 8192, 1024), target).k_splits == 1
    assert contraction_choice.default(dense(8, 8192, 64), target.with_cores(1)).k_splits == 1


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    rows=st.integers(1, 60),
    columns=st.integers(1, 200),
    channels=st.integers(1, 80),
    cores=st.sampled_from([1, 2, 3, 16]),
)
def test_the_default_is_the_best_of_the_space(rows: int, columns: int, channels: int, cores: int) -> None:
    workload, target = Workload(1, rows, columns, (3, channels)), machine(cores, "x86-64-v3")
    choice = contraction_choice.default(workload, target)
    least = min(
        contraction_choice.estimate(workload, each, target) for each in contraction_choice.space(workload, target)
    )

    assert contraction_choice.estimate(workload, choice, target) <= least * (1 + 1e-9)


def test_an_estimate_is_of_the_whole_choice() -> None:
    """Threads, blocks and slices that help make it smaller, those that do not make it larger."""
    workload, target = conv(14, 512, 64), machine(8)
    whole = contraction.MultiplyAddChoice(rows=6, vectors=4, row_tiles=33)
    cut = replace(whole, row_tiles=5, threads=8)

    def cycles(choice: contraction.MultiplyAddChoice) -> float:
        return contraction_choice.estimate(workload, choice, target)

    assert cycles(replace(whole, threads=8)) == cycles(whole)  # there is one task
    assert cycles(cut) < cycles(replace(cut, threads=4)) < cycles(replace(cut, threads=1))
    assert cycles(replace(cut, row_tiles=8)) > cycles(cut)  # five tasks
    assert cycles(replace(whole, k_splits=8, threads=8)) < cycles(whole)
    assert cycles(replace(whole, k_splits=8)) > cycles(whole)


@given(count=st.integers(1, 300))
def test_blocks_are_of_every_number_of_tiles_that_makes_a_difference(count: int) -> None:
    sizes = list(blockings(count))
    numbers = {math.ceil(count / size) for size in range(1, count + 1)}
    assert [math.ceil(count / size) for size in sizes] == sorted(numbers)


@given(run=st.integers(1, 3000), outer=st.integers(1, 9), cores=st.integers(1, 20))
def test_slices_are_whole_not_short_and_no_more_than_cores(run: int, outer: int, cores: int) -> None:
    counts = list(slices(run, run * outer, machine(cores)))
    assert counts[0] == 1 and counts == sorted(set(counts)) and counts[-1] <= cores
    assert all(run % count == 0 and (count == 1 or run * outer // count >= 16) for count in counts)


@given(cores=st.integers(1, 100))
def test_threads_are_all_cores_at_most(cores: int) -> None:
    counts = list(thread_counts(machine(cores)))
    assert counts[0] == 1 and counts[-1] == cores and counts == sorted(set(counts))
