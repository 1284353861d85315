"""The code generators, by the name that a target has for its own (`Target.code_generator`).

Importing this imports no compiler: options are checked by it before TVM is loaded.
"""

from __future__ import annotations

from ...errors import UnsupportedError
from ...targets.target import Target
from .c_generator import CGenerator
from .cuda_generator import CudaGenerator
from .generator import CodeGenerator
from .llvm_generator import LlvmGenerator

GENERATORS: dict[str, type[CodeGenerator]] = {"llvm": LlvmGenerator, "c": CGenerator, "cuda": CudaGenerator}
# What writes code for every machine that runs loops, beside the one that a target names.
_ANYWHERE = "c"


def output_kinds() -> tuple[str, ...]:
    """The kinds of output that some generator makes."""
    return tuple(dict.fromkeys(kind for generator in GENERATORS.values() for kind in generator.kinds))


def is_folder(kind: str) -> bool:
    """Whether an output of this kind is a folder of files."""
    return any(kind in generator.folders for generator in GENERATORS.values())


def generator_for(target: Target, kind: str) -> type[CodeGenerator]:
    """What makes such an output for a target.

    Raises:
        UnsupportedError: nothing does.
    """
    anywhere = () if target.grid is not None else (_ANYWHERE,)
    possible = dict.fromkeys((target.code_generator, *anywhere))
    for name in possible:
        if kind in GENERATORS[name].kinds:
            return GENERATORS[name]
    kinds = dict.fromkeys(kind for name in possible for kind in GENERATORS[name].kinds)
    raise UnsupportedError(
        f"--emit {kind} is not possible for {target.triple}",
        where="--emit",
        hint="one of " + ", ".join(kinds) if len(kinds) > 1 else "--emit " + next(iter(kinds)),
    )
