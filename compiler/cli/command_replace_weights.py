"""`replace-weights`: the weights of another model of the same structure, in a library that was compiled already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..process import interrupt
from ..process.progress import Timeline, shown
from ..reports.report import duration, size
from .command_options import Best, Binds, CompiledThreads, Cpu, Features, Library, RecipeFile, Target, compile_options
from .tensor_options import parse_values


def replace_weights_command(
    library: Library,
    model: Annotated[
        Path, typer.Option("--model", metavar="MODEL", help="The model with the new weights, as `compile` takes it.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The new library; it may be the old one's place.")
    ],
    recipe: RecipeFile = None,
    records: Annotated[
        Path | None, typer.Option("--records", metavar="FILE", help="Records that the library was compiled with.")
    ] = None,
    passes: Annotated[
        list[str] | None,
        typer.Option("--pass", metavar="PASS", help="Changes of passes that the library was compiled with."),
    ] = None,
    best: Best = None,
    bind: Binds = None,
    threads: CompiledThreads = None,
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
) -> None:
    """Put the weights of a model into a library of the same structure, without compiling it again.

    A head that was trained anew, a network after fine-tuning: the model is imported, its constants are folded and
    packed as a compile does it, and take the place of the library's where its code is the same; else it says which
    nodes differ. What the library does not say of its compile is given again: recipe, records, passes, bound inputs.

    Examples:

    * `tilewright replace-weights net.so --model finetuned.onnx -o finetuned.so`
    * `tilewright replace-weights net_int8.so --model finetuned.onnx --recipe finetuned.json -o finetuned_int8.so`
    """
    from ..replace_weights import replace_weights

    # Shapes, ranges and precision are the library's.
    fixed: list[Any] = [None, bind, "fp32", threads, None]
    given: dict[str, Any] = {"recipe": recipe, "records": records, "passes": tuple(passes or ())}
    asked = compile_options(target, cpu, features, *fixed, **given)
    timeline = Timeline()
    with interrupt.temporary_folder(), shown(f"replacing weights of {library.name}", timeline) as progress:
        made = replace_weights(library, model, output, asked, progress, parse_values(best or (), "--best"))
    typer.echo(
        f"{output}: {size(made.weights_bytes)} of weights, {size(made.changed_bytes)} of them new, "
        f"in {duration(timeline.total_seconds)}",
        err=True,
    )
