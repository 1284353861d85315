"""The Cortex-M processors that C sources are made for: a row each."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..core import Core
from ..target import CVectors, DotUnit, TargetFunction
from .helium_vectors import VECTORS
from .requantize import IN_INTEGERS, IN_VECTORS, QUOTIENTS_IN_INTEGERS, WITH_FLOATS
from .units import DSP, HELIUM, THUMB

# Instructions one after the other: what counts is how many there are. Memory is on the chip, without caches. A step of
# a loop counts, compares, branches and moves its pointers.
_SINGLE_ISSUE = Core(
    loads_per_cycle=1.0,
    fmas_per_cycle=1.0,
    fma_latency=1.0,
    l2_vectors_per_cycle=1.0,
    l3_bytes_per_cycle=4.0,
    dram_bytes_per_cycle=4.0,
    prefetched_bytes_per_cycle=4.0,
    l3_shared_bytes_per_cycle=4.0,
    dram_shared_bytes_per_cycle=4.0,
    step_overhead=4.0,
    tile_overhead=4.0,
    data_transform=3.0,
    result_transform=2.5,
    line_apart=0.0,
    hand_off=0.0,
    instructions_in_flight=1,
    line_bytes=32,
    l1_way_bytes=1 << 20,
    addressed_rows=5,
    single_issue=True,
)
# A float is added or multiplied by a function of some forty instructions, and loads hardly count.
_SOFT_FLOATS = replace(_SINGLE_ISSUE, fmas_per_cycle=1 / 80)
# Cortex-M0+ multiplies into one of the operands, so that the other product of it needs a copy first.
_THUMB = replace(_SINGLE_ISSUE, fmas_per_cycle=0.4, addressed_rows=3)


@dataclass(frozen=True)
class Processor:
    """A Cortex-M processor.

    Attributes:
        name: LLVM's and GCC's name.
        architecture: the first part of its triple.
        has_floats: whether it computes float32 itself, in 32 registers.
        core: what instructions cost.
        memory_bytes: what such chips have for tensors; schedules that ask how large a cache is hear of it, too.
        units: for products of integers.
        vectors: in eight registers of their own.
    """

    name: str
    architecture: str
    has_floats: bool
    core: Core
    memory_bytes: int
    units: tuple[DotUnit, ...] = ()
    vectors: CVectors | None = None

    @property
    def functions(self) -> tuple[TargetFunction, ...]:
        """What its code computes in its own way."""
        vectors = () if self.vectors is None else (IN_VECTORS,)
        return (WITH_FLOATS, *vectors) if self.has_floats else (IN_INTEGERS, QUOTIENTS_IN_INTEGERS)

    @property
    def registers(self) -> int:
        """For sums and operands."""
        return 8 if self.vectors is not None or not self.has_floats else 32

    @property
    def integer_registers(self) -> int:
        """For sums and operands, beside pointers and counts."""
        return 6 if self.architecture == "thumbv6m" else 12

    @property
    def integer_core(self) -> Core:
        """What integers cost."""
        return _THUMB if self.architecture == "thumbv6m" else _SINGLE_ISSUE

    @property
    def isa(self) -> str:
        """For people."""
        if self.vectors is not None:
            return "Helium"
        return "FPv4 or later, single precision" if self.has_floats else "no FPU"

    @property
    def environment(self) -> str:
        """The last part of its triple: how floats are passed."""
        return "eabihf" if self.has_floats else "eabi"

    @property
    def c_flags(self) -> tuple[str, ...]:
        """What a compiler of C has to be told."""
        cpu = f"{self.name}+nofp" if self.without_its_floats else self.name
        return (f"-mcpu={cpu}", "-mthumb", f"-mfloat-abi={'hard' if self.has_floats else 'soft'}")

    @property
    def without_its_floats(self) -> bool:
        """Whether it has a unit for floats that code must not use."""
        return not self.has_floats and any(row.name == self.name and row.has_floats for row in PROCESSORS)

    @property
    def triple(self) -> str:
        """The full one."""
        return f"{self.architecture}-unknown-none-{self.environment}"


# The first of an architecture is meant where no CPU is named.
PROCESSORS = (
    Processor("cortex-m0plus", "thumbv6m", False, _SOFT_FLOATS, 32 << 10, (THUMB,)),
    Processor("cortex-m3", "thumbv7m", False, _SOFT_FLOATS, 64 << 10),
    Processor("cortex-m4", "thumbv7em", True, _SINGLE_ISSUE, 256 << 10, (DSP,)),
    Processor("cortex-m7", "thumbv7em", True, _SINGLE_ISSUE, 512 << 10, (DSP,)),
    Processor("cortex-m33", "thumbv8m.main", True, _SINGLE_ISSUE, 256 << 10, (DSP,)),
    Processor("cortex-m55", "thumbv8.1m.main", True, _SINGLE_ISSUE, 512 << 10, (HELIUM,), VECTORS),
)


def processors_of(architecture: str, environment: str) -> tuple[Processor, ...]:
    """The processors of an architecture; for ``eabi`` those with a unit for floats are used without it."""
    rows = [row for row in PROCESSORS if row.architecture == architecture]
    if environment == "eabi":  # vectors are in the registers of floats
        units = {row.name: (DSP,) if row.vectors is not None else row.units for row in rows}
        return tuple(
            replace(row, has_floats=False, core=_SOFT_FLOATS, units=units[row.name], vectors=None) for row in rows
        )
    return tuple(row for row in rows if row.has_floats)
