"""The back half of a compile: a module of scheduled kernels -> a library on disk, with its header.

module -> graph -> lowered kernels -> plan -> C glue, objects -> library
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import tvm_ffi
from tvm import s_tir

from ...annotations import FALLBACK, FLOPS, TEMPLATE
from ...errors import OutputError, UnsupportedError, UsageError
from ...failures import failing_in, nodes_named
from ...targets.target import Target
from ...targets.toolchain import Toolchain, find_toolchain
from ..codegen.kernel_objects import compile_kernels
from ..library import integrity
from ..library.naming import check_name, identifier
from ..library.plan import Bytes, Kernel, Plan
from ..library.signature import MAX_THREADS, SECTION, Signature, make_signature
from ..process.install import check_place, install, replaceable
from ..process.journal import repair
from ..process.work_folder import work_folder
from ..process.workers import Workers
from . import glue, link
from .kernel_work import argument_bytes, counted_flops, least_bytes
from .planner import Graph, make_plan, read_graph

__all__ = ["KINDS", "EmitResult", "check_output", "emit", "install"]

KINDS = ("so", "a", "c")

# Told of progress: a stage's name, what is done of it, and how much it is.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EmitResult:
    """What `emit` wrote, and the plan behind it."""

    path: Path
    header: Path
    plan: Plan
    signature: Signature


def emit(
    module: Any,
    *,
    name: str,
    output_names: Sequence[str],
    target: Target,
    output: Path,
    input_names: Sequence[str] | None = None,
    threads: int | None = None,
    kind: str = "so",
    precision: str = "fp32",
    keep_temps: Path | None = None,
    workers: Workers | None = None,
    publish: Callable[[Mapping[Path, Path]], None] = install,
    progress: Progress | None = None,
) -> EmitResult:
    """Compiles a module after fusion and scheduling, and writes the library and its header.

    Args:
        module: an IRModule whose `main` calls scheduled PrimFuncs, as docs/architecture.md says.
        name: prefix of the C symbols.
        output_names: the model's outputs, in order.
        target: the machine to compile for.
        output: the library to write; the header goes beside it, with the suffix ``.h``.
        input_names: the model's inputs, in order; by default the name hints of main's parameters.
        threads: 1 for no threads at all; None for as many as there are processors when it runs; else the default.
        kind: ``so`` or ``a``.
        keep_temps: a folder to keep sources and objects in.
        workers: processes that compile kernels; without them this one does.
        publish: puts the finished files (each with its place) there, all or none.
        progress: told of progress.

    Raises:
        CompilerError: the module breaks the contract between the stages.
        OutputError: the output cannot be written; nothing is left there then.
        ToolError: the C compiler or linker is missing or failed.
        UnsupportedError: `kind` cannot be emitted for this target.
        UsageError: `name`, `threads` or `kind` is wrong.
    """
    _check_options(name, threads, kind)
    if threads is not None:
        target = target.with_cores(threads)  # as the passes planned for
    check_output(output)
    graph = read_graph(module, output_names, input_names)
    target = target.for_dtypes(_dtypes(module[function] for function in graph.functions))
    distinct, kernel_of = _distinct(module, graph)
    symbols = [f"{name}_k{i}_{identifier(function)}" for i, function in enumerate(distinct)]
    toolchain = find_toolchain(target.triple)
    with _output_errors(output), work_folder(keep_temps) as folder:
        # Weights take seconds when they are many, and need no kernel.
        with ThreadPoolExecutor(1) as meanwhile, nodes_named(_nodes_of(symbols, kernel_of, graph)):
            weights = meanwhile.submit(_weights, toolchain, name, graph, folder, target.arch)
            objects, scratch = compile_kernels(
                [(symbol, module[function]) for symbol, function in zip(symbols, distinct, strict=True)],
                target,
                name,
                folder,
                parallel=threads != 1,
                workers=workers,
                progress=lambda done, total: progress("code", done, total) if progress else None,
            )
            objects.append(weights.result())
        with failing_in("the planner", "the plan cannot be made"):
            plan = make_plan(name, graph, _kernels(module, graph, symbols, distinct, scratch), kernel_of)
        signature = make_signature(
            plan,
            triple=target.triple,
            cpu=target.cpu,
            arch=target.arch,
            cpu_features=tuple(target.required_features),
            threads=threads,
            tilewright_version=_version(),
            precision=precision,
        )
        if progress:
            progress("link", 0, 0)
        glue.write_sources(plan, signature, folder)
        objects += [*link.compile_glue(toolchain, folder), *_objects_of_units(target, folder)]
        library = folder / f"library.{kind}"
        if kind == "so":
            link.link_shared(toolchain, objects, link.api_symbols(name, threaded=threads != 1), library)
            integrity.seal(library, SECTION)
        else:
            link.link_static(toolchain, objects, library)
        if progress:
            progress("write", 0, 0)
        header = output.with_suffix(".h")
        publish({library: output, folder / "library.h": header})
    return EmitResult(output, header, plan, signature)


def check_output(output: Path) -> None:
    """Finds out before a long compile whether the output can be written; ends what a killed compile left half done.

    Raises:
        OutputError: the folder is missing or not writable, or in the place of the library or of its header stands
            something that must not be replaced.
    """
    if output.suffix == ".h":
        raise OutputError("the output has the name of its own header", where=str(output), hint="end it with .so or .a")
    for place in (output, output.with_suffix(".h")):
        check_place(place)
    library = replaceable(output)
    repair(library)
    try:
        # Permissions alone do not tell: file systems can be mounted read-only.
        for folder in {library.parent, output.parent}:
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror}", where=str(output)) from error


def _check_options(name: str, threads: int | None, kind: str) -> None:
    check_name(name)
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"{threads} threads are not possible", where="--threads", hint=f"give 1 to {MAX_THREADS}")
    if kind not in KINDS:
        raise UsageError(f"unknown kind of output {kind!r}", where="--emit", hint="one of " + ", ".join(KINDS))
    if kind == "c":
        raise UnsupportedError(
            "C sources cannot be emitted yet: kernels come from LLVM as object files",
            where="--emit c",
            hint="emit a static library with --emit a; C sources will come with the C code generator",
        )


def _dtypes(functions: Iterable[Any]) -> set[str]:
    """The dtypes of the elements that kernels read, keep and write."""
    dtypes: set[str] = set()

    def note(block: Any) -> None:
        dtypes.update(str(buffer.dtype) for buffer in block.alloc_buffers)

    for function in functions:
        dtypes.update(str(buffer.dtype) for buffer in function.params)
        tvm_ffi.structural_walk(function.body, (s_tir.SBlock, note))
    return dtypes


def _weights(toolchain: Toolchain, name: str, graph: Graph, folder: Path, arch: str) -> Path:
    glue.write_weights(name, graph.constants, folder, arch)
    return link.assemble_weights(toolchain, folder)


def _objects_of_units(target: Target, folder: Path) -> list[Path]:
    """Copies of the object files that code for the target's units is linked with."""
    files = dict.fromkeys(file for unit in target.units for file in unit.instructions().objects)
    return [Path(shutil.copy(file, folder)) for file in files]


