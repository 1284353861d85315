"""Sources in C99, for microcontrollers and for whoever builds by himself: a folder to drop into a project.

OUT/src/NAME.h             void NAME_run(const float *image, float *logits); sizes of arena and weights
OUT/src/NAME.c             the steps, the arena
OUT/src/NAME_kernels.c     the kernels
OUT/src/NAME_weights.c     the weights, constants of one section
OUT/src/NAME_internal.h    what the three share
OUT/NAME.json              the signature
OUT/Makefile, CMakeLists.txt, library.properties (Arduino), zephyr/ (a module)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...targets.target import Target
from ..library.plan import Constants
from ..process.progress import ProgressCallback
from .generator import Generated, Program

if TYPE_CHECKING:
    from ..process.workers import Workers


# What targets name that code is always C for: their units and functions have texts in C.
CODE_GENERATORS = ("c",)


class CGenerator:
    """The `CodeGenerator` of C sources: one core, no vectors, one static arena."""

    kinds: ClassVar[tuple[str, ...]] = ("c",)
    jobs: ClassVar[str] = f"{__package__}.c_kernels"
    folders: ClassVar[tuple[str, ...]] = ("c",)

    @staticmethod
    def usable(target: Target) -> Target:
        """One core, and numbers one by one; all of a machine that code is always C for."""
        return target if target.code_generator in CODE_GENERATORS else target.without_vectors()

    def __init__(self, target: Target, kind: str) -> None:
        self._target = target

    def write_weights(self, name: str, constants: Constants, folder: Path) -> None:
        """Does nothing yet: weights are arrays of types that the plan knows."""

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
        """Writes the files."""
        from .c_files import texts
        from .c_kernels import kernel_in_c, written_kernels
        from .c_used import C99

        kernels, used = written_kernels(
            program.kernels,
            kernel_in_c,
            C99,
            workers=workers,
            progress=lambda done, total: progress("code", done, total),
        )
        weights_done()
        name = program.plan.name
        files = {}
        for number, (place, text) in enumerate(texts(program, kernels, used, self._target).items()):
            source = folder / f"source_{number}.txt"
            source.write_text(text)
            files[source] = output / place
        return Generated(files, output / "src" / f"{name}.h")
