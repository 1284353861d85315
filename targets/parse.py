"""From what a user writes (a triple, a CPU, features, or ``host``) to a `Target`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UnsupportedTargetError, UsageError
from . import llvm
from .architecture import Architecture
from .architectures import ARCHITECTURES, architecture_of
from .cortex_m.parse import is_bare_metal, parse_bare_metal
from .host import read_host
from .target import Target

SYSTEMS = {"linux"}
ENVIRONMENTS = {"gnu", "musl"}
DEFAULT_CORES = 4
DEFAULT_CACHES = {"l1_bytes": 32 << 10, "l2_bytes": 512 << 10, "l3_bytes": 8 << 20}

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
    architecture, full_triple = _split(triple)
    cpu = architecture.baseline_cpu if cpu is None else cpu
    return _make(architecture, full_triple, cpu, (), features, cores or DEFAULT_CORES, DEFAULT_CACHES)


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
    caches = {"l1_bytes": facts.l1_bytes, "l2_bytes": facts.l2_bytes, "l3_bytes": facts.l3_bytes}
    family = architecture.name
    found: tuple[str, ...] = ()
    if cpu is None:

        def enabled(name: str, changes: Sequence[str]) -> frozenset[str]:
            known = name in llvm.known_cpus(family)
            return llvm.enabled_features(family, name, changes) if known else frozenset()

        cpu, found = architecture.host_cpu(llvm.system_cpu(), facts.flags, enabled)
    # One processor, as a container or a small virtual machine has, says nothing of where the library will run.
    planned = facts.cores if facts.cores > 1 else DEFAULT_CORES
    return _make(architecture, f"{family}-unknown-linux-gnu", cpu, found, features, cores or planned, caches)


def _make(
    architecture: Architecture,
    triple: str,
    cpu: str,
    found: tuple[str, ...],
    asked: Sequence[str],
    cores: int,
    caches: dict[str, int],
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
    wanted = llvm.enabled_features(family, architecture.baseline_cpu, added)
    without = table.not_generated(has, wanted)
    changes = (*found, *asked, *(f"-{name}" for name in without))
    generated = llvm.enabled_features(family, cpu, changes)
    level = architecture.level_of(generated)
    return Target(
        triple=triple,
        arch=family,
        cpu=cpu,
        features=changes,
        isa=level.isa,
        vector_bits=level.vector_bits,
        num_vector_registers=level.num_vector_registers,
        has_fma=level.has_fma,
        broadcasts_operands=level.broadcasts_operands,
        core=architecture.core,
        cores=cores,
        required_features=table.ordered(generated),
        half_features=architecture.half_features_of(generated),
        units=architecture.units_of(has, cpu),
        code_generator="llvm",
        l1_bytes=caches["l1_bytes"],
        l2_bytes=caches["l2_bytes"],
        l3_bytes=caches["l3_bytes"],
    )


def _check_cpu(architecture: Architecture, cpu: str) -> None:
    family = architecture.name
    hint = f"names are LLVM's, for example {', '.join(architecture.example_cpus)}"
    if cpu not in llvm.known_cpus(family):
        raise UnsupportedTargetError(f"unknown CPU {cpu!r} for {family}", where="--mcpu", hint=hint)
    missing = sorted(architecture.features.needed - llvm.enabled_features(family, cpu))
    if missing:
        raise UnsupportedTargetError(
            f"{cpu} is no CPU for {family}: it lacks {', '.join(missing)}", where="--mcpu", hint=hint
        )


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


def _split(triple: str) -> tuple[Architecture, str]:
    parts = triple.split("-")
    architecture = architecture_of(parts[0])
    if architecture is None:
        raise UnsupportedTargetError(f"unknown target {triple!r}", where="--target", hint=_known())
    system = next((part for part in parts[1:] if part in SYSTEMS), None)
    environment = parts[-1] if parts[-1] in ENVIRONMENTS else "gnu"
    if system is None or len(parts) > 4 or (parts[-1] not in ENVIRONMENTS and parts[-1] != system):
        raise UnsupportedTargetError(f"unknown target {triple!r}", where="--target", hint=_known())
    return architecture, f"{architecture.name}-unknown-{system}-{environment}"


def _known() -> str:
    return "known targets: host, " + ", ".join(each.triple for each in ARCHITECTURES.values())


def _first() -> Architecture:
    return next(iter(ARCHITECTURES.values()))