def _distinct(module: Any, graph: Graph) -> tuple[list[str], dict[str, int]]:
    """The functions to compile (of those that differ in names alone the first), and every function's index there."""
    distinct: list[str] = []
    index_of: dict[str, int] = {}
    known: dict[Any, int] = {}
    for function in graph.functions:
        key = tvm_ffi.StructuralKey(module[function].without_attr("global_symbol"))
        index_of[function] = known.setdefault(key, len(distinct))
        if index_of[function] == len(distinct):
            distinct.append(function)
    return distinct, index_of


def _nodes_of(symbols: Sequence[str], kernel_of: Mapping[str, int], graph: Graph) -> dict[str, tuple[str, ...]]:
    """For each kernel, as errors name it, the nodes of the model that it computes where it is called first."""
    nodes: dict[str, tuple[str, ...]] = {}
    for call in graph.calls:
        nodes.setdefault(f"kernel '{symbols[kernel_of[call.function]]}'", tuple(call.sources))
    return nodes


def _kernels(
    module: Any, graph: Graph, symbols: Sequence[str], functions: Sequence[str], scratch: Sequence[tuple[Bytes, ...]]
) -> list[Kernel]:
    moved = least_bytes(graph.calls, {function: argument_bytes(module[function]) for function in graph.functions})
    kernels = []
    for symbol, name, sizes in zip(symbols, functions, scratch, strict=True):
        kernels.append(
            Kernel(
                symbol=symbol,
                function=name,
                template=TEMPLATE.of(module[name]) or "",
                flops=FLOPS.of(module[name]) or counted_flops(module[name]),
                bytes=moved[name],
                scratch=sizes,
                fallback=FALLBACK.of(module[name]) or "",
            )
        )
    return kernels


def _version() -> str:
    try:
        return metadata.version("tilewright")
    except metadata.PackageNotFoundError:
        return "unknown"


@contextmanager
def _output_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"the output cannot be written: {error.strerror or error}",
            where=str(error.filename2 or error.filename or output),
        ) from error
