"""The references of a library of `compile --quantize WAY`: the model with its dense layers rounded as the way has it.

Weights of 4 bits may change what a model puts out by much, and rightly so: a softmax that was sure of one class is then
sure of another. So such a library is held to the model with weights of the same values, in floats, and how far that is
from the model as it came is told besides. Which layers are rounded is what a compile decides by its estimates, for the
sizes of a call, or for the largest, or, on a machine that is not known here, for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..build import build
from ..precision import rtol_of
from .bisect import options_of
from .compare import Comparison, compare
from .reference_engines import ReferenceEngine, open_engine

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..library.signature import Signature
    from ..options import CompileOptions

Array = npt.NDArray[Any]


@dataclass
class RoundedReferences:
    """Engines of the model with some of its dense layers rounded.

    Attributes:
        opened: the model.
        options: those of the library, for its largest sizes.
        engines: by the layers that are rounded.
    """

    opened: OpenedModel
    options: CompileOptions
    engines: dict[tuple[str, ...], ReferenceEngine] = field(default_factory=dict)
    _rounded: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def nearest(
        self, inputs: Mapping[str, Array], bindings: Mapping[str, Array], results: Mapping[str, Array], rtol: float
    ) -> tuple[dict[str, Array], list[Comparison]]:
        """Of what the references give that which is closest to the results, and all outputs compared with it."""
        shapes = {name: np.shape(value) for name, value in inputs.items()}
        found = []
        for layers in dict.fromkeys((self._layers(shapes), self._layers(self.options.shapes), self._all())):
            written = self._engine(layers).run({**bindings, **inputs})
            compared = [compare(name, results[name], written[name], rtol) for name in written]
            found.append((written, compared))
        return min(found, key=lambda each: max(one.relative_error for one in each[1]))

    def _layers(self, shapes: Mapping[str, Any]) -> tuple[str, ...]:
        """The layers that a compile for some sizes rounds."""
        from ..recipes.apply import until_integers

        key = str(sorted(shapes.items()))
        if key not in self._rounded:
            options = replace(self.options, shapes=shapes)
            made = build(self.opened, None, options, stop_after="passes", passes=until_integers)
            self._rounded[key] = tuple(name for name, reason in made.kept_float.items() if not reason)
        return self._rounded[key]

    def _all(self) -> tuple[str, ...]:
        from ...frontends.linear_layers import linear_layers
        from ..recipes.dense import DENSE

        return tuple(layer.name for layer in linear_layers(self.opened) if layer.operator in DENSE)

    def _engine(self, layers: tuple[str, ...]) -> ReferenceEngine:
        if layers not in self.engines:
            from ..recipes.dense import WAYS
            from ..recipes.dense_onnx import with_dense_layers
            from ..recipes.recipe import Recipe

            assert self.options.quantize is not None
            recipe = Recipe(layers=dict.fromkeys(layers, WAYS[self.options.quantize]))
            rounded = with_dense_layers(self.opened, recipe)
            self.engines[layers] = open_engine("onnxruntime", rounded.for_engine(), 0)
        return self.engines[layers]


def rounded_references(opened: OpenedModel, signature: Signature, bindings: Mapping[str, Array]) -> RoundedReferences:
    """Those of a library, for this machine or another."""
    from ...targets import parse

    options = options_of(signature, bindings)
    if signature.arch != parse("host").arch:
        options = replace(options, target=parse(signature.triple, cpu=signature.cpu))
    return RoundedReferences(opened, options)


def judged(
    way: str,
    compared: Sequence[Comparison],
    written: Mapping[str, Array],
    floats: Mapping[str, Array],
    rtol: float,
) -> list[Comparison]:
    """The comparisons with a reference, and the verdict on each.

    Rows that are rounded at run time may go either way where they are half-way: what follows may then be as far from
    the reference as that is from floats, and no farther.
    """
    if way != "dynamic":
        return list(compared)
    found = []
    for each in compared:
        own = compare(each.output, written[each.output], floats[each.output], rtol).max_error
        limit = max(each.limit, own)
        found.append(replace(each, limit=limit, passed=not each.problem and each.max_error <= limit))
    return found


def changes(way: str, precision: str, written: Mapping[str, Array], floats: Mapping[str, Array]) -> list[str]:
    """What is told of outputs that rounding changes more than such integers usually do."""
    told = []
    for name, reference in floats.items():
        found = compare(name, written[name], reference, rtol_of(precision, way))
        if not found.passed and not found.problem:
            told.append(
                f"output {name!r}: {way} by itself changes it by {found.relative_error:.2g} of its largest value; "
                f"`quantize` with samples finds layers that should stay float"
            )
    return told
