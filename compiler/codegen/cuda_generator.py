"""Libraries whose kernels run on NVIDIA's GPUs: CUDA C++ by nvcc, glue in C that finds the driver when it runs.

``so`` is a library for the machine that compiles; ``cu`` is the folder of sources that it is made of:

OUT/kernels_0.cu, ...      the kernels
OUT/library.h, library.c   the interface; the steps, as launches of grids
OUT/driver.c, maps.c       what library.c includes: the driver, maps of tensors
OUT/runs.c, launches.c     the same: memory, streams and graphs of runs; what their steps do
OUT/*.s, *.bin, *.json     the weights and the signature, as read-only data
OUT/Makefile               nvcc and cc make NAME.so of them
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ...targets.cuda.nvcc import Nvcc, find_nvcc
from ...targets.host import available_cores
from ...targets.systems import split
from ...targets.target import Target
from ...targets.toolchain import Toolchain, find_toolchain
from ..library.integrity import seal
from ..library.plan import Constants
from ..library.signature import SECTION
from ..process.progress import ProgressCallback
from .generator import Generated, Program

if TYPE_CHECKING:
    from ..process.workers import Workers
    from .cuda_files import Module

SOURCES = "cu"


class CudaGenerator:
    """The `CodeGenerator` of NVIDIA's GPUs."""

    kinds: ClassVar[tuple[str, ...]] = ("so", SOURCES)
    jobs: ClassVar[str] = f"{__package__}.cuda_kernels"
    folders: ClassVar[tuple[str, ...]] = (SOURCES,)

    @staticmethod
    def usable(target: Target) -> Target:
        """All of it."""
        return target

    def __init__(self, target: Target, kind: str) -> None:
        self._kind = kind
        self._target = replace(target, arch=split(target.host).architecture)  # of what is beside the kernels
        self._nvcc: Nvcc | None = None
        self._toolchain: Toolchain | None = None
        if kind != SOURCES:
            self._nvcc, self._toolchain = find_nvcc(), find_toolchain(target.host)

    def write_weights(self, name: str, constants: Constants, folder: Path) -> None:
        """Writes them, and assembles them for a library."""
        from ..emission import glue, link

        glue.write_weights(name, constants, folder, self._target)
        if self._toolchain is not None:
            link.assemble_weights(self._toolchain, folder)

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
        """Writes the sources, and builds the library."""
        from .c_kernels import written_kernels
        from .cuda_files import modules_of, write_files
        from .cuda_kernels import CUDA, kernel_in_cuda

        functions, used = written_kernels(
            program.kernels,
            kernel_in_cuda,
            CUDA,
            workers=workers,
            progress=lambda done, total: progress("code", done, total),
        )
        modules = modules_of(program.plan, functions)
        names = write_files(program, modules, used, self._target, folder)
        weights_done()
        if self._nvcc is None or self._toolchain is None:
            files = {folder / name: output / name for name in (*names, "weights.s", "weights.bin")}
            return Generated(files, output / "library.h")
        self._compile(self._nvcc, self._toolchain, modules, folder, progress)
        progress("link", 0, 0)
        library = self._link(self._toolchain, program, folder)
        seal(library, SECTION)
        header = output.with_suffix(".h")
        return Generated({library: output, folder / "library.h": header}, header)

    def _compile(
        self, nvcc: Nvcc, toolchain: Toolchain, modules: Sequence[Module], folder: Path, progress: ProgressCallback
    ) -> None:
        """Compiles the files of kernels, as many at a time as there are processors."""
        architectures, runner = self._target.the_grid.architectures, nvcc.toolchain()

        def compiled(module: Module) -> None:
            runner.run(nvcc.command(module.source, module.code, architectures, toolchain), folder)

        progress("nvcc", 0, len(modules))
        with ThreadPoolExecutor(available_cores()) as threads:
            for done, _ in enumerate(threads.map(compiled, modules), 1):
                progress("nvcc", done, len(modules))

    def _link(self, toolchain: Toolchain, program: Program, folder: Path) -> Path:
        from ..emission import link

        objects = [*link.compile_glue(toolchain, folder), folder / "weights.o"]
        toolchain.run([*toolchain.cc, "-c", "code.s", "-o", "code.o"], folder)
        library = folder / "library.so"
        exports = link.api_symbols(program.plan.name, threaded=False, device=True)
        link.link_shared(toolchain, [*objects, folder / "code.o"], exports, library, ("-ldl",))
        return library
