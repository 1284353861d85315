"""What LLVM knows of processors: their names, their features, and which one it takes this machine for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any


def _ask(function: str, arguments: Iterable[Any]) -> Any:
    import tvm.target.codegen as llvm

    return getattr(llvm, function)(*arguments)


def _target(family: str, **spec: object) -> Any:
    from tvm.target import Target as TVMTarget

    # An architecture whose name LLVM does not know ends the process.
    return TVMTarget({"kind": "llvm", "mtriple": f"{family}-unknown-linux-gnu", **spec})


@lru_cache
def system_cpu() -> str:
    """The CPU that LLVM takes this machine for, by its vendor and model number."""
    return str(_ask("llvm_get_system_cpu", ()))


@lru_cache
def known_cpus(family: str) -> frozenset[str]:
    """Names of the CPUs of a family of architectures; they include those of other widths (``i386`` of ``x86_64``)."""
    return frozenset(str(name) for name in _ask("llvm_get_cpu_archlist", (_target(family),)))


@lru_cache
def known_features(family: str) -> frozenset[str]:
    """Every feature that some CPU of the family has (LLVM's Python interface lists only those of one CPU)."""
    return frozenset().union(*(enabled_features(family, cpu) for cpu in known_cpus(family)))


def enabled_features(family: str, cpu: str, features: Sequence[str] = ()) -> frozenset[str]:
    """All that LLVM may use of a known CPU with these changes, applied in their order, and all they imply."""
    return _enabled(family, cpu, tuple(features))


@lru_cache(maxsize=1024)
def _enabled(family: str, cpu: str, features: tuple[str, ...]) -> frozenset[str]:
    spec = {"mattr": list(features)} if features else {}
    return frozenset(str(name) for name in _ask("llvm_get_cpu_features", (_target(family, mcpu=cpu, **spec),)))
