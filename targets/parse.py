"""From what a user writes (a triple, a CPU, features, or ``host``) to a `Target`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from ..errors import UnsupportedTargetError, UsageError
from . import x86
from .host import read_host
from .target import Target

# Architectures: a name that can stand first in a triple -> the family, and the CPU when none is named.
ARCHITECTURES = {"x86_64": ("x86_64", "x86-64"), "amd64": ("x86_64", "x86-64")}
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
        triple: ``host``, or an LLVM triple of two to four parts: ``x86_64-linux-gnu``.
        cpu: LLVM's CPU name; by default the host's own, or the baseline of the architecture.
        features: ``+name`` to add and ``-name`` to remove, on top of the CPU.
        cores: processors to plan parallel loops for; by default the host's own, or 4.

    Raises:
        UnsupportedTargetError: the architecture, system, CPU or a feature is unknown.
        UsageError: a feature is not written ``+name`` or ``-name``.
    """
    for feature in features:
        if not _FEATURE.fullmatch(feature):
            raise UsageError(
                f"feature {feature!r} is not written +name or -name",
                where="--features",
                hint="--features +avx2,-avx512f",
            )
    if triple == "host":
        return _host(cpu, features, cores)
    arch, full_triple = _split(triple)
    return _make(arch, full_triple, cpu or ARCHITECTURES[arch][1], features, cores or DEFAULT_CORES, DEFAULT_CACHES)


def host() -> Target:
    """The machine this runs on."""
    return parse("host")


def _host(cpu: str | None, features: Sequence[str], cores: int | None) -> Target:
    facts = read_host()
    if facts.machine not in ARCHITECTURES:
        raise UnsupportedTargetError(
            f"this machine is {facts.machine}, for which there is no code generator yet",
            where="--target host",
            hint=_known(),
        )
    caches = {"l1_bytes": facts.l1_bytes, "l2_bytes": facts.l2_bytes, "l3_bytes": facts.l3_bytes}
    if cpu is None:
        cpu = _system_cpu()
        # Virtual machines hide features of their CPU: what Linux does not list must not be used.
        known = _cpu_features(facts.machine, cpu, ())
        units = (unit.required_features for unit in x86.DOT_UNITS)
        needed = sorted(frozenset().union(*(level.needs for level in x86.LEVELS), *units))
        hidden = tuple(f"-{name}" for name in needed if name in known - facts.features)
        features = (*dict.fromkeys(hidden), *features)
    return _make(facts.machine, f"{facts.machine}-unknown-linux-gnu", cpu, features, cores or facts.cores, caches)


def _make(arch: str, triple: str, cpu: str, features: Sequence[str], cores: int, caches: dict[str, int]) -> Target:
    family = ARCHITECTURES[arch][0]
    enabled = _cpu_features(family, cpu, tuple(features))
    level = x86.level_of(enabled)
    return Target(
        triple=triple,
        arch=family,
        cpu=cpu,
        features=tuple(features),
        isa=level.isa,
        vector_bits=level.vector_bits,
        num_vector_registers=level.num_vector_registers,
        has_fma=level.has_fma,
        cores=cores,
        required_features=x86.required_features(enabled, level),
        half_features=x86.half_features(enabled),
        dot_units=x86.dot_units(enabled, level),
        **caches,
    )


def _split(triple: str) -> tuple[str, str]:
    parts = triple.split("-")
    arch = parts[0]
    if arch not in ARCHITECTURES:
        raise UnsupportedTargetError(f"unknown target {triple!r}", where="--target", hint=_known())
    system = next((part for part in parts[1:] if part in SYSTEMS), None)
    environment = parts[-1] if parts[-1] in ENVIRONMENTS else "gnu"
    if system is None or len(parts) > 4 or (parts[-1] not in ENVIRONMENTS and parts[-1] != system):
        raise UnsupportedTargetError(f"unknown target {triple!r}", where="--target", hint=_known())
    return arch, f"{ARCHITECTURES[arch][0]}-unknown-{system}-{environment}"


def _known() -> str:
    return "known targets: host, " + ", ".join(f"{arch}-linux-gnu" for arch in ARCHITECTURES if arch != "amd64")


def _llvm(function: str, arguments: Iterable[Any]) -> Any:
    import tvm.target.codegen as llvm

    return getattr(llvm, function)(*arguments)


@lru_cache
def _system_cpu() -> str:
    return str(_llvm("llvm_get_system_cpu", ()))


@lru_cache
def _known_cpus(arch: str) -> frozenset[str]:
    return frozenset(str(name) for name in _llvm("llvm_get_cpu_archlist", (_llvm_target(arch),)))


@lru_cache
def _known_features(arch: str) -> frozenset[str]:
    """Every feature that some CPU of the family has (LLVM's Python interface lists only those of one CPU)."""
    return frozenset().union(*(_enabled(arch, cpu) for cpu in _known_cpus(arch)))


def _llvm_target(arch: str, **spec: object) -> Any:
    from tvm.target import Target as TVMTarget

    return TVMTarget({"kind": "llvm", "mtriple": f"{ARCHITECTURES[arch][0]}-unknown-linux-gnu", **spec})


def _enabled(arch: str, cpu: str, **spec: object) -> frozenset[str]:
    return frozenset(str(name) for name in _llvm("llvm_get_cpu_features", (_llvm_target(arch, mcpu=cpu, **spec),)))


@lru_cache
def _cpu_features(arch: str, cpu: str, features: tuple[str, ...]) -> frozenset[str]:
    """LLVM's features of a CPU, with the user's changes applied."""
    if cpu not in _known_cpus(arch):
        raise UnsupportedTargetError(
            f"unknown CPU {cpu!r} for {arch}",
            where="--mcpu",
            hint="names are LLVM's, for example x86-64-v3, znver3, skylake-avx512",
        )
    for feature in features:
        if feature[1:] not in _known_features(arch):
            raise UnsupportedTargetError(
                f"unknown feature {feature!r} for {arch}",
                where="--features",
                hint="names are LLVM's, for example +avx2",
            )
    return _enabled(arch, cpu, mattr=list(features)) if features else _enabled(arch, cpu)
