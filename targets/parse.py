"""From what a user writes (a triple, a CPU, features, or ``host``) to a `Target`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import replace

from ..errors import TargetWarning, UnsupportedTargetError, UsageError
from . import llvm
from .architecture import Architecture, Processor
from .architectures import ARCHITECTURES, architecture_of
from .cortex_m.parse import is_bare_metal, parse_bare_metal, triples_of
from .cuda.parse import TRIPLE as CUDA
from .cuda.parse import is_cuda, is_gpu, parse_cuda
from .generic import BIG_ENDIAN, is_generic
from .host import read_host
from .systems import LINUX, SYSTEMS, Triple, system_of
from .target import Target

DEFAULT_CORES = 4
_DEFAULT_CACHES = (32 << 10, 512 << 10, 8 << 20)

_FEATURE = re.compile(r"[+-][a-z0-9][a-z0-9._-]*")


def parse(
    triple: str = "host", *, cpu: str | None = None, features: Sequence[str] = (), cores: int | None = None
) -> Target:
    """Makes a target.

    Args:
        triple: ``host``, or an LLVM triple of two to four parts: architecture, system, environment.
        cpu: LLVM's CPU name; by default the host's own, or the baseline of the architecture.
        features: ``+name`` to add and ``-name`` to remove, on top of the CPU.
        cores: processors to plan parallel loops for; by default the host's own if there are several, or 4.

    Raises:
        UnsupportedTargetError: the architecture, system, CPU or a feature is unknown.
        UsageError: a feature is not written ``+name`` or ``-name``.
    """
    for feature in features:
        if not _FEATURE.fullmatch(feature):
            raise UsageError(
                f"feature {feature!r} is not written +name or -name",
                where="--features",
                hint=f"--features {','.join(_first().example_features)}",
            )
    if triple == "host":
        return _host(cpu, features, cores)
    if is_bare_metal(triple):
        return parse_bare_metal(triple, cpu, features)
    if is_cuda(triple):
        return parse_cuda(triple, cpu, features)
    architecture, full = _split(triple)
    if is_generic(architecture):
        warnings.warn(
            f"there is no row for {architecture.name} in the table of targets: the code is for any such machine, "
            "planned by nobody's numbers, and untested",
            TargetWarning,
            stacklevel=2,
        )
    cpu = architecture.baseline_cpu if cpu is None else architecture.aliases.get(cpu, cpu)
    found = architecture.baseline_features
    return _make(architecture, full, cpu, found, features, cores or DEFAULT_CORES, _processor(architecture, cpu))


def _processor(architecture: Architecture, cpu: str) -> Processor:
    """What is known of a CPU, or of any."""
    return architecture.processors.get(cpu) or Processor(architecture.core, *_DEFAULT_CACHES)


def host() -> Target:
    """The machine this runs on."""
    return parse("host")


def _host(cpu: str | None, features: Sequence[str], cores: int | None) -> Target:
    facts = read_host()
    architecture = facts.architecture
    if architecture is None:
        raise UnsupportedTargetError(
            f"this machine is {facts.machine}, for which there is no code generator yet",
            where="--target host",
            hint=_known(),
        )
    family = architecture.name
    found: tuple[str, ...] = ()
    if cpu is None:

        def enabled(name: str, changes: Sequence[str]) -> frozenset[str]:
            known = name in llvm.known_cpus(family)
            return llvm.enabled_features(family, name, changes) if known else frozenset()

        cpu, found = architecture.host_cpu(llvm.system_cpu(), facts.flags, enabled)
    # One processor, as a container or a small virtual machine has, says nothing of where the library will run.
    planned = facts.cores if facts.cores > 1 else DEFAULT_CORES
    cpu = architecture.aliases.get(cpu, cpu)
    processor = Processor(_processor(architecture, cpu).core, facts.l1_bytes, facts.l2_bytes, facts.l3_bytes)
    changes = (*architecture.baseline_features, *found)
    full = Triple(family, LINUX, f"gnu{architecture.abi}")
    return _make(architecture, full, cpu, changes, features, cores or planned, processor)


def _make(
    architecture: Architecture,
    triple: Triple,
    cpu: str,
    found: tuple[str, ...],
    asked: Sequence[str],
    cores: int,
    processor: Processor,
) -> Target:
    """A target of a CPU, with the changes to its features that were `found` on the machine, and those `asked` for."""
    family, table = architecture.name, architecture.features
    _check_cpu(architecture, cpu)
    _check_features(architecture, asked)
    has = llvm.enabled_features(family, cpu, (*found, *asked))
    if missing := sorted(table.needed - has):
        raise UnsupportedTargetError(
            f"code for {family} cannot be generated without {', '.join(missing)}",
            where="--features",
            hint="leave out what removes them",
        )
    added = [feature for feature in asked if feature.startswith("+")]
    # What comes with the features that were added is asked for as they are.
    wanted = llvm.enabled_features(family, architecture.baseline_cpu, (*architecture.baseline_features, *added))
    without = table.not_generated(has, wanted)
    changes = (*found, *asked, *(f"-{name}" for name in without))
    generated = llvm.enabled_features(family, cpu, changes)
    level = architecture.level_of(generated)
    core = processor.core if level.line_apart is None else replace(processor.core, line_apart=level.line_apart)
    return Target(
        triple=str(triple),
        arch=family,
        cpu=cpu,
        features=changes,
        isa=level.isa,
        vector_bits=level.vector_bits,
        num_vector_registers=level.num_vector_registers,
        has_fma=level.has_fma,
        broadcasts_operands=level.broadcasts_operands,
        operand_lanes=level.operand_lanes,
        written_steps=level.written_steps,
        keeps_loops=level.keeps_loops,
        asks_for_fma=level.asks_for_fma,
        core=core,
        cores=cores,
        required_features=table.ordered(generated),
        half_features=architecture.half_features_of(generated),
        units=architecture.units_of(has, cpu),
        llvm_options=tuple(architecture.llvm_options.items()),
        object_format=triple.system.object_format,
        code_generator="llvm",
        l1_bytes=processor.l1_bytes,
        l2_bytes=processor.l2_bytes,
        l3_bytes=processor.l3_bytes,
    )


def _check_cpu(architecture: Architecture, cpu: str) -> None:
    family = architecture.name
    hint = f"names are LLVM's, for example {', '.join(architecture.example_cpus)}"
    if cpu not in llvm.known_cpus(family):
        raise UnsupportedTargetError(
            f"unknown CPU {cpu!r} for {family}", where="--mcpu", hint="; ".join([*_elsewhere(cpu), hint])
        )
    if missing := _lacking(architecture, cpu):
        raise UnsupportedTargetError(
            f"{cpu} is no CPU for {family}: it lacks {', '.join(missing)}",
            where="--mcpu",
            hint="; ".join([*_elsewhere(cpu), hint]),
        )


def _lacking(architecture: Architecture, cpu: str) -> list[str]:
    """What code for an architecture cannot do without, and a CPU that LLVM knows there has not."""
    return sorted(
        architecture.features.needed - llvm.enabled_features(architecture.name, cpu, architecture.baseline_features)
    )


def _elsewhere(cpu: str) -> list[str]:
    """How to ask for a CPU of another architecture, for messages."""
    triples = _triples_of(cpu)
    return [f"for {cpu}: --target {' or '.join(triples)}"] if triples else []


def _triples_of(cpu: str) -> list[str]:
    """The triples that a CPU is one for."""
    rows = [row for row in ARCHITECTURES.values() if cpu in llvm.known_cpus(row.name) and not _lacking(row, cpu)]
    return [*triples_of(cpu), *(row.triple for row in rows), *([CUDA] if is_gpu(cpu) else [])]


def _check_features(architecture: Architecture, features: Sequence[str]) -> None:
    family, table = architecture.name, architecture.features
    for feature in features:
        name = feature[1:]
        if name not in llvm.known_features(family):
            raise UnsupportedTargetError(
                f"unknown feature {feature!r} for {family}",
                where="--features",
                hint=f"names are LLVM's, for example {architecture.example_features[0]}",
            )
        if feature.startswith("+") and not table.is_usable(name):
            raise UnsupportedTargetError(
                f"code for {feature!r} could not check that its processor has it",
                where="--features",
                hint=f"leave {feature} out; features that can be checked for: {', '.join(sorted(table.rows))}",
            )


def _split(triple: str) -> tuple[Architecture, Triple]:
    """The parts of what a user writes: architecture, perhaps a vendor, system, perhaps an environment."""
    first, *rest = triple.split("-")
    architecture = architecture_of(first)
    at = next((i for i, part in enumerate(rest) if system_of(part)), None)
    if architecture is None or at is None or at > 1 or len(rest) > at + 2:
        raise _unknown(triple, architecture)
    system = system_of(rest[at])
    assert system is not None
    environment = "-".join(rest[at + 1 :]).removesuffix(architecture.abi)
    if environment and environment not in system.environments:
        raise _unknown(triple, architecture)
    environment = environment or next(iter(system.environments), "")
    abi = architecture.abi if system is LINUX else ""
    return architecture, Triple(architecture.name, system, environment + abi)


def _unknown(triple: str, architecture: Architecture | None) -> UnsupportedTargetError:
    """The error, with what a processor's name, or an architecture's without a known system, may stand for."""
    hint = _known()
    if BIG_ENDIAN.fullmatch(triple.partition("-")[0]):
        return UnsupportedTargetError(
            f"{triple!r} stores the first byte last",
            where="--target",
            hint=f"libraries are made for little-endian processors; {hint}",
        )
    if triples := _triples_of(triple):
        hint = f"{triple} is a processor: --target {' or '.join(triples)} --mcpu {triple}"
    elif architecture is not None:
        hint = f"perhaps --target {architecture.triple}; {hint}"
    return UnsupportedTargetError(f"unknown target {triple!r}", where="--target", hint=hint)


def _known() -> str:
    known = (each.triple for each in ARCHITECTURES.values())
    systems = ", ".join(system.spellings[0] for system in SYSTEMS)
    some = f"host, {', '.join(known)}, {CUDA}; or musl for gnu; systems: {systems}"
    return f"some are: {some}; `tilewright targets` lists all, those of microcontrollers, too"


def _first() -> Architecture:
    return next(iter(ARCHITECTURES.values()))
