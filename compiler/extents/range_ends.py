"""A model at the smallest sizes of its ranges, 1 or 0 among them: whether it is the same model there.

Nothing is compared operator by operator: what is repeated once, or joined to nothing, is left out of an import. What a
model decides by its sizes must be decided the same way, and its outputs must have as many dimensions.
"""

from __future__ import annotations

from collections.abc import Callable

from ...errors import ModelError, ShapeError, TilewrightError
from ...frontends import ImportedModel
from .sampling import Values
from .seen import differ
from .witnesses import output_shapes

_LATER = "begin the range of --range later"


def check_ends(
    large: ImportedModel, values: Values, load: Callable[[Values], ImportedModel]
) -> tuple[tuple[int, ...], ...] | None:
    """Compares the import for the largest sizes with that for the smallest, and gives the shapes of its outputs.

    They are None where there is no such import: of one element, or none, it may need what nobody needs of more.

    Args:
        large: the import for the largest.
        values: the smallest.
        load: imports a model for some values.

    Raises:
        ShapeError: the model has no such sizes.
        UnsupportedError: it is another model for them.
    """
    text = ", ".join(f"{name}={value}" for name, value in values.items())
    try:
        small = load(values)
    except (ModelError, ShapeError) as error:
        raise ShapeError(
            f"at the lower ends of the ranges ({text}) the model fails: {error.what}",
            where=error.where,
            details=error.details,
            hint=_LATER,
        ) from error
    except TilewrightError:
        return None
    for node, graphs in small.graphs.items():
        if not graphs <= large.graphs.get(node, graphs):
            differ(node, f"for {text} it takes its {' and '.join(sorted(graphs))}", _LATER)
    shapes = output_shapes(small)
    for name, mine, theirs in zip(large.output_names, output_shapes(large), shapes, strict=True):
        if len(mine) != len(theirs):
            differ(f"output '{name}'", f"for {text} it has {len(theirs)} axes, and {len(mine)} for larger ones", _LATER)
    return shapes
