"""Code by LLVM: object files of kernels, the plan as C, the weights as assembly; linked by a C compiler."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...targets.systems import ELF
from ...targets.target import Target
from ...targets.toolchain import find_toolchain, static_toolchain
from ..library.integrity import seal
from ..library.plan import Constants
from ..library.signature import SECTION
from ..process.progress import ProgressCallback
from .generator import Generated, Program

if TYPE_CHECKING:
    from ..process.workers import Workers


class LlvmGenerator:
    """The `CodeGenerator` of processors that LLVM knows and that run an operating system."""

    kinds: ClassVar[tuple[str, ...]] = ("so", "a", "bench")
    jobs: ClassVar[str] = f"{__package__}.llvm_objects"
    folders: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def usable(target: Target) -> Target:
        """All of it."""
        return target

    def __init__(self, target: Target, kind: str) -> None:
        self._target = target
        self._kind = kind
        self._toolchain = find_toolchain(target.triple) if kind != "bench" else static_toolchain(target.triple)
        self._weights: list[Path] = []

    def write_weights(self, name: str, constants: Constants, folder: Path) -> None:
        """Writes and assembles them."""
        from ..emission import glue, link

        glue.write_weights(name, constants, folder, self._target)
        self._weights = [link.assemble_weights(self._toolchain, folder)]

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
        """Compiles the kernels and the glue, and links all."""
        from ..emission import glue, link
        from .llvm_objects import compile_objects
        from .thread_objects import thread_object

        name, threaded = program.plan.name, program.signature.threaded
        with ThreadPoolExecutor(1) as meanwhile:
            threads = [meanwhile.submit(thread_object, self._toolchain, self._target, name, folder)] if threaded else []
            objects = compile_objects(
                program.kernels,
                name,
                folder,
                workers=workers,
                progress=lambda done, total: progress("code", done, total),
            )
            objects += [each.result() for each in threads]
        weights_done()
        progress("link, the first one: zig builds a C library" if self._toolchain.is_new else "link", 0, 0)
        glue.write_sources(program.plan, program.signature, folder, self._target.object_format)
        objects += [*self._weights, *link.compile_glue(self._toolchain, folder), *self._objects_of_units(folder)]
        library = folder / f"library.{self._kind}"
        if self._kind == "so":
            exports = link.api_symbols(name, threaded=threaded)
            link.link_shared(self._toolchain, objects, exports, library, called=output.name)
        elif self._kind == "bench":
            assert program.example is not None
            glue.write_self_check(program.signature, program.example, folder, self._target.object_format)
            link.link_program(
                self._toolchain, [*objects, *link.compile_device_program(self._toolchain, folder)], library
            )
        else:
            link.link_static(self._toolchain, objects, library)
        if self._kind != "a" and self._target.object_format == ELF:
            seal(library, SECTION)
        self._toolchain.note_link()
        header = output.with_suffix(".h")
        return Generated({library: output, folder / "library.h": header}, header)

    def _objects_of_units(self, folder: Path) -> list[Path]:
        """Copies of the object files that code for the target's units is linked with."""
        files = dict.fromkeys(file for unit in self._target.units for file in unit.instructions().objects)
        return [Path(shutil.copy(file, folder)) for file in files]
