"""From ``nvptx64-nvidia-cuda`` and names of GPU architectures to a `Target`."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import DeviceError, UnsupportedTargetError
from ..core import Core
from ..host import read_host
from ..systems import LINUX, Triple
from ..target import FLOAT32_BITS, Target
from .architectures import ARCHITECTURES, GpuArchitecture, architecture_named, architecture_of_gpu, joined
from .copies import copies_of
from .driver import driver
from .lanes import LANE_FUNCTIONS
from .tensor_units import units_of
from .tile_copies import tile_copies

TRIPLE = "nvptx64-nvidia-cuda"
_FAMILY = "nvptx64"
_SPELLINGS = (TRIPLE, "nvptx64-cuda", "cuda")
NATIVE = "native"  # the architecture of this machine's GPU

# What one thread's instructions cost it; schedules of grids count with `Grid`.
_THREAD = Core(
    loads_per_cycle=1.0,
    fmas_per_cycle=1.0,
    fma_latency=4.0,
    l2_vectors_per_cycle=0.5,
    l3_bytes_per_cycle=4.0,
    dram_bytes_per_cycle=2.0,
    prefetched_bytes_per_cycle=2.0,
    l3_shared_bytes_per_cycle=4.0,
    dram_shared_bytes_per_cycle=2.0,
    step_overhead=1.0,
    tile_overhead=4.0,
    data_transform=3.0,
    result_transform=2.5,
    line_apart=0.0,
    hand_off=0.0,
    instructions_in_flight=1,
    line_bytes=128,
    l1_way_bytes=1 << 20,
    addressed_rows=8,
)
_REGISTERS = 64  # of one thread, that sums may stand in
_L2_BYTES = 4 << 20
_ALIGNMENT = 256


def is_cuda(triple: str) -> bool:
    """Whether a triple names NVIDIA's GPUs."""
    return triple in _SPELLINGS


def is_gpu(name: str) -> bool:
    """Whether it is what `--mcpu` calls a GPU."""
    return name in {row.name for row in ARCHITECTURES}


def parse_cuda(triple: str, cpu: str | None, features: Sequence[str]) -> Target:
    """Makes a target of GPU architectures, several with commas between them; ``native`` is this machine's.

    Raises:
        UnsupportedTargetError: there is no such architecture, no GPU here, or features are asked for.
    """
    if features:
        raise UnsupportedTargetError(
            "features of GPUs are those of their architecture", where="--features", hint="name one by --mcpu"
        )
    rows = tuple(_architecture(name) for name in dict.fromkeys((cpu or ARCHITECTURES[0].name).split(",")))
    grid = joined(rows)
    return Target(
        triple=TRIPLE,
        arch=_FAMILY,
        cpu=",".join(grid.architectures),
        features=(),
        isa="CUDA",
        vector_bits=FLOAT32_BITS,
        num_vector_registers=_REGISTERS,
        has_fma=True,
        broadcasts_operands=False,
        core=_THREAD,
        cores=1,
        l1_bytes=grid.most_shared_bytes,
        l2_bytes=_L2_BYTES,
        l3_bytes=_L2_BYTES,
        code_generator="cuda",
        alignment=_ALIGNMENT,
        grid=grid,
        units=units_of(grid.tensor_instructions, grid.tensor_per_cycle, rounding=False),
        rounding_units=units_of(grid.tensor_instructions, grid.tensor_per_cycle, rounding=True),
        functions=(
            *copies_of(asynchronous=grid.has_async_copies),
            *(tile_copies() if grid.has_tile_copies else ()),
            *LANE_FUNCTIONS,
        ),
        device="cuda",
        host=_host(),
    )


def _architecture(name: str) -> GpuArchitecture:
    row = _native() if name.strip() == NATIVE else architecture_named(name.strip())
    if row is None:
        known = ", ".join(each.name for each in ARCHITECTURES)
        raise UnsupportedTargetError(
            f"unknown GPU architecture {name!r}",
            where="--mcpu",
            hint=f"one or several of {known}, with commas, or {NATIVE} where a GPU is",
        )
    return row


def _native() -> GpuArchitecture | None:
    try:
        return architecture_of_gpu(driver().architecture())
    except DeviceError as error:
        raise UnsupportedTargetError(
            "there is no GPU here to compile for", where=f"--mcpu {NATIVE}", details=[str(error)]
        ) from error


def _host() -> str:
    """The triple of the machine that calls: this one."""
    facts = read_host()
    if facts.architecture is None:
        raise UnsupportedTargetError(
            f"this machine is {facts.machine}, for which no library can be made", where=f"--target {TRIPLE}"
        )
    return str(Triple(facts.architecture.name, LINUX, f"gnu{facts.architecture.abi}"))
