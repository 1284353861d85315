"""The architectures of NVIDIA's GPUs that code is generated for: a row each, with the numbers of a usual part."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..grid import Grid

_MMA_75 = ("mma fp16", "mma int8")
_MMA_80 = (*_MMA_75, "mma bf16", "mma tf32")
_MMA_89 = (*_MMA_80, "mma fp8")
_WGMMA = ("wgmma fp16", "wgmma int8", "wgmma bf16")


@dataclass(frozen=True)
class GpuArchitecture:
    """A row.

    Attributes:
        name: nvcc's.
        part: the GPU whose numbers these are.
        grid: the numbers.
        runs_later: whether code for it, as nvcc's assembly, runs on all that came after it.
    """

    name: str
    part: str
    grid: Grid
    runs_later: bool = True


def _row(
    name: str,
    part: str,
    multiprocessors: int,
    fmas_per_cycle: int,
    threads: int,
    most_shared_kib: int,
    bytes_per_cycle: float,
    tensor_instructions: tuple[str, ...],
    mma_per_cycle: float,
    *,
    has_async_copies: bool = True,
    has_tile_copies: bool = False,
    runs_later: bool = True,
) -> GpuArchitecture:
    grid = Grid(
        multiprocessors=multiprocessors,
        fmas_per_cycle=fmas_per_cycle,
        threads=threads,
        threads_per_block=1024,
        warp=32,
        registers=1 << 16,
        shared_bytes=48 << 10,
        most_shared_bytes=most_shared_kib << 10,
        bytes_per_cycle=bytes_per_cycle,
        has_async_copies=has_async_copies,
        has_tile_copies=has_tile_copies,
        tensor_instructions=tensor_instructions,
        tensor_per_cycle=mma_per_cycle,
        architectures=(name,),
    )
    return GpuArchitecture(name, part, grid, runs_later)


# Of NVIDIA's data sheets and its programming guide's table of compute capabilities. mma of 16 rows, 8 columns and 32
# bytes a cycle: what peaks say of dense products; on the H100 what mma.sync reaches of them.
ARCHITECTURES = (
    _row("sm_75", "T4", 40, 64, 1024, 64, 200.0, _MMA_75, 0.25, has_async_copies=False),
    _row("sm_80", "A100", 108, 64, 2048, 163, 1100.0, _MMA_80, 0.5),
    _row("sm_86", "A10", 72, 128, 1536, 99, 350.0, _MMA_80, 0.25),
    _row("sm_89", "L4", 58, 128, 1536, 99, 150.0, _MMA_89, 0.25),
    _row("sm_90", "H100", 132, 128, 2048, 227, 1900.0, _MMA_89, 0.6),
    _row(
        "sm_90a",
        "H100",
        132,
        128,
        2048,
        227,
        1900.0,
        (*_MMA_89, *_WGMMA),
        0.6,
        has_tile_copies=True,
        runs_later=False,
    ),
)


def architecture_named(name: str) -> GpuArchitecture | None:
    """The row of a name; None: there is none."""
    return next((row for row in ARCHITECTURES if row.name == name), None)


def architecture_of_gpu(name: str) -> GpuArchitecture | None:
    """The row of the newest code that a GPU of an architecture runs, its very own first; None: there is none."""
    own = architecture_named(f"{name}a") or architecture_named(name)
    older = [row for row in ARCHITECTURES if row.runs_later and _number(row.name) <= _number(name)]
    return own or max(older, key=lambda row: _number(row.name), default=None)


def _number(name: str) -> int:
    return int("".join(filter(str.isdigit, name)))


def joined(rows: tuple[GpuArchitecture, ...]) -> Grid:
    """What code that runs on each of several may use, planned for the first of them."""
    first, grids = rows[0].grid, [row.grid for row in rows]
    return replace(
        first,
        threads=min(each.threads for each in grids),
        most_shared_bytes=min(each.most_shared_bytes for each in grids),
        has_async_copies=all(each.has_async_copies for each in grids),
        has_tile_copies=all(each.has_tile_copies for each in grids),
        tensor_instructions=tuple(
            name for name in first.tensor_instructions if all(name in each.tensor_instructions for each in grids)
        ),
        architectures=tuple(row.name for row in rows),
    )
