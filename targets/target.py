"""What a machine is: the facts that schedules, code generation and linking read."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

from .core import Core, UnitCosts
from .grid import Grid
from .instructions import Instructions
from .peak import PeakLoop
from .systems import ELF

FLOAT32_BITS = 32
_REPEATED = 4  # registers for groups of the first operand, repeated in all lanes


def repeating(rows: int, registers: int, vectors: int) -> int:
    """The registers of a tile whose rows are repeated in a register when they are multiplied."""
    return registers * vectors + vectors + _REPEATED


@dataclass(frozen=True)
class DotUnit:
    """An instruction that adds products of narrow operands to wide sums, several at once.

    Attributes:
        name: for people: ``AMX-BF16``.
        lhs, rhs, accumulator: the dtypes of the operands, ``bfloat16``, and of the sums, ``float32``.
        group: consecutive terms of a sum that lie side by side in an operand.
        rows: of the first operand that one instruction takes at most; at least `least_rows`.
        lanes: columns of the second operand that one instruction takes.
        depth: terms of a sum that one instruction takes at most; what takes several for a load counts as one.
        registers: for sums and operands.
        required_features: what code that uses it needs besides the target's own, as `Target.required_features`.
        costs: of its instructions.
        instructions: makes what code that uses it consists of; needs TVM.
        peak: makes what measures how fast it is; None where nobody measures.
        is_matrix: whether it works beside the vector unit, on registers of its own: tiles of sums go through memory.
        registers_used: those that a tile needs, of so many rows an instruction, and instructions below and beside each
            other.
        copied_as: the dtype that the first operand is copied in before it is read; empty: it is read as it is.
        interleaved: whether the second operand has the first terms of a step's groups side by side, then the second
            ones; and a step is always as deep as it can be. Groups of one term are interleaved if those of a lane lie
            together.
        masked: whether a step of less than `depth` is a whole one under masks, each of which is an instruction.
        sum_registers: vector registers that the sums of `lanes` columns take.
    """

    name: str
    lhs: str
    rhs: str
    accumulator: str
    group: int
    rows: int
    lanes: int
    depth: int
    registers: int
    required_features: tuple[str, ...]
    costs: UnitCosts
    instructions: Callable[[], Instructions]
    peak: Callable[[], PeakLoop] | None
    is_matrix: bool = False
    registers_used: Callable[[int, int, int], int] = repeating
    copied_as: str = ""
    interleaved: bool = False
    masked: bool = False
    least_rows: int = 1
    sum_registers: int = 1


@dataclass(frozen=True)
class TargetFunction:
    """A function that code of a target calls for an operator of `hidden_floats.py`.

    Attributes:
        operator: its name there, without the prefix: ``requantize``.
        name: of the function.
        text: it, in the language of the target's code.
        lanes: of its operands; 1: numbers one by one.
    """

    operator: str
    name: str
    text: str
    lanes: int = 1


@dataclass(frozen=True)
class CVectors:
    """Vectors of a machine that C sources are written for (`compiler/codegen/c_vectors.py`).

    Attributes:
        lanes: of 32 bits.
        text: what defines their types and functions.
        functions: their names.
    """

    lanes: int
    text: str
    functions: frozenset[str]


@dataclass(frozen=True)
class Target:
    """A machine to compile for.

    Attributes:
        triple: LLVM triple, for example ``x86_64-unknown-linux-gnu``.
        arch: instruction set family, the name of an architecture: ``x86_64``.
        cpu: LLVM's name of the CPU (``-mcpu``).
        features: changes to the CPU's own LLVM features, each ``+name`` or ``-name``, in the order they apply.
        isa: name of the instruction level that the schedules use, for people: ``AVX2``.
        vector_bits: width of one vector register, in bits.
        num_vector_registers: architectural vector registers.
        has_fma: whether a multiply and an add are one instruction.
        broadcasts_operands: whether that instruction repeats an element in memory in all lanes of an operand.
        operand_lanes: elements of the first operand that one load brings and multiply-adds take by their place in the
            register; 1: each element is loaded by itself.
        written_steps: steps of k that inner loops write out: what they load is at constant distances from pointers,
            which move once for all of them; 1: loads add up addresses by themselves.
        asks_for_fma: whether LLVM makes one instruction of both only where it is told to, though it has one.
        keeps_loops: whether loops over k are kept from LLVM, which writes out short ones and then holds what several of
            their steps load, more than there are registers for.
        cores: processors to plan parallel loops for; schedules cut work into at least so many pieces. With 1 there are
            no parallel loops.
        core: what instructions cost.
        l1_bytes, l2_bytes, l3_bytes: data caches; the first two of one core, the third shared.
        required_features: CPU features that code is generated for beyond the architecture's baseline, as LLVM names
            them: what LLVM may use of its own accord, and what a library checks for before it runs.
        half_features: what code needs, as `required_features`, that turns vectors of float16 into float32 and back;
            None where the machine has no instruction for it.
        units: the units for narrow operands that the machine has. A contraction of operands of their dtypes may use
            them; code that does needs more of the processor (`for_dtypes`).
        rounding_units: those that round operands of float32 to fewer bits, which is used where it is asked for.
        llvm_options: further ones of TVM's target, as pairs.
        object_format: of object files and libraries, as `systems.py` names it.
        code_generator: who writes its code, by its name in the compiler's table of generators.
        c_flags: what a compiler of C has to be told of it.
        saves_memory: whether memory is scarcer than time: no weights larger than the model's, no copies of tensors.
        memory_bytes: what such a machine has for tensors; 0: more than any model needs.
        alignment: what the addresses of tensors are multiples of, in bytes.
        grid: of a machine that runs kernels as grids of threads; None: its cores run loops.
        device: what runs kernels, where it is not what calls them, as the loader names it: ``cuda``.
        host: the full triple of the machine that calls the kernels, where that is another one.
        functions: for operators that its code computes in its own way, with the same results.
        c_vectors: how its vectors are written in C, where its code is C.
        integer_registers: for sums of integers and their operands, where those are not vector registers.
        integer_core: what arithmetic of integers costs, where that is another matter than floats.
    """

    triple: str
    arch: str
    cpu: str
    features: tuple[str, ...]
    isa: str
    vector_bits: int
    num_vector_registers: int
    has_fma: bool
    broadcasts_operands: bool
    cores: int
    core: Core
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    required_features: tuple[str, ...] = ()
    half_features: tuple[str, ...] | None = None
    units: tuple[DotUnit, ...] = ()
    rounding_units: tuple[DotUnit, ...] = ()
    operand_lanes: int = 1
    written_steps: int = 1
    asks_for_fma: bool = False
    keeps_loops: bool = False
    llvm_options: tuple[tuple[str, str | int], ...] = ()
    object_format: str = ELF
    code_generator: str = "llvm"
    c_flags: tuple[str, ...] = ()
    saves_memory: bool = False
    memory_bytes: int = 0
    alignment: int = 64
    functions: tuple[TargetFunction, ...] = ()
    integer_registers: int = 0
    integer_core: Core | None = None
    c_vectors: CVectors | None = None
    grid: Grid | None = None
    device: str = ""
    host: str = ""

    @property
    def the_grid(self) -> Grid:
        """The grid, of a machine that has one."""
        assert self.grid is not None
        return self.grid

    def lanes(self, dtype_bits: int = FLOAT32_BITS) -> int:
        """How many elements of `dtype_bits` bits one vector register holds."""
        return max(1, self.vector_bits // dtype_bits) if self.vector_bits > FLOAT32_BITS else 1

    def registers_for(self, dtype: str) -> int:
        """How many registers there are for sums of a dtype and their operands."""
        return self.integer_registers if "int" in dtype and self.integer_registers else self.num_vector_registers

    def core_for(self, dtype: str) -> Core:
        """What arithmetic of a dtype costs."""
        return self.integer_core if "int" in dtype and self.integer_core is not None else self.core

    def with_cores(self, cores: int) -> Target:
        """The same machine, of which only so many cores are used."""
        return replace(self, cores=cores)

    def rounding(self) -> Target:
        """The same machine, whose units may round operands of float32."""
        return replace(self, units=(*self.units, *self.rounding_units))

    def without_vectors(self) -> Target:
        """The same machine, of which one core and scalar registers are used: what C can say."""
        return replace(
            self,
            cores=1,
            vector_bits=FLOAT32_BITS,
            broadcasts_operands=False,
            operand_lanes=1,
            written_steps=1,
            keeps_loops=False,
            units=(),
            functions=(),
            half_features=None,
        )

    def unit(self, name: str) -> DotUnit:
        """The unit of that name, which it has."""
        return next(unit for unit in self.units if unit.name == name)

    def units_for(self, lhs: str, rhs: str, accumulator: str) -> tuple[DotUnit, ...]:
        """The units that multiply operands of these dtypes into such sums."""
        asked = (lhs, rhs, accumulator)
        return tuple(unit for unit in self.units if (unit.lhs, unit.rhs, unit.accumulator) == asked)

    @property
    def integer_operand(self) -> str:
        """What the first operands of products of integers are: uint8, unless the units for them take int8."""
        return next((unit.lhs for unit in self.units if unit.rhs == "int8"), "uint8")

    def for_dtypes(self, dtypes: Collection[str]) -> Target:
        """The same machine, as code needs it that has elements of these dtypes: with the features of their units."""
        units = [unit for unit in self.units if {unit.lhs, unit.rhs}.issubset(dtypes)]
        needed = tuple(dict.fromkeys(feature for unit in units for feature in unit.required_features))
        changed = {f"{sign}{feature}" for sign in "+-" for feature in needed}
        if "float16" in dtypes and self.half_features is not None:
            return replace(
                self, required_features=tuple(dict.fromkeys([*self.required_features, *self.half_features]))
            ).for_dtypes(set(dtypes) - {"float16"})
        return replace(
            self,
            features=(*(feature for feature in self.features if feature not in changed), *(f"+{n}" for n in needed)),
            required_features=tuple(dict.fromkeys([*self.required_features, *needed])),
        )

    def describe(self) -> str:
        """One line for people."""
        if self.grid is not None:
            return (
                f"{self.triple}, {self.cpu}, {self.grid.multiprocessors} multiprocessors, "
                f"{self.grid.most_shared_bytes >> 10} KiB for a block"
            )
        return (
            f"{self.triple}, cpu {self.cpu}, {self.isa} ({self.num_vector_registers} registers of {self.vector_bits} "
            f"bits), {self.cores} cores, L1 {self.l1_bytes >> 10} KiB, L2 {self.l2_bytes >> 10} KiB, "
            f"L3 {self.l3_bytes / (1 << 20):g} MiB"
        )

    def to_tvm(self) -> Any:
        """The `tvm.target.Target` that TVM's lowering passes and LLVM read."""
        from tvm.target import Target as TVMTarget

        if self.grid is not None:  # what LLVM knows of functions is what kernels in C++ say, too
            return TVMTarget({"kind": "llvm", "mtriple": self.host, "num-cores": 1})
        spec: dict[str, object] = {
            "kind": "llvm",
            "mtriple": self.triple,
            "mcpu": self.cpu,
            "num-cores": self.cores,
            # Kernels are vectorized by their schedules. What is left for LLVM to find in straight-line code is the
            # addresses of a tile's rows, and computing those in vector registers slows the inner loop down. Its loop
            # vectorizer computes x[i % 5] and x[(i + 6) & 7] wrongly in vectors of 512 bits (LLVM 22).
            **dict(self.llvm_options),
            "cl-opt": ["-vectorize-slp=false", "-vectorize-loops=false"],
        }
        if self.features:
            spec["mattr"] = list(self.features)
        return TVMTarget(spec)
