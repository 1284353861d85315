"""What a program that checks itself compares with: inputs, and what a float32 library makes of them on this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .emission.glue import Example
from .options import CompileOptions
from .precision import rtol_of

# Options that say what is computed; the others say how, and where.
_KEPT = ("shapes", "ranges", "best", "bindings", "threads", "passes", "jobs", "recipe")


def float_example(model: Any, options: CompileOptions, build: Callable[..., object]) -> Example:
    """Random inputs, and the outputs of the same model, neither rounded to fewer bits nor to integers.

    Args:
        build: compiles a model to a place, with options.
    """
    from .. import frontends
    from .inputs.input_ranges import integer_bounds
    from .inputs.random_inputs import random_inputs
    from .library.artifact import load
    from .process.temporary import temporary_folder

    opened = None if isinstance(model, frontends.ImportedModel) else frontends.open(model)
    with temporary_folder() as folder:
        build(model, folder / "model.so", CompileOptions(**{each: getattr(options, each) for each in _KEPT}))
        library = load(folder / "model.so")
        inputs = random_inputs(library.inputs, 0, integer_bounds(opened) if opened is not None else {})
        outputs = library.run(inputs)
    return Example(inputs, outputs, rtol_of(options.precision, options.quantize))
