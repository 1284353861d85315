"""What an architecture is: a row of data. Nothing outside this folder knows more of one than its row says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from .core import Core, UnitCosts
from .features import FeatureTable
from .peak import PeakLoop
from .systems import LINUX, System
from .target import FLOAT32_BITS, DotUnit

# The features that LLVM has enabled for a CPU's name with changes; none at all for a name that it does not know.
EnabledFeatures = Callable[[str, Sequence[str]], Collection[str]]


@dataclass(frozen=True)
class Level:
    """One instruction level: what schedules are written for.

    Attributes:
        isa: for people: ``AVX2``.
        needs: LLVM's names of the features that a CPU of this level has.
        vector_bits, num_vector_registers, has_fma, broadcasts_operands, operand_lanes, written_steps, asks_for_fma,
            keeps_loops: as `Target` has them.
        line_apart: what a line of results costs, as `Core` has it, on cores whose widest vectors these are; None where
            that is what it costs on the others.
    """

    isa: str
    needs: frozenset[str]
    vector_bits: int
    num_vector_registers: int
    has_fma: bool
    broadcasts_operands: bool
    operand_lanes: int = 1
    written_steps: int = 1
    asks_for_fma: bool = False
    keeps_loops: bool = False
    line_apart: float | None = None


@dataclass(frozen=True)
class Processor:
    """A core and its data caches, in bytes: the first two its own, the third shared."""

    core: Core
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int


@dataclass(frozen=True)
class Section:
    """A section of an ELF file, as the assembler takes it."""

    name: str
    flags: str


@dataclass(frozen=True)
class Architecture:
    """An architecture: a row of `architectures.ARCHITECTURES`.

    Attributes:
        name: LLVM's and the toolchains', the first part of a full triple.
        spellings: other names that can stand first in a triple.
        baseline_cpu: LLVM's name of the CPU when none is given.
        levels: best first: a CPU is used at the first level whose needs it fulfils; the last needs nothing.
        units: for narrow operands, the fastest first.
        unit_costs: `DotUnit.costs` where they are others than in `units`, by the names of unit and CPU.
        core: what instructions cost on CPUs that are not among `processors`.
        processors: by LLVM's names of CPUs.
        aliases: other names of CPUs, and LLVM's for them.
        features: all that code may be generated for.
        half_features: what code that converts float16 in vectors needs.
        notable_features: those that decide which kernels engines can use.
        host_cpu: LLVM's name of the CPU, and the changes to its features that make them those which Linux lists, from
            what LLVM takes the machine for and the flags of /proc/cpuinfo.
        cpu_check: C code that defines ``static int cpu_is_supported(void)``: whether the processor and its operating
            system have these features. It may include what is in every C library.
        pause: a statement in C for a loop that waits for another thread.
        weights_section: where weights go.
        peak: the loop that multiplies and adds in float32 as fast as a level can.
        peak_flags: of the C compiler that builds it.
        example_cpus, example_features: for messages.
        baseline_features: what code for any CPU of the architecture is generated with, as changes to a CPU's own.
        abi: what follows the C library's name in a triple: ``eabihf``.
        llvm_options: further ones of the target that LLVM generates code for, as TVM names them.
        emulator: qemu-user's name of the architecture; empty: it has none.
        emulator_options: what qemu needs to have the features of a library.
        debian: Debian's name, as its packages of C libraries have it.
        systems: that it is used with.
        zig: zig's name of the architecture; empty: the same.
        zig_cpu: for C code, as zig writes a CPU; empty: zig's own choice.
        zig_flags: what zig's compiler of C is told besides.
    """

    name: str
    spellings: tuple[str, ...]
    baseline_cpu: str
    levels: tuple[Level, ...]
    units: tuple[DotUnit, ...]
    unit_costs: Mapping[tuple[str, str], UnitCosts]
    core: Core
    features: FeatureTable
    half_features: tuple[str, ...]
    notable_features: tuple[str, ...]
    host_cpu: Callable[[str, Collection[str], EnabledFeatures], tuple[str, tuple[str, ...]]]
    cpu_check: Callable[[Sequence[str]], str]
    pause: str
    weights_section: Section
    peak: Callable[[Level], PeakLoop]
    peak_flags: tuple[str, ...]
    example_cpus: tuple[str, ...]
    example_features: tuple[str, ...]
    processors: Mapping[str, Processor] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    baseline_features: tuple[str, ...] = ()
    abi: str = ""
    llvm_options: Mapping[str, str | int] = field(default_factory=dict)
    emulator: str = ""
    emulator_options: Callable[[Collection[str]], tuple[str, ...]] = lambda features: ()
    debian: str = ""
    systems: tuple[System, ...] = (LINUX,)
    zig: str = ""
    zig_cpu: str = ""
    zig_flags: tuple[str, ...] = ()

    @property
    def triple(self) -> str:
        """As users write it."""
        return f"{self.name}-linux-gnu{self.abi}"

    def level_of(self, features: Collection[str]) -> Level:
        """The best level that a CPU with these features has."""
        return next(level for level in self.levels if level.needs.issubset(features))

    def units_of(self, features: Collection[str], cpu: str = "") -> tuple[DotUnit, ...]:
        """The units that a CPU with these features has, of each shape the fastest; by its name what they cost."""
        widest = self.level_of(features).vector_bits // FLOAT32_BITS
        found: dict[tuple[str, str, int], DotUnit] = {}
        for unit in self.units:
            if unit.lanes <= widest * unit.sum_registers and set(unit.required_features).issubset(features):
                costs = self.unit_costs.get((unit.name, cpu), unit.costs)
                found.setdefault((unit.lhs, unit.rhs, unit.rows), replace(unit, costs=costs))
        return tuple(found.values())

    def half_features_of(self, features: Collection[str]) -> tuple[str, ...] | None:
        """What code that converts float16 needs, if a CPU with these features has it."""
        return self.half_features if set(self.half_features).issubset(features) else None
