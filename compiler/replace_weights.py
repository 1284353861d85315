"""Other weights in a library of the same structure: import, folding and packing run again, code is not made anew.

What a library does apart from its weights is in its signature as digests (`emission/structure.py`). The new model goes
through the passes of a compile; where its structure is the library's, its constants take the place of the old ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..annotations import TEMPLATE
from ..errors import LibraryError
from .build import build
from .emission.structure import structure_of
from .library.artifact import read_file
from .library.signature import Signature
from .library.weights_place import write_weights
from .options import CompileOptions
from .process.places import check_model, check_output, output_errors, publish
from .process.temporary import temporary_folder

if TYPE_CHECKING:
    from .emission.graph import Graph
    from .emission.kernel_table import KernelTable
    from .process.progress import ProgressCallback

_NOTHING: Mapping[str, Sequence[int]] = MappingProxyType({})
# Nodes that an error names.
_MOST_NAMED = 8
_AS_COMPILED = "give the options that the library was compiled with, or compile the new model by itself"


@dataclass(frozen=True)
class Replaced:
    """What was written.

    Attributes:
        path: the library.
        weights_bytes: how much of it are weights.
        changed_bytes: how much of that belongs to constants whose contents are others now.
    """

    path: Path
    weights_bytes: int
    changed_bytes: int


def options_like(
    signature: Signature, options: CompileOptions, best: Mapping[str, Sequence[int]] = _NOTHING
) -> CompileOptions:
    """The options of a compile that gives such a library again, as far as it says; all else is as in `options`.

    What a library does not say: what was bound, records, a recipe, passes, and the numbers of its machine where that
    is not this one.

    Args:
        best: values of dimensions that have code of their own.
    """
    from ..targets import parse

    here = parse("host")
    says_nothing = options.target == "host" and options.cpu is None
    if says_nothing and (here.triple, here.cpu) != (signature.triple, signature.cpu):
        options = replace(options, target=signature.triple, cpu=signature.cpu)
    threads = options.threads
    if threads is None:
        threads = (signature.default_threads or None) if signature.threaded else 1
    shapes: dict[str, Any] = {spec.name: spec.shape for spec in signature.inputs}
    for spec in (*signature.inputs, *(state.before for state in signature.states)):
        if spec.sizes:
            shapes[spec.name] = tuple(int(each) if each.isdigit() else each for each in spec.sizes)
    return replace(
        options,
        name=signature.name,
        emit="so",
        shapes={**shapes, **options.shapes},
        ranges={each.name: (each.least, each.bound) for each in signature.dimensions},
        best=best,
        states={state.before.name: state.after.name for state in signature.states},
        threads=threads,
        precision=signature.precision,
        quantize=signature.quantize or None,
    )


def replace_weights(
    library: Path,
    model: Any,
    output: Path,
    options: CompileOptions,
    progress: ProgressCallback,
    best: Mapping[str, Sequence[int]] = _NOTHING,
) -> Replaced:
    """Writes a library with the weights of another model of the same structure.

    Args:
        library: one that `compile` wrote, before `strip`.
        model: as `build` takes it.
        output: the new library; it may be the old one's place. The header goes along.
        options: with which the library was compiled, where it does not say so itself.
        best: values of dimensions that have code of their own in it.

    Raises:
        LibraryError: the library is damaged, or what it does is not what the model does, apart from weights.
        OutputError: the place cannot be written.
        ModelError, ShapeError, UnsupportedError, UsageError: as `build`.
    """
    signature = read_file(library).signature
    if not signature.structure:
        raise LibraryError(
            "the library does not say what its structure is", where=str(library), hint="compile it again, once"
        )
    check_model(model)
    check_output(output, model)
    made = build(model, None, options_like(signature, options, best), stop_after="passes", progress=progress)
    progress("compare", 0, 0)
    from .kernels import kernels_of

    table = kernels_of(made)
    _check(signature, table, str(library))
    contents = _contents(signature, table.graph, str(library))
    with temporary_folder() as folder, output_errors(output):
        new = Path(shutil.copyfile(library, folder / "library.so"))
        shutil.copymode(library, new)
        changed = write_weights(new, signature, contents, str(library))
        header = library.with_suffix(".h")
        publish({new: output, **({header: output.with_suffix(".h")} if _goes_along(header, output) else {})})
    return Replaced(output, signature.weights_bytes, changed)


def _goes_along(header: Path, output: Path) -> bool:
    return header.exists() and header.resolve() != output.with_suffix(".h").resolve()


def _check(signature: Signature, table: KernelTable, where: str) -> None:
    """Whether the code of a library does what a graph of kernels does."""
    graph, structure = table.graph, structure_of(table)
    codes = tuple(kernel.code for kernel in signature.kernels)
    if (structure.digest, structure.kernels) == (signature.structure, codes):
        return
    if (signature.inputs, signature.outputs) != (graph.inputs, graph.outputs):
        raise LibraryError("the model has other inputs or outputs than the library", where=where, hint=_AS_COMPILED)
    there = {
        step.sources: (signature.kernels[step.kernel].code, signature.kernels[step.kernel].template)
        for step in signature.steps
        if step.kernel >= 0
    }
    named = []
    for call in graph.calls:
        number = table.kernel_of[call.function]
        template = TEMPLATE.of(table.module[call.function]) or ""
        code, before = there.get(call.sources, ("", ""))
        if code != structure.kernels[number]:
            named.append(f"{' + '.join(call.sources)}: {_difference(code, before, template)}")
    more = len(named) - _MOST_NAMED
    raise LibraryError(
        "weights alone do not make this library of the model: its code is another",
        where=where,
        hint=_AS_COMPILED,
        details=[*named[:_MOST_NAMED], *([f"and {more} more"] if more > 0 else [])],
    )


def _difference(code: str, before: str, after: str) -> str:
    if not code:
        return "the library has no such step"
    if before != after:
        return f"computed by {before or 'plain loops'} there, and by {after or 'plain loops'} here"
    return "the code holds values, or is for other numbers of the machine"


def _contents(signature: Signature, graph: Graph, where: str) -> dict[int, bytes]:
    """What goes into the weights: of equal constants that shared a place all have to be equal again."""
    known = dict(zip(graph.constants.offsets, graph.constants.contents, strict=True))
    found: dict[int, bytes] = {}
    for use, offset in zip(graph.uses, signature.weights, strict=True):
        contents = known[graph.buffers[use].offset]
        if found.setdefault(offset, contents) != contents:
            readers = [call for call in graph.calls if use in call.inputs]
            raise LibraryError(
                "two constants were equal and stand once in the library, and are not equal any more",
                where=where,
                hint="compile the new model by itself",
                details=[" + ".join(call.sources) for call in readers[:_MOST_NAMED]],
            )
    return found
