"""What makes a library of a plan: one class for each language that code is written in, chosen by the target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from ...targets.target import Target
from ..library.plan import Constants, Plan
from ..library.signature import Signature
from ..process.progress import ProgressCallback

if TYPE_CHECKING:
    from ..emission.glue import Example
    from ..lowering.batches import LoweredKernels
    from ..process.workers import Workers


@dataclass(frozen=True)
class Program:
    """All that code is generated from: what to do, what the library says of itself, and the kernels' loops.

    `example` is there for outputs that check themselves.
    """

    plan: Plan
    signature: Signature
    kernels: LoweredKernels
    example: Example | None = None


@dataclass(frozen=True)
class Generated:
    """The files that belong at the user's place, still in the folder where they were built.

    Attributes:
        files: each with its place; the library is the first.
        header: the place of the header.
    """

    files: Mapping[Path, Path]
    header: Path


class CodeGenerator(Protocol):
    """Writes kernels, the glue that runs the plan, and the header, and links them; made anew for each library.

    Attributes:
        kinds: of output, as ``--emit`` names them.
        jobs: the module that processes import which share the work; empty when `generate` gives them none.
        folders: those of the kinds that are a folder of files.
    """

    kinds: ClassVar[tuple[str, ...]]
    jobs: ClassVar[str]
    folders: ClassVar[tuple[str, ...]]

    @staticmethod
    def usable(target: Target) -> Target:
        """What code of this kind can use of a machine: all of it, or one core without vectors."""
        ...

    def __init__(self, target: Target, kind: str) -> None:
        """Gets ready.

        Args:
            target: the machine to generate code for.
            kind: of output, one of `kinds`.

        Raises:
            ToolError: a tool that it needs is missing.
        """

    def write_weights(self, name: str, constants: Constants, folder: Path) -> None:
        """Writes the weights, which need no plan: called in a thread of its own, while kernels are compiled.

        Args:
            name: prefix of the library's C symbols.
            constants: the weights.
            folder: where the library is built.
        """

    def generate(
        self,
        program: Program,
        folder: Path,
        output: Path,
        *,
        weights_done: Callable[[], None],
        workers: Workers | None,
        progress: ProgressCallback,
    ) -> Generated:
        """Makes the library.

        Args:
            program: what to make.
            folder: where it is built, the same as that of the weights.
            output: the place of the library, which is not written to.
            weights_done: waits until `write_weights` is; raises what it raised.
            workers: processes that share the work and have the kernels they lowered; None: this process is alone.
            progress: told of progress.

        Raises:
            CompilerError: code cannot be generated.
            ToolError: a tool failed.
        """
