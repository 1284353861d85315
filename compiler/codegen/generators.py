"""The code generators, by the name that a target has for its own (`Target.code_generator`).

Importing this imports no compiler: options are checked by it before TVM is loaded.
"""

from __future__ import annotations

from ...errors import UnsupportedError
from ...targets.target import Target
from .generator import CodeGenerator
from .llvm_generator import LlvmGenerator

GENERATORS: dict[str, type[CodeGenerator]] = {"llvm": LlvmGenerator}


def output_kinds() -> tuple[str, ...]:
    """The kinds of output that some generator makes."""
    return tuple(dict.fromkeys(kind for generator in GENERATORS.values() for kind in generator.kinds))


def generator_for(target: Target, kind: str) -> CodeGenerator:
    """The generator of a target, ready to make such an output.

    Raises:
        ToolError: a tool that it needs is missing.
        UnsupportedError: it makes no output of this kind.
    """
    generator = GENERATORS[target.code_generator]
    if kind not in generator.kinds:
        raise UnsupportedError(
            f"--emit {kind} is not possible for {target.triple}",
            where="--emit",
            hint="one of " + ", ".join(generator.kinds),
        )
    return generator(target, kind)
