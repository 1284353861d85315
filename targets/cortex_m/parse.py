"""From ``thumbv7em-none-eabihf`` and a CPU to a `Target`: the code is C, which another compiler translates."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import UnsupportedTargetError
from ..target import FLOAT32_BITS, Target
from .processors import PROCESSORS, Processor, processors_of

_SYSTEM = "none"
_ENVIRONMENTS = ("eabi", "eabihf")
_WRITTEN_STEPS = 4  # of a loop, so that an instruction or two of each count and branch


def is_bare_metal(triple: str) -> bool:
    """Whether a triple names a machine without an operating system."""
    return _SYSTEM in triple.split("-")[1:]


def parse_bare_metal(triple: str, cpu: str | None, features: Sequence[str]) -> Target:
    """Makes a target of a triple without an operating system.

    Raises:
        UnsupportedTargetError: there is no such processor, or a feature is asked for.
    """
    first, *_, environment = triple.split("-")
    found = processors_of(first, environment) if environment in _ENVIRONMENTS else ()
    if not found:
        raise UnsupportedTargetError(f"unknown target {triple!r}", where="--target", hint=known())
    if features:
        raise UnsupportedTargetError(
            "features of microcontrollers are those of their CPU", where="--features", hint="name one by --mcpu"
        )
    names = [row.name for row in found]
    if cpu is not None and cpu not in names:
        others = triples_of(cpu)
        hint = f"one of {', '.join(names)}" + (f"; for {cpu} --target {' or '.join(others)}" if others else "")
        raise UnsupportedTargetError(f"{cpu!r} is no CPU for {triple}", where="--mcpu", hint=hint)
    return _target(found[0 if cpu is None else names.index(cpu)])


def known() -> str:
    """The triples, for messages."""
    return "known ones: " + ", ".join(dict.fromkeys(map(_short, PROCESSORS)))


def triples_of(cpu: str) -> list[str]:
    """The triples that a CPU is one for, as users write them."""
    return [_short(row) for row in PROCESSORS if row.name == cpu]


def _short(row: Processor) -> str:
    return f"{row.architecture}-none-{row.environment}"


def _target(row: Processor) -> Target:
    return Target(
        triple=row.triple,
        arch=row.architecture,
        cpu=row.name,
        features=(),
        isa=row.isa,
        vector_bits=FLOAT32_BITS * (row.vectors.lanes if row.vectors is not None else 1),
        num_vector_registers=row.registers,
        c_vectors=row.vectors,
        has_fma=row.has_floats,
        broadcasts_operands=row.vectors is not None,
        core=row.core,
        written_steps=_WRITTEN_STEPS,
        cores=1,
        l1_bytes=row.memory_bytes,
        l2_bytes=row.memory_bytes,
        l3_bytes=row.memory_bytes,
        code_generator="c",
        c_flags=row.c_flags,
        saves_memory=True,
        units=row.units,
        functions=row.functions,
        integer_core=row.integer_core,
        integer_registers=0 if row.vectors is not None else row.integer_registers,
        memory_bytes=row.memory_bytes,
        alignment=8,  # of the widest number; caches do not count
    )
